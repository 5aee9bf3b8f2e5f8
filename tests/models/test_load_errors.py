"""Errors while a model loads: expected problems, running out of memory, and the unexpected."""

import errno
import json
import re
import shutil
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2eval import evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.data import corpus
from gpt2eval.errors import LoadError, UsageError
from gpt2eval.models import identified, registry
from gpt2eval.models.formats import hf
from gpt2eval.models.formats.naming import local_label, plain_name
from gpt2eval.models.load_errors import expected_errors, is_out_of_memory
from gpt2eval.models.options import LoadOptions
from gpt2eval.types import ModelIdentity

CPU = LoadOptions(device="cpu")
OUT_OF_MEMORY = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)


def fail_while_loading(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make transformers raise an exception while it reads weights."""

    def from_pretrained(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(hf.AutoModelForCausalLM, "from_pretrained", from_pretrained)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_is_reported_with_remedies(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert is_out_of_memory(error)
    fail_while_loading(monkeypatch, error)
    with pytest.raises(UsageError) as caught:
        registry.load_model("demo", CPU)
    assert str(caught.value) == (
        "model demo: out of memory while loading in float32; "
        "try --dtype bfloat16 or --device-map auto"
    )
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), OSError(2, "No such file")])
def test_other_errors_are_not_out_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [KeyError("n_layer"), RuntimeError("a\n  defect"), AssertionError("never")]
)
def test_an_unexpected_exception_is_wrapped_once_and_keeps_its_cause(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_while_loading(monkeypatch, error)
    with pytest.raises(LoadError) as caught:
        registry.load_model("demo", CPU)
    message = str(caught.value)
    assert message.startswith(f"unexpected {type(error).__name__} while loading model demo: ")
    assert message.endswith("; --traceback shows where")
    assert "\n" not in message
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [OSError("no weights"), ValueError("a bad value")])
def test_an_expected_exception_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_while_loading(monkeypatch, error)
    with pytest.raises(UsageError, match="expected complete weights") as caught:
        registry.load_model("demo", CPU)
    assert not isinstance(caught.value, LoadError)
    assert caught.value.__cause__ is error


def test_a_usage_error_inside_passes_through() -> None:
    error = UsageError("already one line")
    with (
        pytest.raises(UsageError, match=r"^already one line$"),
        expected_errors("model x", Exception, expectation="anything"),
    ):
        raise error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "nope"}', "model type `nope`"),
        ('{"model_type": "gpt2", "n_embd": "x"}', "'n_embd' expected int"),
        ('{"model_type": "gpt2", "n_head": 0}', "config.json: .*; expected values"),
        ('{"model_type": "gpt2", "activation_function": "zzz"}', "config.json: 'zzz'; expected"),
    ],
)
def test_a_bad_config_is_an_expected_problem(tmp_path: Path, content: str, message: str) -> None:
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    (folder / "config.json").write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        registry.load_model(str(folder), CPU)
    assert not isinstance(caught.value, LoadError)


@pytest.mark.parametrize("length", [0, 5, 100, 5000, -5000])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_truncated_weights_file_is_named(tmp_path: Path, name: str, length: int) -> None:
    """However short it is, the config is not to blame."""
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    start = b"PK\x03\x04" if name.endswith("bin") else b""
    (folder / name).write_bytes(start + weights[:length])
    with pytest.raises(UsageError) as caught:
        registry.load_model(str(folder), CPU)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: incomplete or corrupt (")
    assert message.endswith("); copy or download it again")
    assert not isinstance(caught.value, LoadError)
    assert "\n" not in message


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(DEMO / "model", tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    with pytest.raises(UsageError) as caught:
        registry.load_model(str(folder), CPU)
    assert str(caught.value) == (
        f"{folder / 'model-2.safetensors'}: no such file, but {index.name} names it "
        "(1 of 2 missing); copy or download it again"
    )


def test_a_factory_takes_no_arguments_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def needs(a): pass\ndef fails(): raise TypeError('inside')\n"
    (tmp_path / "factories_here.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"missing .*; expected a factory that takes no arguments"):
        registry.load_model("factories_here:needs")
    with pytest.raises(LoadError, match="unexpected TypeError while loading model factories_here"):
        registry.load_model("factories_here:fails")


# -- names in signatures ---------------------------------------------------------------------------


class Method(StrEnum):
    GPTQ = "gptq"


class OldMethod(str, Enum):  # noqa: UP042 - transformers mixes them in this way
    GGUF = "gguf"


class Number(Enum):
    FOUR = 4


@pytest.mark.parametrize(
    ("value", "name"),
    [(Method.GPTQ, "gptq"), (OldMethod.GGUF, "gguf"), (Number.FOUR, "4"), ("awq", "awq"), ("", "")],
)
def test_plain_names(value: object, name: str) -> None:
    assert plain_name(value) == name
    assert type(plain_name(value)) is str


def test_an_enum_in_a_mapping_that_a_backend_returns_is_a_plain_name() -> None:
    class Backend:
        def identity(self) -> dict[str, object]:
            required = dict.fromkeys(identified.REQUIRED, "x")
            return {**required, "quant": OldMethod.GGUF}

    backend: Any = Backend()
    assert identified.identity_of(backend) == ModelIdentity(*["x"] * 6, quant="gguf")


@pytest.mark.parametrize(
    ("path", "scheme", "label"),
    [
        ("/home/me/run/ckpt.pt", "nanogpt", "nanogpt:ckpt.pt"),
        ("run/checkpoint-500/", "", "checkpoint-500"),
        ("/home/me/tiny.gguf", "gguf", "gguf:tiny.gguf"),
    ],
)
def test_labels(path: str, scheme: str, label: str) -> None:
    assert local_label(Path(path), scheme) == label


def test_the_label_of_the_current_folder_is_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_label(Path()) == tmp_path.name
    assert local_label(Path("..")) == tmp_path.parent.name


def test_a_signature_holds_no_path(tmp_path: Path) -> None:
    folder = shutil.copytree(DEMO / "model", tmp_path / "checkpoint-500")
    text = tmp_path / "ptb.txt"
    text.write_text("the river ran past the mill \n")
    (result,) = evaluate(str(folder), ["ptb"], data={"ptb": text}, options=CPU)
    signature = next(iter(result.metrics.values())).signature
    assert f"|model:checkpoint-500@{result.model.revision}|" in signature
    assert result.model.name == str(folder)
    assert "/" not in signature.partition("|model:")[2]


def test_the_demo_model_keeps_its_name() -> None:
    identity = registry.load_model("demo", CPU).identity()
    assert (identity.name, identity.label) == ("demo", "demo")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/nowhere/model", "model /nowhere/model: no such folder"),
        ("./nowhere", "model ./nowhere: no such folder"),
        ("../nowhere@main", "model ../nowhere@main: no such folder"),
        ("tyo:uniform-bytes", "unknown model scheme 'tyo'; did you mean 'toy'?"),
    ],
)
def test_a_mistyped_model_is_found_before_data_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setattr(corpus, "load_corpus", pytest.fail)
    with pytest.raises(UsageError, match=re.escape(expected)):
        evaluate(name, "ptb")
