"""Causal language models of transformers, by Hub id or folder: `hf:NAME`, or just `NAME`; with an adapter, or quantized.

It loads them, whole and without running what comes with them, and says what they are; `causal.py` scores.
"""

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from gpt2eval.config.catalog import DEMO
from gpt2eval.errors import UsageError
from gpt2eval.models.engine.causal import CausalModel, assembled, dtype_of
from gpt2eval.models.formats import safe
from gpt2eval.models.formats.devices import device_of, quantized, spread
from gpt2eval.models.formats.quiet import quiet
from gpt2eval.models.options import LoadOptions
from gpt2eval.models.tokenization import loading

LAYER = re.compile(r"\.\d+\.")
LOADING = (  # what the libraries raise for what is not there, is no model, or is broken
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    ImportError,
    RuntimeError,
    AssertionError,
    AttributeError,
    MemoryError,
    pickle.UnpicklingError,
    struct.error,
    SafetensorError,
    StrictDataclassError,
)


@quiet()
def load(
    name: str, options: LoadOptions, *, called: str = "", gguf: str | None = None
) -> CausalModel:
    """A causal LM by Hub id (`NAME@REVISION` too) or folder, in `options.dtype`, whatever the checkpoint stores.

    `called` renames it in results; its own name there is the one given. `gguf` is a file in the folder to read instead.
    Raises UsageError, in one line, for an unknown dtype, a name that is neither, a folder without a model, one of which
    weights are missing or outside, an architecture that transformers does not know or that is no causal LM, or a
    tokenizer without a fast form.
    """
    dtype = dtype_of(options)
    if not name:
        raise UsageError(
            "model 'hf:': expected a Hub id or a folder after the colon, as in hf:gpt2"
        )
    hub, options = _at_revision(name, options)
    name, called = hub, called or (name if name != hub else "")
    laid = quantized(options) | spread(options)
    source = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    reading: dict[str, Any] = {"gguf_file": gguf} if gguf else {}
    told = None if options.attn == "packed" else options.attn
    if not gguf and Path(name).is_dir():
        safe.check_folder(Path(name))
    try:
        config = AutoConfig.from_pretrained(name, **reading, **source)
        if gguf and getattr(
            config, "n_ctx", None
        ):  # where transformers' reader leaves GPT-2's context
            reading["config"] = config
            config.n_positions = config.n_ctx
        _refuse_others(name, config, options, bound=not gguf)
        words = loading.asked_for(options.tokenizer) or loading.of_place(
            str(Path(name) / gguf) if gguf else name, options.tokenizer, **source
        )
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            attn_implementation=told,
            output_loading_info=True,
            **laid,
            **reading,
            **source,
        )
        model, report = loaded
        _refuse_gaps(name, report, model)
        model, adapted = _adapted(model, options.peft)
        if not laid:
            model = model.to(device_of(options))
    except LOADING as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"model {name}: {reason:.300}; expected a Hub id or a folder with a causal LM"
        ) from None
    identity = _identity(name, model, gguf) | adapted | _said(options, model)
    if called:
        identity["name"] = called
    return assembled(model, words, identity, options)


def load_demo(_: str, options: LoadOptions) -> CausalModel:
    """The model that comes with the package."""
    return load(str(DEMO / "model"), options, called="demo")


def _at_revision(name: str, options: LoadOptions) -> tuple[str, LoadOptions]:
    """`NAME@REVISION` taken apart; a folder that is there may have an @ in its own name.

    Raises UsageError for the revision of a folder, which has none, and where `options` name one besides.
    """
    hub, _, revision = name.rpartition("@")
    if not (hub and revision) or Path(name).exists():
        return name, options
    if Path(hub).exists():
        raise UsageError(
            f"model {name}: {hub} is a folder, which has no revisions; expected a Hub id before the @"
        )
    if options.revision:
        raise UsageError(f"model {name}, --revision {options.revision}: expected one revision")
    return hub, replace(options, revision=revision)


