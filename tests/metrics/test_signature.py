"""Signatures: the round trip, reproducing a run from one, and which numbers are comparable."""

import json
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import hypothesis
import needs_start
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import __version__, demo, evaluate
from gpt2eval.analysis.reproduce import diff, rerun
from gpt2eval.cli import main
from gpt2eval.config import catalog
from gpt2eval.config.catalog import DEMO, PAPER
from gpt2eval.config.loader import load_suite, load_task
from gpt2eval.errors import UsageError
from gpt2eval.metrics.signature import (
    comparable,
    differences,
    protocol_differences,
    protocol_of,
    read,
    written,
)
from gpt2eval.models import registry
from gpt2eval.pipeline import Settings
from gpt2eval.report.cells import check_one_protocol, place

NAMES = [
    f"{task}/{variant}" if variant else task
    for task in catalog.files("tasks")
    for variant in ("", *load_task(task).variants)
]
# The package holds none of these documents; LAMBADA's lines have the same form, {"text": ...}.
DOCUMENTS = [name for name in catalog.files("tasks") if load_task(name).format == "documents"]
DATA = demo.data() | dict.fromkeys(DOCUMENTS, demo.data()["lambada"])
# The demo text of lambada/standard is not tokenized, so most of its lines are kept.
TOY = {"data": DATA, "settings": Settings(limit=4, allow_kept=True)}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(), max_size=6))
def test_fields_survive_the_round_trip(fields: dict[str, str]) -> None:
    fields = {"task": "mine"} | fields
    assert read(written(fields)) == fields


@given(
    st.lists(st.text(st.sampled_from("<|>\\`%.,;:)([]{}task\n '\"*\u201d"), max_size=6), max_size=4)
)
@hypothesis.settings(max_examples=500)
def test_values_of_marks_and_brackets_survive_the_round_trip(values: list[str]) -> None:
    fields = {"task": "mine"} | {"abcd"[i]: value for i, value in enumerate(values)}
    assert read(written(fields)) == fields
    fields["v"] = "0.1.0"
    for form in FORMS:
        assert read(form.format(written(fields))) == fields, form


FORMS = [
    *("{}|", "{} |", "| {} |", "|{}|", "| ptb | `{}` |", "`{}`", "'{}'", '"{}"', "**{}**"),
    *(
        "({})",
        "({}).",
        "[{}]",
        "<{}>",
        "{}.",
        "{},",
        "{};",
        "{}|).",
        "\u201c{}\u201d",
        "see {}, and",
    ),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["v:0.1.0", "start:<bos>", "start:<|endoftext|>", "limit:3"])
def test_a_pasted_signature_is_read(form: str, end: str) -> None:
    line = f"task:ptb|data:aa!|detok:x.1(one-way)|{end}"
    assert read(form.format(line)) == read(line)
    assert list(read(line).values())[-1] == end.partition(":")[2]


@pytest.mark.parametrize("tail", [".", ")", "|", ")|", "|\n", "<|", "|>", "\\|"])
def test_a_long_tail_takes_linear_time(tail: str) -> None:
    started_at = time.perf_counter()
    with suppress(UsageError):
        read("task:ptb|v:0.1.0" + tail * 200_000)
    assert time.perf_counter() - started_at < 2


def test_text_before_a_signature_may_mention_a_task() -> None:
    assert read("the task: see task:ptb|v:0.1.0") == {"task": "ptb", "v": "0.1.0"}


def test_a_signature_from_html_is_read() -> None:
    fields = {"task": "a&lt;b</p>", "start": "<s>", "lead": "<|eot|>&#124;", "v": "0.1.0</code>"}
    line = written(fields)
    assert read(line) == fields
    escaped = line.replace("<", "&lt;").replace(">", "&gt;")
    for form in (f"<td><code>{line}</code></td>", f"<code>{escaped}</code>", f"<p>{escaped}.</p>"):
        assert read(form) == fields
    assert read(line.replace("|start", "&#124;start")) == fields
    assert written({"task": "ptb", "start": "</s>"}) == "task:ptb|start:</s>"


def test_a_wrapped_or_escaped_signature_is_read() -> None:
    line = "task:ptb|data:aa!|ctx:512|start:<|endoftext|>|model:demo@1|v:0.1.0"
    assert read(line.replace("|ctx", "|\nctx").replace("|model", "|\n    model")) == read(line)
    assert read("| PTB | " + line.replace("|", "\\|") + " |") == read(line)


