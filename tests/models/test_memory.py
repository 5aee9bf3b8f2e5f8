"""A finished run repeated loads no model; if anything changes, the numbers are a fresh run's."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import test_formats
import torch
from huggingface_hub import constants
from peft import LoraConfig, get_peft_model
from test_formats import (
    LLAMA_LIT,
    SIZES,
    Bundle,
    copy_files,
    litgpt,
    llmc,
    nanogpt,
    openai_arrays,
    openai_folder,
    random_model,
)
from transformers import AutoModelForCausalLM, LlamaConfig

from gpt2eval import UsageError, evaluate
from gpt2eval.config.catalog import DEMO
from gpt2eval.metrics.result import Result
from gpt2eval.models import registry
from gpt2eval.models.formats import files, openai
from gpt2eval.models.memory import machine, recall, sources
from gpt2eval.models.options import LoadOptions
from gpt2eval.scoring import execute
from gpt2eval.scoring.requests import Grouped
from gpt2eval.settings import Settings, Worker

gpt2 = test_formats.gpt2
words = test_formats.words

CPU = LoadOptions(device="cpu")
HEAVY = ("torch", "transformers", "datasets", "pandas")
# Runs a command line, and prints which heavy libraries it imported.
REPEATED = f"""
import sys
from gpt2eval.cli.main import main
from gpt2eval.scoring.requests import Grouped
sys.argv = ["gpt2eval", *sys.argv[1:]]
try:
    main()
finally:
    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""

LOAD = registry.load_model


@cache
def loaded_demo(options: LoadOptions) -> registry.Model:
    """The demo model, which no test changes."""
    return LOAD("demo", options)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that were loaded; the demo model is really loaded once."""
    names: list[str] = []

    def counting(name: str, options: LoadOptions = LoadOptions()) -> registry.Model:
        names.append(name)
        return loaded_demo(options) if name == "demo" else LOAD(name, options)

    monkeypatch.setattr(registry, "load_model", counting)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the demo model, which a test may change."""
    return shutil.copytree(DEMO / "model", tmp_path / "model")


def measured(name: str | Path, out: Path | None, *tasks: str, **more: Any) -> list[Result]:
    """Measure tasks on the embedded records, by default the one that takes least."""
    arguments = {"options": CPU, "settings": Settings(limit=8)} | more
    return [*evaluate(str(name), tasks or ("ptb",), data="demo", out=out, **arguments)]


def files_of(out: Path) -> dict[str, bytes]:
    """The contents of the result files below a folder, by path."""
    names = ("result.json", "results.csv", "documents.csv")
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.name in names
    }


def memory_file(out: Path) -> Path:
    (path,) = [p for p in (out / recall.FOLDER).iterdir() if not p.name.startswith("tokenizer-")]
    return path


def forge(path: Path, **facts: Any) -> None:
    """Change what a file remembers, and its checksum."""
    content = json.loads(path.read_bytes())
    del content["sha256"]
    content["facts"] |= facts
    digest = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest} | content))


# -- a finished run repeated -----------------------------------------------------------------------


def test_a_repeated_run_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"The number of this text is {number}.\n")
    tasks = "lambada,cbt_cn,wikitext2,ptb,ptb/s32,enwik8,text8,lm1b"
    command = [sys.executable, "-c", REPEATED, "run", "--tasks", tasks, "--limit", "20"]
    command += ["--text", str(tmp_path / "texts"), "--out", str(tmp_path / "out"), "--signatures"]
    ended = [subprocess.run(command, capture_output=True, text=True, check=True)]
    written = files_of(tmp_path / "out")
    assert any(path.endswith("documents.csv") for path in written)
    ended.append(subprocess.run(command, capture_output=True, text=True, check=True))
    assert files_of(tmp_path / "out") == written
    assert ended[0].stdout == ended[1].stdout
    assert "|model:demo@" in ended[0].stdout
    assert "'torch'" in ended[0].stderr.splitlines()[-1]
    assert ended[1].stderr.splitlines()[-1] == "[]"


def test_a_repeated_run_loads_nothing(folder: Path, tmp_path: Path, loads: list[str]) -> None:
    first = measured(folder, tmp_path / "out")
    assert measured(folder, tmp_path / "out") == first
    assert loads == [str(folder)]


