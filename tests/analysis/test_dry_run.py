"""A plan says what a run will do, and writes nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.analysis.dry_run import RunPlan, plan_run
from gpt2eval.cli.dry_run import plan_text
from gpt2eval.config.loader import load_task
from gpt2eval.data.corpus import load_corpus
from gpt2eval.identity import Sizes
from gpt2eval.models import registry
from gpt2eval.models.options import LoadOptions
from gpt2eval.planning.cost import Trial
from gpt2eval.planning.task_plan import plan_task
from gpt2eval.report.store import read_results
from gpt2eval.scoring.flops import Counts, counts_of, flops
from gpt2eval.settings import Settings, Worker
from gpt2eval.types import Request, TokenScores

DATA = demo.data()
TASKS = ["lambada", "cbt_cn", "ptb", "text8", "lm1b"]
UNIGRAM = "toy:unigram"


def planned(out: Path | None) -> RunPlan:
    return plan_run(UNIGRAM, TASKS, data=DATA, out=out)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_has_the_numbers_of_the_run(tmp_path: Path) -> None:
    before = planned(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    tokens: dict[str, int] = {}
    evaluate(
        UNIGRAM,
        TASKS,
        data=DATA,
        out=tmp_path / "out",
        progress=lambda report: tokens.__setitem__(report.task, report.of_tokens),
    )
    stored = snapshot(tmp_path / "out")
    after = planned(tmp_path / "out")
    assert snapshot(tmp_path / "out") == stored
    results = {result.full_name: result for result in read_results(tmp_path / "out")}
    for task in before.tasks:
        tally = results[task.task].tally
        assert task.tokens == tokens[task.task]
        assert task.missing == task.chunks
        assert task.seconds
        assert task.records == (1 if task.task in ("ptb", "text8") else tally.records)
        if task.task != "cbt_cn":  # whose tally has the right choice only
            assert task.scored == tally.tokens
        sizes = {
            path: path.stat().st_size
            for kind in ("safetensors", "tokens")
            for path in (tmp_path / "out").rglob(f"*.{kind}")
            if path.parents[1].name == task.task
        }
        # The toy's log-probabilities are float64, 4 bytes more than float32.
        written = sum(sizes.values()) - 4 * task.scored
        assert len(sizes) == task.chunks + 1
        assert written * 0.8 < task.journal < written * 1.2
    assert {(task.missing, task.seconds, task.journal) for task in after.tasks} == {(0, 0.0, 0)}
    assert after.trial == 0


def test_a_plan_knows_the_chunks_that_are_done(tmp_path: Path) -> None:
    """Every third chunk is done."""
    settings = Settings(stride=4, batch_size=64, context=256)
    first = replace(settings, worker=Worker(0, 3))
    evaluate(UNIGRAM, "text8", data=DATA, out=tmp_path, settings=first)
    (task,) = plan_run(UNIGRAM, "text8", data=DATA, out=tmp_path, settings=settings).tasks
    assert task.chunks > 20
    assert task.done == task.chunks - task.missing == -(-task.chunks // 3)
    own = replace(settings, worker=Worker(1, 3))
    (share,) = plan_run(UNIGRAM, "text8", data=DATA, out=tmp_path, settings=own).tasks
    assert share.missing == len(range(1, task.chunks, 3))
    assert share.done == task.done, "of all shards"


def test_one_trial_serves_all_tasks_of_a_kind() -> None:
    class Counting:
        """Counts the batches of a toy model."""

        def __init__(self) -> None:
            model = registry.load_model(UNIGRAM)
            self.context, self.start = 1024, model.start
            self.encode, self.identity, self._score = model.encode, model.identity, model.score
            self.calls = 0

        def score(self, batch: Sequence[Request]) -> TokenScores:
            self.calls += 1
            return self._score(batch)

    model = Counting()
    plan_run(model, ["ptb", "text8", "wikitext2", "cbt_cn", "cbt_ne"], data=DATA)
    assert model.calls == 2 + 1, "the first trial of all is repeated"


@pytest.mark.parametrize(("each", "trials"), [(3, 2), (7, 1)])
def test_the_time_is_that_of_a_batch_times_the_missing_tokens(each: int, trials: int) -> None:
    """A trial that takes 5 seconds or more is not repeated."""
    model = registry.load_model(UNIGRAM)
    times = iter(range(0, 1000, each))
    trial = Trial(model, clock=lambda: float(next(times)))
    task = load_task("text8")
    plan = plan_task(
        model, task, load_corpus(task, DATA["text8"]), Settings(batch_size=1, context=1000)
    )
    assert len(plan.work.chunks) == 1
    seconds = trial.seconds_for(plan, plan.work.chunks)
    assert seconds == pytest.approx(each * 40_000 / 1000, rel=0.01)
    assert trial.seconds == each * trials


def test_a_shape_counts_without_weights(real_models: Path) -> None:
    options = LoadOptions(tokenizer=str(real_models / "gpt2-tokenizer"))
    plan = plan_run("shape:gpt2-12x768-50257", TASKS, data=DATA, options=options, count_flops=True)
    assert "has no weights" in plan.problem
    for task in plan.tasks:
        assert task.seconds is None
        assert task.flop
        assert task.memory
        assert task.memory.weights == 4 * 124_439_808
    with pytest.raises(UsageError, match="a shape has no weights; expected --dry-run"):
        evaluate("shape:gpt2-12x768-50257", "ptb", data=DATA, options=options)
    for name in ("shape:gpt2-12x768", "shape:llama-1x2-3", "shape:gpt2-0x768-50257"):
        with pytest.raises(UsageError, match="expected gpt2-LAYERSxWIDTH-VOCABULARY"):
            registry.load_model(name, options)
    with pytest.raises(UsageError, match="a shape has no tokenizer; expected --tokenizer FOLDER"):
        registry.load_model("shape:gpt2-12x768-50257")


def test_flops_of_gpt2_follow_the_formula() -> None:
    layers, width, vocabulary = 12, 768, 50257
    sizes = Sizes.of_gpt2(layers, width, vocabulary, 1024)
    counts = Counts(tokens=1000, pairs=500_500, scored=1000)
    expected = (
        24 * layers * width**2 * counts.tokens
        + 4 * layers * width * counts.pairs
        + 2 * width * vocabulary * counts.scored
    )
    assert flops(counts, sizes).total == expected


@pytest.mark.parametrize(("prefix", "branches"), [(1, [5]), (7, [1, 1, 4]), (10, [3])])
def test_pairs_are_those_of_the_attention_mask(prefix: int, branches: list[int]) -> None:
    seen = [list(range(i + 1)) for i in range(prefix)]
    for length in branches:
        seen += [[*range(prefix), *range(i + 1)] for i in range(length - 1)]
    assert counts_of(prefix, branches) == (len(seen), sum(map(len, seen)), sum(branches))


def test_a_loaded_model_has_the_sizes_of_its_parameters() -> None:
    model = registry.load_model("demo")
    expected = Sizes.of_gpt2(4, 256, 2560, 512)
    assert model.sizes() == expected  # type: ignore[attr-defined]


def test_the_command_prints_the_plan(gpt2eval: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = ("run", "--model", UNIGRAM, "--tasks", "ptb,lambada", "--data", "demo", "--out", out)
    markdown = gpt2eval(*run, "--dry-run")
    assert (markdown.code, out.exists()) == (0, False)
    assert "| ptb " in markdown.out
    assert "| total " in markdown.out
    rows = json.loads(gpt2eval(*run, "--dry-run", "--format", "json").out)
    assert [row["task"] for row in rows] == ["ptb", "lambada", "total"]
    for key in ("records", "tokens", "scored", "chunks", "missing", "journal_bytes", "seconds"):
        assert rows[2][key] == pytest.approx(rows[0][key] + rows[1][key])
    idle = gpt2eval(*run, "--dry-run", "--shard", "9/9")  # there are fewer chunks than shards
    assert "All chunks of this shard are done; other shards score the rest." in idle.out
    assert " 0/2 " in idle.out
    gpt2eval(*run)
    done = gpt2eval(*run, "--dry-run")
    assert "All chunks are done" in done.out
    for arguments, message in (
        (("--flops",), "--flops: counts the operations of a plan; expected --dry-run with it"),
        (("--dry-run", "--flops"), "--flops: the sizes of toy:unigram are not known"),
        (("--dry-run", "--format", "yaml"), "unknown format 'yaml'"),
    ):
        ended = gpt2eval(*run, *arguments)
        assert ended.code == 2
        assert message in ended.err.splitlines()[-1]


def test_a_wrong_format_is_refused_before_anything_is_measured(
    gpt2eval: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = ("run", "--model", UNIGRAM, "--tasks", "ptb", "--data", "demo", "--out", out)
    for more in ((), ("--dry-run",)):
        ended = gpt2eval(*run, "--format", "yaml", *more)
        assert (ended.code, ended.out, out.exists()) == (2, "", False)
        assert ended.err.startswith("gpt2eval: unknown format 'yaml'; expected one of: ")
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_a_name_cannot_command_the_terminal(form: str) -> None:
    plan = planned(None)
    model = replace(plan.model, name="a\x1b[31mb")
    tasks = tuple(replace(task, task="text/c\x1b[2Jd") for task in plan.tasks)
    text = plan_text([replace(plan, model=model, tasks=tasks, problem="e\x07")], form)
    assert "\x1b[31m" not in text
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    assert "a\\x1b[31mb" in text


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_plan_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(None)
    plan = replace(plan, tasks=tuple(replace(task, flop=1.23e15) for task in plan.tasks))
    monkeypatch.setenv("COLUMNS", str(width))
    text = plan_text([plan], "terminal")
    assert max(map(len, text.splitlines())) <= width
    for task in plan.tasks:
        assert f"{task.tokens:,}" in text