@pytest.mark.parametrize(
    ("older", "method"),
    [
        ("QuantizationMethod.GGUF", "gguf"),
        ("QuantizationMethod.BITS_AND_BYTES", "bitsandbytes"),
        ("QuantizationMethod.COMPRESSED_TENSORS", "compressed-tensors"),
        ("gptq", "gptq"),
    ],
)
def test_a_method_that_older_signatures_print_as_an_enum_member(older: str, method: str) -> None:
    assert read(f"task:ptb|quant:{older}|v:0.1.0")["quant"] == method
    assert comparable(read(f"task:a|quant:{older}"), read(f"task:a|quant:{method}"))[1].startswith(
        "one protocol, as far"
    )


# One of every task, and all variants of one; the rest are slow.
QUICK = {"wikitext2"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=() if "/" not in name or name.partition("/")[0] in QUICK else pytest.mark.slow,
        )
        for name in NAMES
    ],
)
def test_every_signature_is_parsed_and_reproduced(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = load_task(name)
    # A task that drops windows that are not full needs small ones for four lines of text.
    context = 8 if task.tail == "drop" else None
    # The toy model knows only bytes, so it cannot score an end-of-text token.
    scores_end = task.join == "eot" or (task.pack is not None and task.pack.end == "eot")
    model = "demo" if scores_end else "toy:unigram"
    (result,) = evaluate(model, [name], context=context, **TOY)
    for measured in result.metrics.values():
        fields = read(measured.signature)
        assert written(fields) == measured.signature
        assert fields["task"] == name
        (again,) = rerun(measured.signature, data=DATA)
        assert again.metrics == result.metrics
    (again,) = rerun(
        f"{name} column, toy: 12.3 [1, 2] {protocol_of(result.signature)}",
        model,
        data=DATA,
    )
    assert [m.value for m in again.metrics.values()] == [m.value for m in result.metrics.values()]


def test_the_command_reproduces_every_signature_that_run_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["gpt2eval", *words, "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert not ended.value.code
        return [line for line in capsys.readouterr().out.splitlines() if " task:" in line]

    lines = printed(
        "run",
        "--tasks",
        "lambada,cbt_cn,ptb,text8",
        "--limit",
        "3",
        "--dtype",
        "bfloat16",
        "--batch-size",
        "2",
    )
    assert len(lines) == 6
    for line in lines:
        assert line in printed("rerun", line)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            ("detok:ptb.1", "detok:ptb.0"),
            "not the signature's protocol: detok: the signature has ptb.0, this task ptb.1",
        ),
        (("data:", "data:1234"), "data: the signature has 1234"),
        (("unit:word+eol@", "unit:byte@"), "unit: byte@"),
        (("ctx:1024", "ctx:many"), "ctx: 'many'; expected a whole number"),
        (("task:ptb", "task:ptt"), "unknown task 'ptt'; did you mean 'ptb'?"),
        (("start:<start>", "start:none"), "start: the signature has none, this task <start>"),
        (("start:<start>", "start:<s>"), "start: the signature has <s>, this task <start>"),
        (("start:<start>", "start:own"), "start: the signature has own, this task <start>"),
        (("|ask:", "|ask"), "expected key:value"),
        (("task:", "tusk:"), "not a signature"),
        (
            ("model:toy:unigram@", "model:toy:unigram@0"),
            "a different model: model: the signature has toy:unigram@0",
        ),
        (("tok:bytes", "tok:words"), "tok: the signature has words, this model bytes"),
        (("|v:", "|v:0."), f"v: the signature has 0.{__version__}, this is {__version__}"),
        (("|dtype:", "|quant:gptq|dtype:"), "quant: the signature has gptq, this model (none)"),
    ],
)
def test_a_signature_that_cannot_be_reproduced_is_a_one_line_error(
    edit: tuple[str, str], expected: str
) -> None:
    (result,) = evaluate("toy:unigram", ["ptb"], **TOY)
    line = result.signature
    assert edit[0] in line
    with pytest.raises(UsageError) as caught:
        rerun(line.replace(*edit), data=demo.data())
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_protocol_without_a_model_asks_for_one() -> None:
    (result,) = evaluate("toy:unigram", ["ptb"], **TOY)
    with pytest.raises(UsageError, match="names no model; expected --model"):
        rerun(protocol_of(result.signature), data=demo.data())


def test_a_local_model_is_needed_to_run_its_signature_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = shutil.copytree(DEMO / "model", tmp_path / "checkpoint-500")
    (result,) = evaluate(str(folder), ["ptb"], **TOY)
    data = demo.data()
    assert str(tmp_path) not in result.signature
    with pytest.raises(UsageError, match="names a local model, give --model PATH"):
        rerun(result.signature, data=data)
    (again,) = rerun(result.signature, str(folder), data=data)
    assert again.metrics == result.metrics
    monkeypatch.chdir(tmp_path)  # where the signature's label is the name of a folder
    (again,) = rerun(result.signature, data=data)
    assert again.metrics == result.metrics
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"note": "changed"}))
    with pytest.raises(UsageError, match=r"checkpoint-500 has the hash .*; expected the same"):
        rerun(result.signature, str(folder), data=data)


