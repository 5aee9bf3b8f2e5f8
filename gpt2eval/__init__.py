"""Zero-shot language-model benchmarks in numbers that others can compare."""

from typing import TYPE_CHECKING, Any

from gpt2eval.version import __version__

__all__ = ["__version__", "evaluate"]

if TYPE_CHECKING:
    from gpt2eval.pipeline import evaluate


def __getattr__(name: str) -> Any:
    """`from gpt2eval import evaluate`, without loading anything before it is asked for."""
    if name == "evaluate":
        from gpt2eval.pipeline import evaluate

        return evaluate
    raise AttributeError(f"module 'gpt2eval' has no attribute '{name}'")
