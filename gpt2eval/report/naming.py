"""Name the folder of a model or a task: readable, and different for different names.

A name is escaped reversibly, so two names never share a folder:

    /                             --
    : after a scheme in SCHEMES   -
    any other unusual character   % and two hexadecimal digits for each byte of its UTF-8

A hyphen that would look like one of the first two is escaped as well. Does not touch the disk.
"""

import re
import unicodedata
from hashlib import sha256

# Schemes whose colon becomes a hyphen. `toy-x` without a colon is then `toy%2Dx`, so the list
# holds no scheme that begins the names of other models, such as `openai-community/gpt2`.
SCHEMES = ("toy", "nanogpt", "nanogpt-tanh", "llmc", "litgpt", "gguf", "api")
SCHEME = re.compile(rf"({'|'.join(sorted(SCHEMES, key=len, reverse=True))})([:-])")
PLAIN = re.compile(r"[A-Za-z0-9_.@+-]")
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\.|$)", re.IGNORECASE)
OWN_FILES = ("results.csv", "curves.svg", "checkpoint.json")  # beside the folders of models
# Beside the folders of tasks and variants.
IN_TASK = ("result.json", "run.json", "documents.csv", "groups.csv", "journal", "explained")
MOST_BYTES = 180  # file systems allow 255; temporary names and suffixes need some
DIGEST = 12


def model_folder_name(model: str) -> str:
    """Return the folder name of a model.

    >>> model_folder_name("toy:unigram"), model_folder_name("org/model@step1000")
    ('toy-unigram', 'org--model@step1000')
    >>> model_folder_name("q/m"), model_folder_name("q-m"), model_folder_name("q:m")
    ('q--m', 'q-m', 'q%3Am')
    """
    return _folder_name(model, OWN_FILES)


def task_folder_name(name: str) -> str:
    """Return the folder name of a task or a variant.

    >>> task_folder_name("wikitext103"), task_folder_name("journal")
    ('wikitext103', '%6Aournal')
    """
    return _folder_name(name, IN_TASK + OWN_FILES)


def alternative(folder: str, model: str) -> str:
    """Return the name to use where the folder of a model holds results of another one.

    That happens on a file system that ignores case, and where an older version of gpt2eval gave
    two models one folder.
    """
    return f"{folder}~{sha256(_bytes(model)).hexdigest()[:DIGEST]}"


def older_name(model: str) -> str:
    """Return the folder name that versions before 0.2 gave a model; several models may share it.

    >>> older_name("q/m"), older_name("q-m")
    ('q-m', 'q-m')
    """
    return re.sub(r"[^\w.@+-]+", "-", model).strip("-.")


def _folder_name(name: str, reserved: tuple[str, ...]) -> str:
    scheme = SCHEME.match(name)
    prefix = ""
    rest = name
    if scheme:
        prefix = scheme[1] + ("-" if scheme[2] == ":" else "%2D")
        rest = name[scheme.end() :]
    folder = prefix + _escaped(rest, after_hyphen=prefix.endswith("-"))
    folder = re.sub(r"^\.|\.$", "%2E", folder)  # hidden, or dropped by some systems
    if not folder:
        return "%"
    if folder.lower() in reserved or DEVICES.match(folder):
        folder = f"%{ord(folder[0]):02X}{folder[1:]}"
    if len(folder.encode()) > MOST_BYTES:
        head = folder.encode()[: MOST_BYTES - DIGEST - 1].decode(errors="ignore")
        return alternative(head, name)
    return folder


def _escaped(text: str, *, after_hyphen: bool) -> str:
    """Return text with every character that is not plain escaped.

    A file system may compose or decompose letters, so letters beyond ASCII stay only in a name
    that is composed.
    """
    composed = unicodedata.is_normalized("NFC", text)
    parts: list[str] = []
    for index, character in enumerate(text):
        before = text[index - 1] if index else ("-" if after_hyphen else "")
        after = text[index + 1 : index + 2]
        if character == "/":
            parts.append("--")
        elif character == "-":
            parts.append("%2D" if {before, after} & {"-", "/"} else "-")
        elif PLAIN.match(character) or (composed and ord(character) > 127 and character.isalnum()):
            parts.append(character)
        else:
            parts += [f"%{byte:02X}" for byte in _bytes(character)]
    return "".join(parts)


def _bytes(text: str) -> bytes:
    """Return UTF-8; a path that is not UTF-8 reaches Python as text with surrogates."""
    return text.encode("utf-8", "surrogatepass")