def _refuse_others(name: str, config: Any, options: LoadOptions, *, bound: bool) -> None:
    """Raise UsageError for what is no causal LM, more weights than the files hold, and another quantization than asked."""
    masked = [kind for kind in config.architectures or () if "MaskedLM" in kind]
    if getattr(config, "is_encoder_decoder", False) or masked:
        kind = masked[0] if masked else f"an encoder-decoder ({config.model_type})"
        raise UsageError(
            f"model {name}: {kind}; expected a causal language model, which predicts each token from those before"
        )
    stored = _stored(config)
    if options.quantization in ("gptq", "awq") and stored != options.quantization:
        raise UsageError(
            f"--quantization {options.quantization}: {name} is stored as {stored or 'plain weights'}; expected it stored so"
        )
    if stored and stored not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise UsageError(
            f"model {name}: stored by the method {stored!r:.40}; expected one that transformers knows"
        )
    theirs = options.trust_remote_code and getattr(config, "auto_map", None)
    if not bound or not Path(name).is_dir() or stored or theirs:
        return
    with torch.device("meta"):
        needed = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    held = sum(path.stat().st_size for path in safe.weight_files(Path(name)))
    if 0 < held < needed:
        raise UsageError(
            f"model {name}: its config makes {needed} parameters; its files hold {held} bytes"
        )


def _refuse_gaps(name: str, report: Mapping[str, Any], model: Any) -> None:
    """Raise UsageError where transformers had to make weights up, or left whole layers out."""
    kinds = {LAYER.sub(".N.", key) for key in model.state_dict()}
    if left := sorted(
        key
        for key in report.get("unexpected_keys", ())
        if LAYER.search(key) and LAYER.sub(".N.", key) in kinds
    ):
        raise UsageError(
            f"model {name}: its config has no layer for {left[0]} ({len(left)} left over); expected all layers"
        )
    for what in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found := sorted(map(str, report.get(what, ()))):
            raise UsageError(
                f"model {name}: {what.replace('_', ' ')}: {found[0]} ({len(found)} in all); expected all its weights"
            )


def _adapted(model: Any, place: str | None) -> tuple[Any, dict[str, str]]:
    """A model with an adapter's weights added to its own, and the field that says which."""
    if place is None:
        return model, {}
    try:
        from peft import PeftModel
    except ImportError:
        raise UsageError(
            "--peft: the package peft is not installed; expected 'pip install gpt2eval[peft]'"
        ) from None
    try:
        with catch_warnings(action="ignore"):  # of peft about transformers
            adapter: Any = PeftModel.from_pretrained(model, place)
            joined = adapter.merge_and_unload()
    except LOADING as error:
        raise UsageError(
            f"--peft {place}: {' '.join(str(error).split()):.300}; expected an adapter for this model"
        ) from None
    files = sorted(Path(place).glob("adapter_*.*")) if Path(place).is_dir() else []
    return joined, {"peft": f"{place}@{safe.digest(files)[:8]}" if files else place}


def _stored(config: Any) -> str:
    """The method by which a checkpoint's weights are stored in fewer bits, or ""."""
    how = getattr(config, "quantization_config", None) or {}
    return str(how.get("quant_method", "") if isinstance(how, dict) else how.quant_method)


def _said(options: LoadOptions, model: Any) -> dict[str, str]:
    """The fields of an identity that options decide."""
    said = {}
    if options.device_map or options.tp:
        said["map"] = options.device_map or f"tp{options.tp}"
    if quantization := options.quantization or _stored(model.config):
        said["quant"] = quantization
    if options.trust_remote_code and type(model).__module__.startswith("transformers_modules"):
        said["code"] = f"{type(model).__module__.removeprefix('transformers_modules.')}"
    return said


def _identity(name: str, model: Any, gguf: str | None) -> dict[str, str]:
    folder = Path(name)
    if gguf:
        name, weights = f"gguf:{folder / gguf}", safe.digest([folder / gguf])
    elif folder.is_dir():
        weights = safe.digest([folder / "config.json", *safe.weight_files(folder)])
    else:
        weights = str(model.config._commit_hash or "unknown")
    return {"name": name, "revision": weights[:8], "weights": weights}
