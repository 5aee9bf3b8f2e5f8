"""Check the ids in a tokenizer's files before a library reads them.

The library writes a vocabulary out by counting up to its highest id, so a file of a few bytes with
an id of 2^31 takes a minute and gigabytes. It does not say which file is damaged, either.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from gpt2eval.errors import UsageError
from gpt2eval.models.formats.files import load_json_object

MOST_IDS = 1 << 24  # more than ten times the largest vocabulary in use
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "encoder.json",
    "added_tokens.json",
    "special_tokens_map.json",
)


def check_place(place: str, revision: str | None = None) -> None:
    """Check the files of a folder or Hub id, see `check_file`."""
    folder = Path(place)
    if folder.is_dir():
        paths = [folder / name for name in FILES]
    else:
        found = cached_file(
            place,
            FILES[0],
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        paths = [Path(found)] if found else []
    for path in filter(Path.is_file, paths):
        check_file(path)


def check_file(path: Path) -> None:
    """Raise UsageError for a file that is no JSON object, or has an id that no vocabulary reaches.

    The ids are those of a vocabulary and of added tokens.
    """
    for id_ in _ids(load_json_object(path)):
        if not 0 <= id_ < MOST_IDS:
            raise UsageError(
                f"{path}: a token has the id {_digits(id_)}; expected ids from 0 to "
                f"{MOST_IDS - 1:,}"
            )


def _ids(content: dict[str, Any]) -> Iterator[int]:
    """Yield the ids in a `tokenizer.json`, a `tokenizer_config.json` or a vocabulary."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else content
    # A configuration has texts besides numbers, such as the longest text it accepts.
    if isinstance(vocabulary, dict) and "model_max_length" not in vocabulary:
        yield from (id_ for id_ in vocabulary.values() if isinstance(id_, int))
    added = content.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        id_ = token.get("id") if isinstance(token, dict) else None
        if isinstance(id_, int):
            yield id_
    decoder = content.get("added_tokens_decoder")
    for key in decoder if isinstance(decoder, dict) else ():
        if key.isdecimal():  # a key of JSON is text
            yield int(key[:20])


def _digits(id_: int) -> str:
    """Return a number as text; Python refuses to write thousands of digits."""
    return f"{id_:,}" if abs(id_) < 1 << 64 else "of more than 64 bits"
