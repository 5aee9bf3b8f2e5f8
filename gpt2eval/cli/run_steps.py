"""The steps of `gpt2eval run`, once its options are read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpt2eval.cli.report import print_table
from gpt2eval.notices import LOGGER

if TYPE_CHECKING:
    from gpt2eval.metrics.result import Result
    from gpt2eval.settings import Worker


class Share(NamedTuple):
    """What this process does of the work, and whether it prints the results.

    `wait` waits for the other processes, and returns whether to look for their chunks again.
    """

    worker: "Worker"
    prints: bool
    wait: Callable[[], bool]


def share_of(shard: str | None, tp: int | None) -> Share:
    """Return the share of this process, as a launcher, `--shard` and `--tp` say."""
    from gpt2eval.scoring import workers
    from gpt2eval.settings import Worker

    launched = workers.worker_of_launcher()
    prints = launched.rank == 0 or bool(shard and not tp)
    if not shard and not tp:
        return Share(launched, prints, workers.wait_for_workers)
    # The processes of --tp compute each batch together, and a shard does not wait for others.
    worker = workers.worker_of_shard(shard) if shard else Worker()
    return Share(worker, prints, lambda: False)


class Work(NamedTuple):
    """The models with their chosen names, the tasks, and the arguments that all models share."""

    models: Sequence[tuple[str, str | None]]
    tasks: str | Sequence[str]
    arguments: Mapping[str, Any]


def check_all_names(work: Work) -> None:
    """Raise UsageError for a wrong name, of the last model too, before the first one is scored."""
    from gpt2eval.models.memory.recall import check_names

    for model, name in work.models:
        check_names(model, name)


def print_all_plans(work: Work, form: str | None, *, count_flops: bool) -> None:
    """Print what would be scored, on one model after the other."""
    from gpt2eval.analysis.dry_run import plan_run
    from gpt2eval.cli.dry_run import print_plans

    plans = [
        plan_run(model, work.tasks, name=name, count_flops=count_flops, **work.arguments)
        for model, name in work.models
    ]
    print_plans(plans, form)


def score_all(work: Work, share: Share) -> "list[Result]":
    """Score the tasks on one model after the other."""
    from gpt2eval import pipeline
    from gpt2eval.cli.progress import bars
    from gpt2eval.models.server.address import shown_name

    results: list[Result] = []
    for model, name in work.models:
        LOGGER.info("scoring %s; results go to %s", shown_name(model), work.arguments["out"])
        with bars(hidden=not share.prints) as show_progress:
            results += pipeline.evaluate(
                model,
                work.tasks,
                name=name,
                progress=show_progress,
                wait=share.wait,
                **work.arguments,
            )
    return results


def print_results(
    results: "Sequence[Result]",
    tasks: str | None,
    include: Sequence[Path],
    form: str | None,
    *,
    signatures: bool,
) -> None:
    """Print the table of the tasks' suite."""
    from gpt2eval import pipeline

    suite = pipeline.suite_of(tasks, include)
    print_table(results, suite, include, form=form, mixed=True, signatures=signatures)


def report_missing(work: Work, shard: str | None) -> None:
    """Emit notices about chunks that are not scored yet."""
    from gpt2eval.cli.incomplete import report_incomplete
    from gpt2eval.models.server.address import shown_name

    arguments = work.arguments
    texts = [text.task.full_name for text in arguments["texts"]]
    names = [name or shown_name(model).removeprefix("hf:") for model, name in work.models]
    report_incomplete(arguments["out"], names, work.tasks, texts, arguments["include"], shard)
