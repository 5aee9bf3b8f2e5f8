"""What loading found out about a model, as a file.

The file has a checksum. Its tokenizer lies beside it under a name that is its hash, so that the
checkpoints of a training run share one.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from tokenizers import Tokenizer

from gpt2eval.errors import UsageError
from gpt2eval.files import write_atomic
from gpt2eval.identity import Sizes
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.tokenization.characters import Characters
from gpt2eval.models.tokenization.loaded import LoadedTokenizer
from gpt2eval.models.tokenization.tiling import TiledEncoder
from gpt2eval.models.tokenized import TokenizedModel
from gpt2eval.notices import notify
from gpt2eval.types import ModelIdentity

FORMAT = 3  # raise it when the content changes, and older files are ignored


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a run needs of a model besides its scores.

    `capabilities` are the methods that score. `encoder` names the class of the tokenizer, and
    `text` is its content.
    """

    identity: ModelIdentity
    context: int
    sizes: Sizes
    start: int | None
    added: int | None
    end: int | None
    specials: tuple[int, ...]
    fingerprint: str
    capabilities: tuple[str, ...]
    encoder: str
    text: str

    def tokenizer(self) -> LoadedTokenizer:
        """Build the tokenizer, without the library that loaded it first."""
        if self.encoder == Characters.__name__:
            tokens = Characters(json.loads(self.text))
        else:
            tokens = TiledEncoder(Tokenizer.from_str(self.text))
        return LoadedTokenizer(
            tokens, self.start, self.added, self.end, self.specials, self.fingerprint
        )


def facts_of(model: TokenizedModel) -> Facts | None:
    """Return what is known of a loaded model; None if its tokenizer cannot be written down."""
    loaded = model.tokenizer
    if not isinstance(loaded.tokens, TiledEncoder | Characters):
        return None
    try:
        text = loaded.tokens.to_text()
    except Exception:  # a tokenizer with parts in Python; the library raises nothing narrower
        return None
    return Facts(
        identity=model.identity(),
        context=model.context,
        sizes=model.sizes(),
        start=loaded.start,
        added=loaded.added,
        end=loaded.end,
        specials=tuple(loaded.specials),
        fingerprint=loaded.fingerprint,
        capabilities=_capabilities(type(model)),
        encoder=type(loaded.tokens).__name__,
        text=text,
    )


def _capabilities(kind: type) -> tuple[str, ...]:
    """Return the public methods that a backend adds to `TokenizedModel`."""
    added = {name for name in dir(kind) if not name.startswith("_")} - {*dir(TokenizedModel)}
    return tuple(sorted(name for name in added if callable(getattr(kind, name))))


def write_facts(path: Path, facts: Facts, sources: Mapping[str, str]) -> None:
    """Write facts, and the hashes of what they follow from.

    Raises UsageError if the disk is full or read-only.
    """
    text = facts.text.encode()
    digest = sha256(text).hexdigest()
    text_path = _text_path(path, digest)
    if not _holds(text_path, text):
        write_atomic(text_path, text)
    stated = asdict(replace(facts, text=digest)) | {"identity": facts.identity.stated()}
    content = {"format": FORMAT, "sources": sources, "facts": stated}
    write_atomic(path, json.dumps({"sha256": _digest(content)} | content, indent=1).encode())


def read_facts(
    path: Path, sources: Callable[[], Iterable[tuple[str, str]]]
) -> tuple[Facts, LoadedTokenizer] | None:
    """Read facts, and build their tokenizer.

    `sources` yields a name and a hash at a time, the cheapest first, and is asked only if there
    are facts. Returns None if there are none, or if they follow from something else than
    `sources`. A damaged file counts as absent, and a notice says so.
    """
    try:
        with expected_errors(
            str(path),
            Exception,  # a tokenizer's library raises nothing narrower
            expectation="what a run with this output folder wrote",
        ):
            return _read(path, sources) if path.exists() else None
    except UsageError as error:
        notify(f"what is remembered of the model is damaged, so it is loaded: {error}")
        return None


def _read(
    path: Path, sources: Callable[[], Iterable[tuple[str, str]]]
) -> tuple[Facts, LoadedTokenizer] | None:
    content = json.loads(path.read_bytes())
    if content.pop("sha256") != _digest(content):
        raise ValueError("its checksum is wrong")
    known = content["sources"]
    if content["format"] != FORMAT or any(known[name] != now for name, now in sources()):
        return None
    facts = _facts(path, content["facts"])
    return facts, facts.tokenizer()


def _facts(path: Path, stated: dict[str, Any]) -> Facts:
    """Return facts, their types checked: the file may come from somebody else."""
    text = _text_path(path, stated["text"]).read_bytes()
    if sha256(text).hexdigest() != stated["text"]:
        raise ValueError("its tokenizer has another checksum")
    return TypeAdapter(Facts).validate_python({**stated, "text": text.decode()})


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:  # absent, or unreadable; writing it says why it cannot be replaced
        return False


def _text_path(path: Path, digest: str) -> Path:
    return path.with_name(f"tokenizer-{digest[:20]}.json")


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
