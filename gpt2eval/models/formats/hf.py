"""Causal language models of transformers, by Hub id or folder: `hf:NAME`, or just `NAME`.

Loads a model without running code from the checkpoint, merges an adapter into it, and identifies
its weights. `checks.py` checks it, `causal.py` scores.
"""

import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils.hub import cached_file, extract_commit_hash

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.http import hub_access
from gpt2eval.models.engine.causal import CausalModel, assemble, dtype_of
from gpt2eval.models.formats import files
from gpt2eval.models.formats.adapter import merge_adapter
from gpt2eval.models.formats.checks import (
    check_config,
    check_gguf_size,
    check_loaded_weights,
    check_size,
    check_tokens,
    stored_quantization,
)
from gpt2eval.models.formats.devices import (
    device_of,
    notify_slow_dtype,
    placement_arguments,
    quantization_arguments,
)
from gpt2eval.models.formats.folder import check_folder
from gpt2eval.models.formats.naming import local_label, split_revision
from gpt2eval.models.formats.quiet import quiet
from gpt2eval.models.load_errors import expected_errors
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading
from gpt2eval.models.tokenization.loaded import LoadedTokenizer

EXPECTATION = "a Hub id or a folder with a causal LM"
CONFIG = "config.json"


@quiet()
def load(
    name: str,
    options: LoadOptions,
    *,
    called: str = "",
    gguf: str | None = None,
    reading: AbstractContextManager[None] = nullcontext(),
) -> CausalModel:
    """Load a causal LM in `options.dtype`, whatever dtype the checkpoint stores.

    Args:
        name: A Hub id (also `NAME@REVISION`) or a folder.
        options: How to load the model.
        called: Another name in results and signatures.
        gguf: A file in the folder to read instead of transformers' own files.
        reading: A context that is open while the files are read, not while the model is probed.

    Raises:
        UsageError: If the model does not exist, is not a causal LM, has an architecture unknown to
            transformers, lacks weights, or has no fast tokenizer.
    """
    dtype = dtype_of(options)
    notify_slow_dtype(options)
    if not name:
        raise UsageError(
            "model 'hf:': expected a Hub id or a folder after the colon, as in hf:gpt2"
        )
    requested = name
    name, options = split_revision(name, options)
    placement = quantization_arguments(options) | placement_arguments(options)
    if not gguf and Path(name).is_dir():
        check_folder(Path(name))
    with hub_access(f"model {name}", name, options.peft), reading:
        config = load_config(name, options, gguf)
        tokenizer = _load_tokenizer(name, options, gguf)
        check_tokens(_subject(name, gguf), tokenizer, config)
        arguments = {"dtype": dtype, **placement}
        if gguf:
            arguments["gguf_file"] = gguf
            if getattr(config, "n_ctx", None):
                arguments["config"] = config  # with the context that `load_config` corrected
        model = _load_weights(name, options, gguf, arguments)
        identity = _model_fields(name, model, options, gguf) | _option_fields(options, model)
        if options.peft is not None:
            model, identity["peft"] = merge_adapter(model, options.peft)
    if not placement:
        model = model.to(device_of(options))
    if called:
        identity |= {"name": called, "label": called}
    elif not gguf:
        identity["name"] = requested
    return assemble(model, tokenizer, identity, options)


def load_demo(_: str, options: LoadOptions) -> CausalModel:
    """Load the model that comes with the package."""
    return load(str(DEMO / "model"), options, called="demo")


