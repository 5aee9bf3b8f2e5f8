"""Task files: all load and repeat the paper's table, and an invalid file gives one helpful line."""

from pathlib import Path

import pytest

from gpt2eval.config import catalog
from gpt2eval.config.loader import Task, load_suite, load_task
from gpt2eval.errors import UsageError
from gpt2eval.text.loader import load_detokenizer

NAMES = sorted(catalog.files("tasks"))
FULL_NAMES = [
    full_name
    for name in NAMES
    for full_name in (name, *(f"{name}/{variant}" for variant in load_task(name).variants))
]

PAPER = "Radford et al. 2019, table 3"
ROWS = ("SOTA", "117M", "345M", "762M", "1542M")
TABLE_3 = {
    "LAMBADA PPL": (99.8, 35.13, 15.60, 10.87, 8.63),
    "LAMBADA ACC": (59.23, 45.99, 55.48, 60.12, 63.24),
    "CBT-CN": (85.7, 87.65, 92.35, 93.45, 93.30),
    "CBT-NE": (82.3, 83.4, 87.1, 88.0, 89.05),
    "WikiText2": (39.14, 29.41, 22.76, 19.93, 18.34),
    "PTB": (46.54, 65.85, 47.33, 40.31, 35.76),
    "enwik8 BPB": (0.99, 1.16, 1.01, 0.97, 0.93),
    "text8 BPC": (1.08, 1.17, 1.06, 1.02, 0.98),
    "WikiText103": (18.3, 37.50, 26.37, 22.05, 17.48),
    "1BW": (21.8, 75.20, 55.72, 44.575, 42.16),
}

UNITS = {
    "cbt_cn": 2_000,
    "cbt_ne": 2_000,
    "enwik8": 5_000_000,
    "lambada": 5_153,
    "lm1b": 159_658,
    "lm1b/stream": 159_658,
    "ptb": 82_430,
    "text8": 5_000_000,
    "wikitext103": 245_569,
    "wikitext103/raw": 245_569,
    "wikitext2": 245_569,
    "wikitext2/raw": 245_569,
}

SMALL = """\
title: Small
citation: nobody
licence: CC0
version: 1
source: {hub: {id: a/b, split: test}, file: {name: small.txt}}
format: lines
ask: everything
unit: byte
metrics: [bpb]
variants: {s32: {stride: 32}}
"""


def write(folder: Path, text: str) -> list[Path]:
    """Write a catalog folder with one task, `small`, and return it as an `include`."""
    (folder / "tasks").mkdir()
    (folder / "tasks" / "small.yaml").write_text(text, encoding="utf-8")
    return [folder]


def published_units(task: Task) -> int | None:
    """The denominator of a task's metrics, from the counts in its file."""
    expect = task.expect
    match task.unit:
        case "word+eol":
            return (expect.words or 0) + (expect.lines or 0)
        case "word":  # one word of each record is scored
            return expect.records
        case "byte":
            return expect.bytes
        case _:
            return expect.chars


def test_the_nine_tasks_of_the_ten_columns_exist() -> None:
    assert {
        "lambada",
        "cbt_cn",
        "cbt_ne",
        "wikitext2",
        "wikitext103",
        "ptb",
        "enwik8",
        "text8",
        "lm1b",
    } <= set(NAMES)


@pytest.mark.parametrize("name", FULL_NAMES)
def test_task_loads_and_its_detokenizer_is_known(name: str) -> None:
    task = load_task(name)
    assert task.full_name == name
    if task.detokenizer is not None:
        assert load_detokenizer(task.detokenizer).name.startswith(task.detokenizer)


@pytest.mark.parametrize("name", FULL_NAMES)
def test_task_has_a_source_and_only_figures_of_its_own_metrics(name: str) -> None:
    task = load_task(name)
    assert task.source.hub or task.source.archive
    assert {figures.metric for figures in task.published} <= set(task.metrics)


OTHER_TOOLS = {"lm_eval", "lm_eval_standard", "hf_docs", "hf_docs_s512", "llama_cpp", "megatron"}
OTHER_TOOLS |= {"sedd", "radd", "mdlm", "bd3lm", "plaid", "bow", "terminated"}
OTHER_TOOLS |= {"autogptq", "openvino", "gptq", "gptq_new", "nanogpt"}


@pytest.mark.parametrize(
    "name", [name for name in FULL_NAMES if name.partition("/")[2] not in OTHER_TOOLS]
)
def test_variant_keeps_unit_metrics_and_version(name: str) -> None:
    task = load_task(name)
    base = load_task(name.partition("/")[0])
    metrics = tuple(
        name for name in base.metrics if name != "acc_unfiltered" or task.filter != "none"
    )
    assert (task.unit, task.metrics, task.version) == (base.unit, metrics, base.version)
    if task.source == base.source and task.format == base.format:
        assert task.expect == base.expect


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_expected_counts_add_up_to_the_published_denominator(name: str, units: int) -> None:
    assert published_units(load_task(name)) == units


