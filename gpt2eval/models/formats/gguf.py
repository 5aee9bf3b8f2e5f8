"""`gguf:FILE`: a model in llama.cpp's format, its weights widened to `--dtype` by transformers' own reader.

Needs `pip install gpt2eval[gguf]`. llama.cpp's own arithmetic is had through its server and `api:`.
"""

from importlib.util import find_spec
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel
from gpt2eval.models.formats import hf
from gpt2eval.models.options import LoadOptions

MAGIC = b"GGUF"
SIZES = {
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "head_count",
    "head_count_kv",
    "key_length",
    "value_length",
}


def load(rest: str, options: LoadOptions) -> CausalModel:
    """The model in a GGUF file. Raises UsageError for a file that is none, and for one that transformers does not read."""
    path = Path(rest)
    options.refuse(f"gguf:{rest}", "revision", "quantization")
    if find_spec("gguf") is None:
        raise UsageError(
            "model gguf: the package gguf is not installed; expected 'pip install gpt2eval[gguf]'"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"model gguf:{rest}: {error.strerror}; expected a GGUF file") from None
    if magic != MAGIC:
        raise UsageError(f"model gguf:{rest}: begins with {magic!r}; expected a GGUF file")
    _check_sizes(path)
    return hf.load(str(path.parent), options, gguf=path.name)


def _check_sizes(path: Path) -> None:
    """Raise UsageError where the header speaks of more layers, or wider ones, than the file has: memory would be taken."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    widest = max((int(size) for tensor in reader.tensors for size in tensor.shape), default=0)
    for key, field in reader.fields.items():
        name = key.rpartition(".")[2]
        if name not in SIZES or not isinstance(size := field.contents(), int):
            continue
        most = len(reader.tensors) if name == "block_count" else widest
        if not 0 <= size <= most:
            raise UsageError(
                f"model gguf:{path}: {key} is {size:,}; expected at most {most:,}, of its tensors"
            )
