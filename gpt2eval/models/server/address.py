"""The address of a model server, `URL#MODEL`: what may be shown, and the secrets that are sent.

A URL may hold secrets: a user and password, and parameters such as `?api_key=`. They go to the
server in headers and requests, and never into a name, a message or a file.
"""

import json
import re
from base64 import b64encode
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from gpt2eval.errors import HIDDEN, SECRET_WORD, UsageError, keep_secret, scrub

SCHEME = "api:"
EXPECTED = "expected api:URL#MODEL, as in api:http://127.0.0.1:8000#gpt2"
URL = re.compile(
    r"(?P<origin>https?://)"
    r"(?:(?P<user>[^\s/?#]*)@)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?P<port>:\d{1,5})?"
    r"(?P<path>(?:/(?:@?[^\s/?#@]+)?)*)"
    r"(?:\?(?P<query>[^\s#]*))?",
    re.IGNORECASE,
)
MODEL = re.compile(r"[^\s?&#]+(?: [^\s?&#]+)*")
SECRET_PARAMETER = re.compile(rf"{SECRET_WORD}=", re.IGNORECASE)
# Parameters that choose what answers and are no secret; all others are hidden.
PUBLIC_PARAMETERS = {"api-version", "api_version", "version", "deployment", "model", "engine"}
LONGEST_KEY = 8192  # characters


class Address(NamedTuple):
    """A server and one of its models.

    `url` is the URL without secrets, `authorization` the header that replaces its user and
    password ("" without), `parameters` its whole query.
    """

    url: str
    model: str
    authorization: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name of the model in results: `URL#MODEL`, and the parameters that are no secret."""
        public = [f"{key}={v}" for key, v in self.parameters if key.lower() in PUBLIC_PARAMETERS]
        return f"{self.url}{'?' if public else ''}{'&'.join(public)}#{self.model}"


def read_address(rest: str) -> Address:
    """Read `URL#MODEL`, and have every later message hide the URL's secrets.

    Raises:
        UsageError: If it has another form. The message repeats no part of it, because where the
            URL ends and a secret begins is then unknown.

    >>> read_address("https://me:pass@host:8000/v1?api_key=1234#org/model").name
    'https://host:8000/v1#org/model'
    """
    url, mark, model = rest.rpartition("#")
    match = URL.fullmatch(url)
    if not mark or not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"model {SCHEME}{HIDDEN}: {EXPECTED}")
    if "?" in model or "&" in model:
        raise UsageError(f"model {SCHEME}{HIDDEN}: parameters after the model; {EXPECTED}")
    if not MODEL.fullmatch(model) or SECRET_PARAMETER.search(model):
        raise UsageError(f"model {SCHEME}{HIDDEN}: no name of a model after the #; {EXPECTED}")
    if not match or int((match["port"] or ":1")[1:]) > 65535:
        raise UsageError(
            f"model {SCHEME}{HIDDEN}#{model}: not a URL; expected a password whose /, ?, # and @ "
            "are percent-encoded, and a port of digits"
        )
    parameters = tuple(parse_qsl(match["query"] or "", keep_blank_values=True))
    for key, value in parameters:
        if key.lower() not in PUBLIC_PARAMETERS:
            _hide(value)
    authorization = "" if match["user"] is None else _basic_authorization(match["user"])
    shown = match["origin"] + match["host"] + (match["port"] or "") + match["path"]
    return Address(shown, model, authorization, parameters)


def shown_name(name: str) -> str:
    """Return a model's name without secrets, as results and messages show it.

    >>> shown_name("api:http://host?api_key=1234#tiny"), shown_name("gpt2")
    ('api:http://host#tiny', 'gpt2')
    """
    if not name.startswith(SCHEME):
        return scrub(name)
    try:
        return SCHEME + read_address(name.removeprefix(SCHEME)).name
    except UsageError:
        return SCHEME + HIDDEN


def read_api_key(path: str | None) -> str | None:
    """Read a server's key from a file, and have every later message hide it.

    Raises:
        UsageError: If the file cannot be read, or is not one line of visible ASCII characters
            without blanks. The message repeats none of it.
    """
    if path is None:
        return None
    place = f"--api-key-file {path}"
    if not _looks_like_a_path(Path(path)):  # it may be the key itself
        keep_secret(path)
        place = "--api-key-file"
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST_KEY + 4)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise UsageError(
            f"{place}: {reason}; expected the name of a file with the server's key"
        ) from None
    key = content.rstrip(b"\r\n")
    problem = ""
    if not key:
        problem = "no key in the file"
    elif len(key) > LONGEST_KEY:
        problem = f"more than {LONGEST_KEY:,} characters"
    elif b"\n" in key or b"\r" in key:
        problem = "more than one line"
    elif not all(0x21 <= byte <= 0x7E for byte in key):
        problem = "a blank, or a character that is not visible ASCII"
    if problem:
        raise UsageError(f"{place}: {problem}; expected one line with the server's key")
    _hide(key.decode())
    return key.decode()


def _looks_like_a_path(path: Path) -> bool:
    try:
        return path.exists() or (path.parent != Path() and path.parent.is_dir())
    except (OSError, ValueError):
        return False


def _basic_authorization(user: str) -> str:
    """Return the header for `user:password`; each part and both forms are secret."""
    name, _, password = user.partition(":")
    encoded = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    for secret in (user, name, password, encoded):
        _hide(secret)
    return f"Basic {encoded}"


def _hide(secret: str) -> None:
    """Hide a secret in every form in which it may come back."""
    plain = unquote(secret)
    for form in (secret, plain, quote(plain, safe=""), b64encode(plain.encode()).decode()):
        keep_secret(form)
        for written in (json.dumps(form)[1:-1], repr(form)[1:-1], escape(form)):
            keep_secret(written)