@pytest.mark.parametrize("title", TABLE_3)
def test_published_rows_repeat_table_3(title: str) -> None:
    (column,) = [column for column in load_suite("gpt2-paper").columns if column.title == title]
    task = load_task(column.task)
    (figures,) = [f for f in task.published if (f.source, f.metric) == (PAPER, column.metric)]
    assert figures.rows == dict(zip(ROWS, TABLE_3[title], strict=True))


def test_grid_suite_extends_the_paper_suite() -> None:
    paper = load_suite("gpt2-paper")
    grid = load_suite("gpt2-paper-grid")
    assert grid.models == paper.models
    assert grid.tolerances == paper.tolerances
    assert grid.known == paper.known
    assert {c.task.partition("/")[0] for c in grid.columns} == {c.task for c in paper.columns}
    assert [c for c in grid.columns if "/" not in c.task] == list(paper.columns)
    for column in grid.columns:
        assert column.metric in load_task(column.task).metrics
        assert column.title.endswith("/" + column.task.partition("/")[2]) or "/" not in column.task


@pytest.mark.parametrize("name", FULL_NAMES)
def test_variant_repeats_the_paper_figures_of_its_task(name: str) -> None:
    task = load_task(name.partition("/")[0])
    base = {f.metric: f.rows for f in task.published if f.source == PAPER}
    for figures in load_task(name).published:
        if figures.source == PAPER:
            assert figures.rows.items() <= base[figures.metric].items()


def test_suite_has_the_columns_of_table_3_in_order() -> None:
    suite = load_suite("gpt2-paper")
    assert [column.title for column in suite.columns] == list(TABLE_3)
    assert ("SOTA", *suite.models) == ROWS


def test_variant_replaces_keys_of_the_task(tmp_path: Path) -> None:
    include = write(tmp_path, SMALL)
    assert load_task("small", include).stride is None
    assert load_task("small/s32", include).stride == 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SMALL + "strid: 32\n", "unknown key 'strid'; did you mean 'stride'?"),
        (
            SMALL.replace("split: test", "split: test, colum: text"),
            "source.hub: unknown key 'colum'; did you mean 'column'?",
        ),
        (SMALL.replace("version: 1", "version: one"), "version: input should be a valid integer"),
        (
            SMALL.replace("format: lines", "format: line"),
            "format: input should be 'stream', 'rows', 'lines', 'pages', "
            "'documents', 'lambada' or 'cbt'",
        ),
        (SMALL + "stride: 0\n", "stride: input should be greater than 0; found 0"),
        (SMALL.replace("unit: byte\n", ""), "unit: field required"),
        (
            SMALL.replace("variants: {s32: {stride: 32}}", "variants: s32"),
            "variants: expected a mapping",
        ),
        (SMALL + "note: [", "not readable as YAML"),
        (SMALL + "version: 2\n", "duplicate key 'version'"),
        (
            SMALL.replace("{name: small.txt}", "{name: 1}"),
            "source.file.name: input should be a valid string; found 1",
        ),
        (
            SMALL.replace("format: lines", "format: cbt"),
            "ask: everything: not compatible with format cbt; choices and candidate require format",
        ),
        ("just a line\n", "expected a mapping of keys, found str"),
        ("", "expected a mapping of keys, found NoneType"),
    ],
)
def test_invalid_file_is_reported_in_one_line_with_file_key_and_expectation(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_task("small", write(tmp_path, text))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'tasks' / 'small.yaml'}: ")
    assert expected in message
    assert "\n" not in message


def test_wrong_key_of_a_variant_is_reported_when_that_variant_loads(tmp_path: Path) -> None:
    include = write(tmp_path, SMALL.replace("{stride: 32}", "{strides: 32}"))
    assert load_task("small", include).variants == ("s32",)
    with pytest.raises(
        UsageError, match=r"small\.yaml: unknown key 'strides'; did you mean 'stride'\?"
    ):
        load_task("small/s32", include)


def test_unknown_task_and_variant_suggest_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"^unknown task 'wikitxt2'; did you mean 'wikitext2'\?$"):
        load_task("wikitxt2")
    with pytest.raises(
        UsageError, match=r"^unknown variant of wikitext2 's33'; did you mean 's32'\?$"
    ):
        load_task("wikitext2/s33")


def test_unknown_suite_detokenizer_and_option_suggest_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown suite 'gpt2-papr'; did you mean 'gpt2-paper'"):
        load_suite("gpt2-papr")
    with pytest.raises(UsageError, match="unknown detokenizer 'ptbb'; did you mean 'ptb'"):
        load_detokenizer("ptbb")
    with pytest.raises(
        UsageError, match="unknown option of detokenizer ptb 'questin'; did you mean 'question'"
    ):
        load_detokenizer("ptb+questin")
