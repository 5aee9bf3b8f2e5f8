"""`gguf:FILE`: a model in llama.cpp's format, its weights expanded to `--dtype` by transformers.

Needs `pip install gpt2eval[gguf]`. llama.cpp's own arithmetic is available through its server, as
`api:`.
"""

from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import hf
from gpt2eval.models.formats.gguf_header import check_header
from gpt2eval.models.formats.weight_sets import ADAPTER
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions

MAGIC = b"GGUF"
SIZES = {  # metadata keys whose value decides how much memory transformers allocates
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "head_count",
    "head_count_kv",
    "key_length",
    "value_length",
}


def load(rest: str, options: LoadOptions) -> CausalModel:
    """Load a GGUF file.

    Raises:
        UsageError: If the file is not a valid GGUF file, or transformers cannot read its model.
    """
    path = Path(rest)
    options.reject_unsupported(f"gguf:{rest}", "revision", "quantization")
    return hf.load(str(path.parent), options, gguf=path.name, reading=open_checked(path))


def open_checked(path: Path) -> AbstractContextManager[None]:
    """Read a file's header, check it, and return the context in which transformers uses it.

    Raises:
        UsageError: If the file is not a valid GGUF file, or claims more than it holds.
    """
    if find_spec("gguf") is None:
        raise UsageError(
            "model gguf: the package gguf is not installed; expected 'pip install gpt2eval[gguf]'"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        found = sorted(file.name for file in path.glob("*.gguf")) if path.is_dir() else []
        which = f", such as {found[0]} in this folder" if found else ""
        raise UsageError(
            f"model gguf:{path}: {error.strerror}; expected a GGUF file{which}"
        ) from None
    if magic != MAGIC:
        raise UsageError(f"model gguf:{path}: starts with {magic!r}; expected a GGUF file")
    check_header(path)
    if (path.parent / ADAPTER).is_file():  # transformers would load the model that it names
        raise UsageError(
            f"model gguf:{path}: {ADAPTER} beside it makes its folder an adapter; expected the "
            "GGUF file in a folder without it"
        )
    return _reading(path)


def _reading(path: Path) -> AbstractContextManager[None]:
    """Read a header, check it, and return the context in which transformers uses what was read.

    Nothing else holds the reader, because it maps the file into memory.
    """
    from gpt2eval.models.formats.gguf_reader import Reader, lent  # they need the package gguf

    with expected_errors(
        f"model gguf:{path}",
        Exception,  # the library checks nothing
        expectation="a complete GGUF file",
    ):
        reader = Reader(path)
    _check_sizes(path, reader)
    return lent(reader, path)


def _check_sizes(path: Path, reader: Any) -> None:
    """Raise UsageError if the metadata claims more or wider layers than the file has tensors for.

    transformers allocates what the metadata claims before it reads a tensor.
    """
    widest = max((int(size) for tensor in reader.tensors for size in tensor.shape), default=0)
    for key, field in reader.fields.items():
        name = key.rpartition(".")[2]
        if name not in SIZES or not isinstance(size := field.contents(), int):
            continue
        limit = len(reader.tensors) if name == "block_count" else widest
        meaning = "number of its tensors" if name == "block_count" else "width of its widest tensor"
        if not 0 <= size <= limit:
            raise UsageError(
                f"model gguf:{path}: {key} is {size:,}; expected at most {limit:,}, the {meaning}"
            )