def test_the_model_is_loaded_once_when_it_first_scores(tmp_path: Path, loads: list[str]) -> None:
    measured("demo", tmp_path / "out", "text8")
    measured("demo", tmp_path / "out", "ptb")
    loads.clear()
    results = measured("demo", tmp_path / "out", "text8", "lambada", "ptb", "cbt_ne")
    assert loads == ["demo"]
    assert results == measured("demo", tmp_path / "fresh", "text8", "lambada", "ptb", "cbt_ne")


def test_a_lost_chunk_is_scored_again(tmp_path: Path, loads: list[str]) -> None:
    first = measured("demo", tmp_path / "out", "ptb", "text8")
    next((tmp_path / "out" / "demo" / "text8").rglob("*.safetensors")).unlink()
    assert measured("demo", tmp_path / "out", "ptb", "text8") == first
    assert loads == ["demo"] * 2


def test_shards_share_what_is_remembered(
    tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute.plan, "chunks", lambda batches, _: Grouped(batches, 0))
    (whole,) = measured("demo", None, "cbt_ne", settings=Settings(limit=4))
    loads.clear()
    shards = [Settings(limit=4, worker=Worker(rank, 2)) for rank in range(2)]
    results = [
        measured("demo", tmp_path / "out", "cbt_ne", settings=settings)
        for settings in (*shards, *shards)
    ]
    assert results == [[], [whole], [whole], [whole]]
    assert loads == ["demo"] * 2, "each shard scored its half"


def test_servers_factories_and_small_models_are_not_remembered(tmp_path: Path) -> None:
    assert not sources.is_remembered("api:http://127.0.0.1:9#m", LoadOptions())
    assert not sources.is_remembered("module:Factory", LoadOptions())
    assert not sources.is_remembered("demo", LoadOptions(trust_remote_code=True))
    measured("toy:uniform-bytes", tmp_path / "out")
    assert not (tmp_path / "out" / recall.FOLDER).exists()


# -- whatever changes ------------------------------------------------------------------------------


def change_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    times = path.stat()
    content[-2] ^= 0x40
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def change_tokenizer(folder: Path) -> None:
    """Swap the ids of two common tokens."""
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["e"], vocabulary["a"] = vocabulary["a"], vocabulary["e"]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def change_config(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"layer_norm_epsilon": 0.1}))


@pytest.mark.parametrize("change", [change_weight, change_tokenizer, change_config])
def test_changed_files_are_loaded(
    change: Callable[[Path], None], folder: Path, tmp_path: Path, loads: list[str]
) -> None:
    before = measured(folder, tmp_path / "out")
    change(folder)
    after = measured(folder, tmp_path / "out")
    assert loads == [str(folder)] * 2
    assert after == measured(folder, tmp_path / "fresh")
    assert after[0].nll_sha256 != before[0].nll_sha256
    assert after[0].model != before[0].model
    assert measured(folder, tmp_path / "out") == after
    assert len(loads) == 3, "remembered again"


@pytest.mark.parametrize(
    "options",
    [LoadOptions(device="cpu", dtype="bfloat16"), LoadOptions(device="cpu", attn="eager")],
)
def test_another_option_is_loaded(options: LoadOptions, tmp_path: Path, loads: list[str]) -> None:
    measured("demo", tmp_path / "out")
    after = measured("demo", tmp_path / "out", options=options)
    assert loads == ["demo"] * 2
    assert after == measured("demo", tmp_path / "fresh", options=options)