@pytest.mark.parametrize("name", ["nanogpt:ckpt.pt", "gguf:tiny.gguf", "toy:unigram:mine.txt"])
def test_a_local_file_that_is_not_here_is_asked_for(name: str) -> None:
    (result,) = evaluate("toy:unigram", ["ptb"], **TOY)
    line = result.signature.replace("model:toy:unigram@", f"model:{name}@")
    with pytest.raises(UsageError) as caught:
        rerun(line, data=demo.data())
    assert str(caught.value) == f"the signature names a local model ({name}); give --model PATH"


def test_a_local_adapter_that_is_not_here_is_asked_for() -> None:
    (result,) = evaluate("toy:unigram", ["ptb"], **TOY)
    line = result.signature.replace("|tok:", "|peft:mine@12345678|tok:")
    with pytest.raises(UsageError, match=r"names a local adapter \(mine\); give --peft PATH"):
        rerun(line, data=demo.data())


def test_the_text_of_a_toy_model_appears_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("some bytes")
    (result,) = evaluate(f"toy:unigram:{tmp_path / 'mine.txt'}", ["ptb"], **TOY)
    assert "|model:toy:unigram:mine.txt@" in result.signature


BASE = (
    "task:ptb|data:aa|ask:everything|unit:word+eol@9|ctx:1024"
    "|model:a@1|tok:11|dtype:float32|batch:1024|v:0.1.0"
)


@pytest.mark.parametrize(
    ("edit", "is_comparable", "reason"),
    [
        (("", ""), True, "one protocol"),
        (("model:a@1", "model:b@2"), True, "one protocol"),
        (("tok:11", "tok:22"), True, "one protocol"),
        (
            ("dtype:float32", "dtype:bfloat16"),
            True,
            "half precision and quantization move a number by some tenths",
        ),
        (("batch:1024", "batch:512"), True, "batch may move the last digits"),
        (("ctx:1024", "ctx:512"), False, "the protocols differ in ctx"),
        (("data:aa", "data:bb"), False, "the protocols differ in data"),
        (("|ctx", "|limit:9|ctx"), False, "the protocols differ in limit"),
        (("v:0.1.0", "v:0.2.0"), False, "different versions"),
        (("task:ptb", "task:mine"), True, "one protocol"),
    ],
)
def test_which_numbers_are_comparable(
    edit: tuple[str, str], is_comparable: bool, reason: str
) -> None:
    a, b = read(BASE), read(BASE.replace(*edit))
    assert comparable(a, b)[0] is is_comparable
    assert reason in comparable(a, b)[1]
    assert len(differences(a, b)) == (edit[0] != edit[1])
    lines = diff(BASE, BASE.replace(*edit)).splitlines()
    assert lines[-1].startswith(f"comparable: {'yes' if is_comparable else 'no'}, ")
    assert len(lines) == 1 + (edit[0] != edit[1])


def test_per_token_numbers_of_two_tokenizers_do_not_compare() -> None:
    per_token = BASE.replace("word+eol", "token")
    assert comparable(read(per_token), read(per_token))[0]
    assert not comparable(read(per_token), read(per_token.replace("tok:11", "tok:22")))[0]


GPT2 = "tok:11", "<|endoftext|>"  # a tokenizer that adds no start token, and its start token
GEMMA = "tok:22", "<bos>"  # one that adds its start token


