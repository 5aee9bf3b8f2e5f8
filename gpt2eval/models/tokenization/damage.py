"""Find the damaged file of a tokenizer: libraries fail without a name, or notice nothing."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from gpt2eval.errors import UsageError, quoted
from gpt2eval.models.formats.quiet import panics_unprinted
from gpt2eval.models.load_errors import expected_errors, is_out_of_memory, is_panic
from gpt2eval.models.tokenization.claims import FILES

WHOLE = "tokenizer.json"
# Special tokens, and those with which fairseq fills up a vocabulary.
UNMADE = re.compile(r"<.*>|\[.*\]|madeupword\d+", re.DOTALL)
EXPECTED = "an undamaged tokenizer"


@contextmanager
def damage_located(folder: Path) -> Iterator[None]:
    """Name the files of a local tokenizer one of which makes a library fail.

    It is tokenizer.json if that fails alone. Errors of a Hub id pass through.

    Raises:
        UsageError: The library failed.
    """
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        names = [name for name in FILES if (folder / name).is_file()]
        is_stop = not isinstance(error, Exception) and not is_panic(error)
        if not names or is_stop or is_out_of_memory(error):
            raise
        with (
            expected_errors(f"{folder / WHOLE}", Exception, expectation=EXPECTED),
            panics_unprinted(),
        ):
            if WHOLE in names:
                Tokenizer.from_file(str(folder / WHOLE))
        with expected_errors(f"{folder}: {' or '.join(names)}", Exception, expectation=EXPECTED):
            raise


def check_merges(backend: Tokenizer, vocabulary: Path, merges: Path) -> None:
    """Raise UsageError if no merge makes some token, as after the loss of the file's end.

    Each token of GPT-2 is a single character, the result of a merge, or special.
    """
    made = {"".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]}
    ids = backend.get_vocab(with_added_tokens=False)
    missing = [
        token
        for token in sorted(ids, key=ids.__getitem__)
        if len(token) > 1 and token not in made and not UNMADE.fullmatch(token)
    ]
    if missing:
        raise UsageError(
            f"{merges}: no merge makes the token {quoted(missing[0])} of {vocabulary.name} "
            f"({len(missing)} in all); expected the merges of all its tokens"
        )
