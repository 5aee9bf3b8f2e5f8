"""Zero-shot language-model benchmarks whose numbers others can compare.

    from gpt2eval import evaluate

    results = evaluate("gpt2", ["wikitext2", "lambada"])
    results["wikitext2"].ppl
    print(results)

`evaluate` measures tasks on a model, `read_results` reads the results of earlier runs, and
`explain` compares protocols. The import is cheap: torch, transformers and pandas load on first
use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpt2eval.version import __version__ as __version__

if TYPE_CHECKING:
    from gpt2eval.analysis.explain import explain as explain
    from gpt2eval.errors import UsageError as UsageError
    from gpt2eval.metrics.result import Result as Result
    from gpt2eval.models.options import LoadOptions as LoadOptions
    from gpt2eval.pipeline import evaluate as evaluate
    from gpt2eval.report.results import Results as Results
    from gpt2eval.report.store import read_results as read_results
    from gpt2eval.settings import Settings as Settings
    from gpt2eval.types import Model as Model

__all__ = [
    "LoadOptions",
    "Model",
    "Result",
    "Results",
    "Settings",
    "UsageError",
    "__version__",
    "evaluate",
    "explain",
    "read_results",
]

_MODULES = {
    "LoadOptions": "gpt2eval.models.options",
    "Model": "gpt2eval.types",
    "Result": "gpt2eval.metrics.result",
    "Results": "gpt2eval.report.results",
    "Settings": "gpt2eval.settings",
    "UsageError": "gpt2eval.errors",
    "evaluate": "gpt2eval.pipeline",
    "explain": "gpt2eval.analysis.explain",
    "read_results": "gpt2eval.report.store",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'gpt2eval' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