def started(tokenizer: tuple[str, str], start: str, windows: str = "") -> dict[str, str]:
    stated = f"|windows:{windows}" if windows else ""
    start = tokenizer[1] if start == "token" else start
    return read(f"task:x|data:aa|unit:word@9|ctx:9{stated}|start:{start}|{tokenizer[0]}|v:0.1.0")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # streams: each model begins with its token, and each window with one that is added
        (started(GPT2, "token"), started(GEMMA, "token", "regular+start"), True),
        (started(GPT2, "token"), started(GEMMA, "token", "regular"), True),
        # LAMBADA: each passage begins as the tokenizer begins it
        (started(GPT2, "none"), started(GEMMA, "token", "regular+start"), True),
        (started(GPT2, "none", "restart"), started(GEMMA, "token", "restart"), True),
        (started(GPT2, "token"), started(GPT2, "none"), False),
        (started(GPT2, "token"), started(("tok:33", "</s>"), "none"), False),
        # without the token that a tokenizer adds
        (started(GEMMA, "token", "regular+start"), started(GEMMA, "none", "regular-start"), False),
        (started(GEMMA, "token", "regular+start"), started(GEMMA, "token", "regular"), False),
        (started(GPT2, "token"), started(GEMMA, "none", "regular-start"), False),
        (started(GPT2, "none"), started(GEMMA, "none", "regular-start"), True),
        # other windows stay other windows
        (started(GPT2, "token", "last_full"), started(GEMMA, "token", "regular+start"), False),
        # one tokenizer with two tokens, and two tokenizers with two
        (started(GPT2, "<a>"), started(GPT2, "<b>"), False),
        (started(GPT2, "<a>"), started(GEMMA, "<b>", "regular"), True),
        # the rules of older signatures
        (started(GPT2, "eot"), started(GPT2, "token"), True),
        (started(GPT2, "eot"), started(GPT2, "none"), False),
        (started(GPT2, "own"), started(GPT2, "none"), True),
        (started(GPT2, "own"), started(GPT2, "eot"), False),
        (started(GEMMA, "eot"), started(GEMMA, "token", "regular+start"), False),
        (started(GPT2, "eot"), started(GEMMA, "token", "regular+start"), True),
    ],
)
def test_start_tokens_of_two_tokenizers_correspond(
    first: dict[str, str], second: dict[str, str], same: bool
) -> None:
    for a, b in ((first, second), (second, first)):
        assert comparable(a, b)[0] is same
        assert {pair.field for pair in protocol_differences(a, b)} <= {"start", "windows"}
        assert (protocol_differences(a, b) == []) is same


def test_one_table_and_one_rerun_for_two_tokenizers(tmp_path: Path) -> None:
    tasks = ["lambada", "wikitext2"]
    files = {"data": demo.data(), "settings": Settings(limit=2, context=64)}
    needy = registry.load_model(str(needs_start.save(tmp_path / "needy")))
    plain = registry.load_model("demo")
    without = evaluate(plain, tasks, **files)
    adding = evaluate(needy, tasks, **files)
    check_one_protocol(place([*without, *adding], load_suite(PAPER)))
    bare = replace(adding[0].metrics["ppl"], signature=without[0].metrics["ppl"].signature)
    bare = replace(
        bare, signature=bare.signature.replace("|ctx:64", "|ctx:64|windows:regular-start")
    )
    mixed = [replace(adding[0], metrics={"ppl": bare}, nll_sha256="other"), *adding]
    with pytest.raises(UsageError, match=r"differ in (windows|start) .*--mixed"):
        check_one_protocol(place(mixed, load_suite(PAPER)))
    for first, second in zip(without, adding, strict=True):
        (again,) = rerun(first.signature, needy, data=demo.data())
        assert again.metrics.keys() == second.metrics.keys()
        assert again.nll_sha256 == second.nll_sha256
        (again,) = rerun(second.signature, plain, data=demo.data())
        assert again.nll_sha256 == first.nll_sha256
    older = read(adding[0].signature) | {"start": "none"}
    del older["windows"]
    with pytest.raises(UsageError, match="start: the signature has none, this task <s>; windows"):
        rerun(written(older), needy, data=demo.data())


@pytest.mark.parametrize("start", ["eot", "<|endoftext|>"])
def test_a_rule_of_older_signatures_is_accepted(start: str) -> None:
    (result,) = evaluate("demo", ["ptb"], **TOY)
    line = result.signature.replace("start:<|endoftext|>", f"start:{start}")
    (again,) = rerun(line, data=demo.data())
    assert again.metrics == result.metrics


def test_diff_accepts_paths_of_results(tmp_path: Path) -> None:
    evaluate("toy:unigram", ["ptb", "text8"], out=tmp_path, **TOY)
    ptb = tmp_path / "toy-unigram" / "ptb"
    assert diff(str(ptb), str(ptb / "result.json")) == "comparable: yes, one protocol"
    assert "data: " in diff(str(ptb), str(tmp_path / "toy-unigram" / "text8"))
    assert json.loads((ptb / "result.json").read_text())["task"] == "ptb"
    with pytest.raises(UsageError, match="holds 2 results; expected one"):
        diff(str(tmp_path), str(ptb))
    with pytest.raises(UsageError, match="not a signature"):
        diff("nowhere", str(ptb))
    with pytest.raises(UsageError, match="not a signature"):
        diff("x" * 400, str(ptb))


def test_the_same_bytes_in_other_records_do_not_compare(tmp_path: Path) -> None:
    files = {"lm1b": demo.data()["lm1b"]}
    for name in ("lm1b", "lm1b/stream"):
        evaluate("toy:uniform-bytes", [name], data=files, out=tmp_path / name.replace("/", "-"))
    output = diff(str(tmp_path / "lm1b"), str(tmp_path / "lm1b-stream"))
    assert "records: lines != (none)" in output
    assert "comparable: no, the protocols differ in records" in output
