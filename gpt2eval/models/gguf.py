"""`gguf:FILE`: a model in llama.cpp's format, its weights widened to `--dtype` by transformers' own reader.

Needs `pip install gpt2eval[gguf]`. llama.cpp's own arithmetic is had through its server and `api:`.
"""

from importlib.util import find_spec
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.models import Options, hf
from gpt2eval.models.causal import CausalModel

MAGIC = b"GGUF"


def load(rest: str, options: Options) -> CausalModel:
    """The model in a GGUF file. Raises UsageError for a file that is none, and for one that transformers does not read."""
    path = Path(rest)
    options.refuse(f"gguf:{rest}", "revision", "quantization")
    if find_spec("gguf") is None:
        raise UsageError("model gguf: the package gguf is not installed; expected 'pip install gpt2eval[gguf]'")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"model gguf:{rest}: {error.strerror}; expected a GGUF file") from None
    if magic != MAGIC:
        raise UsageError(f"model gguf:{rest}: begins with {magic!r}; expected a GGUF file")
    return hf.load(str(path.parent), options, gguf=path.name)