@pytest.mark.parametrize("place", ["software", "hardware"])
def test_another_machine_is_loaded(
    place: str, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured("demo", tmp_path / "out")
    facts = getattr(machine, place)()
    assert facts.get("torch", "") in ("", torch.__version__)
    changed = facts | {"torch": "2.5.0"} if place == "software" else facts | {"processor": []}
    monkeypatch.setattr(machine, place, lambda: changed)
    assert measured("demo", tmp_path / "out") == first
    assert loads == ["demo"] * 2


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"])
def test_another_environment_is_loaded(
    variable: str, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measured("demo", tmp_path / "out")
    monkeypatch.setattr(machine, "hardware", machine.hardware.__wrapped__)
    monkeypatch.setenv(variable, "")
    assert measured("demo", tmp_path / "out") == first
    assert loads == ["demo"] * 2


def test_another_accelerator_is_other_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same driver and the same number of devices, but another model of GPU."""
    monkeypatch.setattr(machine, "SYSTEM", (tmp_path / "proc", tmp_path / "sys"))
    found = [machine.hardware.__wrapped__()]
    for model, target in (("NVIDIA A100", 90010), ("NVIDIA H100", 90010), ("NVIDIA H100", 90402)):
        gpu = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information"
        node = tmp_path / "sys/class/kfd/kfd/topology/nodes/1/properties"
        for path, text in (
            (gpu, f"Model: \t\t {model}\nIRQ:   \t\t 42\n"),
            (node, f"simd_count 304\ngfx_target_version {target}\n"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        found.append(machine.hardware.__wrapped__())
    assert found[0]["accelerators"] == []
    assert found[1]["accelerators"] == ["Model: \t\t NVIDIA A100", "gfx_target_version 90010"]
    assert all(one not in found[:number] for number, one in enumerate(found))


def test_a_relative_name_is_another_model_in_another_folder(
    tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        shutil.copytree(DEMO / "model", tmp_path / name)
    labels = []
    for name in ("a", "b", "a"):
        monkeypatch.chdir(tmp_path / name)
        labels.append(measured(".", tmp_path / "out")[0].model.label)
    assert labels == ["a", "b", "a"]
    assert loads == ["."] * 2


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"sha256": 1}', b"\xff"])
@pytest.mark.parametrize("which", ["facts", "tokenizer"])
def test_a_damaged_memory_is_loaded(
    content: bytes | None,
    which: str,
    tmp_path: Path,
    loads: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = measured("demo", tmp_path / "out")
    path = memory_file(tmp_path / "out")
    if which == "tokenizer":
        path = next(path.parent.glob("tokenizer-*"))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert measured("demo", tmp_path / "out") == first
    assert measured("demo", tmp_path / "out") == first, "repaired"
    assert loads == ["demo"] * 2
    is_noticed = which == "tokenizer" or content is not None
    assert ("is damaged" in caplog.text) == is_noticed


def test_one_changed_byte_of_a_memory_is_noticed(tmp_path: Path, loads: list[str]) -> None:
    first = measured("demo", tmp_path / "out")
    path = memory_file(tmp_path / "out")
    path.write_bytes(path.read_bytes().replace(b'"attn": "packed"', b'"attn": "pbcked"'))
    assert measured("demo", tmp_path / "out") == first
    assert loads == ["demo"] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": 64},
        {"sizes": [1, 1, 100_000, 1, 1]},
        {"start": None, "added": None},
        {"capabilities": ["score"]},
    ],
)
def test_what_is_remembered_wrongly_counts_for_nothing_that_is_scored(
    wrong: dict[str, Any], tmp_path: Path, loads: list[str]
) -> None:
    """Also the task that was finished before is measured again with the loaded model."""
    right = measured("demo", tmp_path / "fresh", "lambada", "ptb")
    measured("demo", tmp_path / "out", "lambada")
    forge(memory_file(tmp_path / "out"), **wrong)
    loads.clear()
    assert measured("demo", tmp_path / "out", "lambada", "ptb") == right
    assert loads == ["demo"]
    assert measured("demo", tmp_path / "out", "lambada", "ptb") == right
    assert loads == ["demo"], "what was wrong is corrected"


def test_an_outdated_model_is_loaded_once_for_several_batches(
    tmp_path: Path, loads: list[str]
) -> None:
    """The batch after the first one is started before the error of the first is known."""
    batches = {"settings": Settings(limit=30)}
    right = measured("demo", tmp_path / "fresh", "wikitext2", **batches)
    measured("demo", tmp_path / "out", "ptb")
    forge(memory_file(tmp_path / "out"), start=5)
    loads.clear()
    assert measured("demo", tmp_path / "out", "wikitext2", **batches) == right
    assert loads == ["demo"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": "long"},
        {"sizes": [1]},
        {"specials": None},
        {"capabilities": [1]},
        {"identity": {"name": "demo"}},
        {"text": "../../demo"},
        {"text": 1},
        {"encoder": "Characters"},
    ],
)
def test_a_memory_of_wrong_types_is_loaded(
    wrong: dict[str, Any], tmp_path: Path, loads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = measured("demo", tmp_path / "out")
    forge(memory_file(tmp_path / "out"), **wrong)
    assert measured("demo", tmp_path / "out") == first
    assert loads == ["demo"] * 2
    assert caplog.text.count("is damaged, so it is loaded") == 1


@pytest.mark.parametrize("text", ["{}", "[" * 100_000])
def test_a_memory_without_a_tokenizer_is_loaded(
    text: str, tmp_path: Path, loads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = measured("demo", tmp_path / "out")
    path = memory_file(tmp_path / "out")
    digest = sha256(text.encode()).hexdigest()
    path.with_name(f"tokenizer-{digest[:20]}.json").write_text(text)
    forge(path, text=digest)
    assert measured("demo", tmp_path / "out") == first
    assert loads == ["demo"] * 2
    assert caplog.text.count("is damaged, so it is loaded") == 1


def test_a_memory_that_cannot_be_written_is_a_notice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / recall.FOLDER).write_text("a file")
    assert measured("demo", tmp_path) == measured("demo", None)
    assert "the next run loads the model again" in caplog.text


def test_a_memory_of_another_user_that_cannot_be_read_is_loaded(
    tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    first = measured("demo", tmp_path)
    private = [*(tmp_path / recall.FOLDER).iterdir()]
    read_bytes = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path in private:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    assert measured("demo", tmp_path) == first
    assert loads == ["demo"] * 2
    assert "Permission denied" in caplog.text


def test_a_file_that_cannot_be_read_is_not_remembered(
    folder: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading does not read every file of a folder."""
    (folder / "notes.json").write_text("private")
    hash_files = files.sha256_of_files

    def refusing(paths: Iterable[Path]) -> str:
        paths = [*paths]
        if any(path.name == "notes.json" for path in paths):
            raise PermissionError
        return hash_files(paths)

    monkeypatch.setattr(files, "sha256_of_files", refusing)
    assert measured(folder, tmp_path / "out") == measured(folder, tmp_path / "out")
    assert loads == [str(folder)] * 2


def test_a_file_that_changes_while_it_is_loaded_is_not_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = registry.load_model

    def slow(name: str, options: LoadOptions) -> registry.Model:
        model = load(name, options)
        change_tokenizer(folder)
        return model

    monkeypatch.setattr(registry, "load_model", slow)
    before = measured(folder, tmp_path / "out")
    monkeypatch.setattr(registry, "load_model", load)
    after = measured(folder, tmp_path / "out")
    assert after == measured(folder, tmp_path / "fresh")
    assert after != before


def test_a_folder_that_may_not_be_loaded_any_more_is_refused(folder: Path, tmp_path: Path) -> None:
    measured(folder, tmp_path / "out")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="model-00001-of-00002"):
        measured(folder, tmp_path / "out")


# -- every format ----------------------------------------------------------------------------------


def check_remembered(
    name: str, tmp_path: Path, loads: list[str], tokenizer: Path | None = None, **options: Any
) -> None:
    """Check that a repeated run of a model loads nothing, until its weights or words change."""
    settings = {"options": LoadOptions(device="cpu", **options), "settings": Settings(limit=3)}
    weights = Path(name.partition(":")[2])
    first = measured(name, tmp_path / "out", "text8", **settings)
    assert measured(name, tmp_path / "out", "text8", **settings) == first
    assert loads == [name]
    if weights.is_file():
        content = bytearray(weights.read_bytes())
        content[len(content) * 2 // 3] ^= 0x10
        weights.write_bytes(content)
        changed = measured(name, tmp_path / "out", "text8", **settings)
        assert changed[0].model.weights != first[0].model.weights
        assert len(loads) == 2
    count = len(loads)
    if tokenizer:
        tokenizer.write_bytes(tokenizer.read_bytes() + b"\n")
        measured(name, tmp_path / "out", "text8", **settings)
        assert loads[count:] == [name]


def test_llmc(gpt2: Any, words: Path, tmp_path: Path, loads: list[str]) -> None:
    copy_files(words, tmp_path, "encoder.json", "vocab.bpe")
    name = f"llmc:{llmc(gpt2, tmp_path / 'model_00000300.bin', 3)}"
    check_remembered(name, tmp_path, loads, tmp_path / "encoder.json")


def test_gguf(gpt2: Any, words: Path, tmp_path: Path, loads: list[str]) -> None:
    name = f"gguf:{test_formats.gguf(gpt2, words, tmp_path / 'tiny.gguf')}"
    check_remembered(name, tmp_path, loads)


def test_nanogpt(gpt2: Any, words: Path, tmp_path: Path, loads: list[str]) -> None:
    name = f"nanogpt:{nanogpt(gpt2, tmp_path / 'ckpt.pt')}"
    shutil.copytree(words, tmp_path / "words")
    first = measured(name, tmp_path / "out", options=LoadOptions(tokenizer=str(words)))
    again = measured(name, tmp_path / "out", options=LoadOptions(tokenizer=str(words)))
    assert first == again
    assert loads == [name]
    other = LoadOptions(tokenizer=str(tmp_path / "words"))
    assert measured(name, tmp_path / "out", options=other) == first
    assert loads == [name] * 2


def test_litgpt(words: Path, tmp_path: Path, loads: list[str]) -> None:
    config = LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=False)
    (tmp_path / "lit").mkdir()
    place = litgpt(random_model(config), words, tmp_path / "lit", LLAMA_LIT)
    check_remembered(f"litgpt:{place}", tmp_path, loads, place / "model_config.yaml")


def test_openai(
    gpt2: Any, words: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release").mkdir()
    place = openai_folder(gpt2, words, tmp_path / "release")
    (place / "model.ckpt.index").write_bytes(b"not read")
    monkeypatch.setattr(openai, "_reader", lambda prefix: Bundle(openai_arrays(gpt2)))
    check_remembered(f"openai:{place}", tmp_path, loads, place / "model.ckpt.index")


# peft uses a deprecated attribute
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter(gpt2: Any, words: Path, folder: Path, tmp_path: Path, loads: list[str]) -> None:
    adapted: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True),
    )
    adapter = tmp_path / "adapter"
    adapted.save_pretrained(adapter)
    check_remembered(
        str(folder), tmp_path, loads, adapter / "adapter_config.json", peft=str(adapter)
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache, offline, with the demo model as `org/tiny`; returns its repository."""
    repository = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(DEMO / "model", repository / "snapshots" / ("c" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("c" * 40)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository


def test_a_model_of_the_hub(hub: Path, tmp_path: Path, loads: list[str]) -> None:
    first = measured("org/tiny", tmp_path / "out")
    assert measured("org/tiny", tmp_path / "out") == first
    assert loads == ["org/tiny"]
    shutil.copytree(hub / "snapshots" / ("c" * 40), hub / "snapshots" / ("d" * 40))
    (hub / "refs" / "main").write_text("d" * 40)
    assert measured("org/tiny", tmp_path / "out")[0].model.revision == "d" * 8
    assert loads == ["org/tiny"] * 2


def test_a_tokenizer_of_the_hub(hub: Path, tmp_path: Path, loads: list[str]) -> None:
    options = LoadOptions(device="cpu", tokenizer="org/tiny")
    first = measured("demo", tmp_path / "out", options=options)
    assert measured("demo", tmp_path / "out", options=options) == first
    assert loads == ["demo"]
    path = hub / "snapshots" / ("c" * 40) / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b"\n")
    assert measured("demo", tmp_path / "out", options=options) == first
    assert loads == ["demo"] * 2


# peft uses a deprecated attribute
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_of_the_hub(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its branch moves: the scores of its earlier commit are not those of the later one."""
    repository = hub.with_name("models--org--adapter")
    (repository / "refs").mkdir(parents=True)
    options = LoadOptions(device="cpu", peft="org/adapter")
    results = []
    for number, commit in enumerate("ab"):
        base: Any = AutoModelForCausalLM.from_pretrained(DEMO / "model")
        config = LoraConfig(
            r=2,
            target_modules=["c_attn"],
            task_type="CAUSAL_LM",
            fan_in_fan_out=True,
            init_lora_weights=False,
        )
        torch.manual_seed(number)
        adapted: Any = get_peft_model(base, config)
        adapted.save_pretrained(repository / "snapshots" / (commit * 40))
        (repository / "refs" / "main").write_text(commit * 40)
        results += measured("demo", tmp_path / "out", options=options)
        assert measured("demo", tmp_path / "out", options=options) == results[-1:]
    assert [result.model.peft for result in results] == [f"org/adapter@{c * 8}" for c in "ab"]
    assert results[0].nll_sha256 != results[1].nll_sha256
    assert results[1:] == measured("demo", tmp_path / "fresh", options=options)