def load_config(name: str, options: LoadOptions, gguf: str | None = None) -> Any:
    """Load a model's config and check it, before memory is allocated for its weights.

    Raises:
        UsageError: If it is damaged, describes no causal LM, or implies more weights than exist.
    """
    subject = _subject(name, gguf)
    if (Path(name) / CONFIG).is_file() and not gguf:
        subject = f"{name}: {CONFIG}"
    with expected_errors(
        f"model {subject}",
        Exception,  # wrong values may raise anything
        expectation=EXPECTATION,
    ):
        config = AutoConfig.from_pretrained(  # nosec B615 # the revision is the user's
            name, **_source(options), **({"gguf_file": gguf} if gguf else {})
        )
        # transformers' GGUF reader stores the context of a GPT-2 under another key
        if gguf and getattr(config, "n_ctx", None):
            config.n_positions = config.n_ctx
        check_config(subject, config, options)
        if gguf:
            check_gguf_size(subject, config, Path(name) / gguf)
        else:
            check_size(name, config, options)
    return config


def _load_tokenizer(name: str, options: LoadOptions, gguf: str | None) -> LoadedTokenizer:
    """Load the tokenizer that `--tokenizer` names, or the model's own."""
    place = str(Path(name) / gguf) if gguf else name
    with expected_errors(
        f"model {_subject(name, gguf)}",
        Exception,  # the libraries raise all kinds for a damaged file
        expectation="a tokenizer beside the model, or --tokenizer",
    ):
        return loading.requested_tokenizer(options.tokenizer) or loading.from_place(
            place, options.tokenizer, **_source(options)
        )


def _load_weights(
    name: str, options: LoadOptions, gguf: str | None, arguments: Mapping[str, Any]
) -> Any:
    """Load a model's weights and check that all were loaded."""
    subject = _subject(name, gguf)
    attention = None if options.attn == "packed" else options.attn
    with expected_errors(
        f"model {subject}, --attn {attention}" if attention else f"model {subject}",
        *(OSError, ValueError, ImportError, SafetensorError, pickle.UnpicklingError),
        expectation="complete weights, and options that the model supports",
    ):
        loaded: Any = AutoModelForCausalLM.from_pretrained(  # nosec B615 # as above
            name,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # check_loaded_weights names them
            **arguments,
            **_source(options),
        )
    model, report = loaded
    check_loaded_weights(subject, report, model)
    return model


def _subject(name: str, gguf: str | None) -> str:
    """Return what a message calls a model: its name, or its file in llama.cpp's format."""
    return f"gguf:{Path(name) / gguf}" if gguf else name


def _source(options: LoadOptions) -> dict[str, Any]:
    return {"revision": options.revision, "trust_remote_code": options.trust_remote_code}


def _model_fields(name: str, model: Any, options: LoadOptions, gguf: str | None) -> dict[str, str]:
    """Return the identity fields that identify the weights."""
    path = Path(name)
    if gguf:
        weights = files.sha256_of_files([path / gguf])
        fields = {"name": _subject(name, gguf), "label": local_label(path / gguf, "gguf")}
    elif path.is_dir():
        weights = files.sha256_of_files(files.transformers_files(path))
        fields = {"name": name, "label": local_label(path)}
    else:
        weights = _commit(name, model, options)
        fields = {"name": name}
    return {**fields, "revision": weights[:8], "weights": weights}


def _commit(name: str, model: Any, options: LoadOptions) -> str:
    """Return the commit on the Hub that a model came from, or "unknown".

    Newer versions of transformers do not note it in the config; the path of a file in the Hub's
    cache contains it.
    """
    if commit := getattr(model.config, "_commit_hash", None):
        return str(commit)
    path = cached_file(
        name,
        CONFIG,
        revision=options.revision,
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return extract_commit_hash(path, None) or "unknown"


def _option_fields(options: LoadOptions, model: Any) -> dict[str, str]:
    """Return the identity fields that follow from options."""
    fields: dict[str, str] = {}
    if options.device_map or options.tp:
        fields["map"] = options.device_map or f"tp{options.tp}"
    if quantization := options.quantization or stored_quantization(model.config):
        fields["quant"] = quantization
    module = type(model).__module__
    if options.trust_remote_code and module.startswith("transformers_modules"):
        fields["code"] = module.removeprefix("transformers_modules.")
    return fields
