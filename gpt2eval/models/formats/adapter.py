"""Adapters of the package peft, such as LoRA, merged into the weights of a loaded model."""

from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings

from safetensors import SafetensorError
from transformers.utils.hub import cached_file, extract_commit_hash

from gpt2eval.errors import UsageError
from gpt2eval.models.formats import files
from gpt2eval.models.formats.naming import local_label
from gpt2eval.models.load_errors import expected_errors

CONFIG = "adapter_config.json"  # in every adapter


class MergedModel(NamedTuple):
    """A model with an adapter in its weights, and the name of the adapter in signatures."""

    model: Any
    adapter: str


def merge_adapter(model: Any, adapter: str) -> MergedModel:
    """Merge the adapter in a folder or on the Hub into the weights of `model`.

    Returns:
        The merged model, and the adapter's folder name and hash, or its Hub id and commit.

    Raises:
        UsageError: If peft is not installed, or the adapter does not exist or fit the model.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise UsageError(
            "--peft: the package peft is not installed; expected 'pip install gpt2eval[peft]'"
        ) from None
    with (
        expected_errors(
            f"--peft {adapter}",
            # torch raises RuntimeError for weights of the wrong shape
            *(OSError, ValueError, RuntimeError, SafetensorError),
            expectation="an adapter for this model",
        ),
        catch_warnings(action="ignore"),  # peft triggers deprecation warnings of transformers
    ):
        adapted: Any = PeftModel.from_pretrained(model, adapter)
        merged = adapted.merge_and_unload()
    folder = Path(adapter)
    paths = sorted(folder.glob("adapter_*.*")) if folder.is_dir() else []
    if not paths:
        return MergedModel(merged, _with_commit(adapter))
    return MergedModel(merged, f"{local_label(folder)}@{files.sha256_of_files(paths)[:8]}")


def _with_commit(adapter: str) -> str:
    """Return a Hub id with its commit in the Hub's cache: a branch may move between two runs."""
    path = cached_file(
        adapter,
        CONFIG,
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    commit = extract_commit_hash(path, None)
    return f"{adapter}@{commit[:8]}" if commit else adapter
