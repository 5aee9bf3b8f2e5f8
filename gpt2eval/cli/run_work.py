"""What `gpt2eval run` does after its arguments are read: plan, or score and report."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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

    @classmethod
    def of(cls, shard: str | None, tp: int | None) -> "Share":
        """Return the share that `--shard`, `--tp` or a launcher gives to this process."""
        from gpt2eval.scoring import workers
        from gpt2eval.settings import Worker

        launched = workers.worker_of_launcher()
        prints = launched.rank == 0 or bool(shard and not tp)
        if not shard and not tp:
            return cls(launched, prints, workers.wait_for_workers)
        # The processes of --tp compute each batch together, and a shard does not wait for others.
        worker = workers.worker_of_shard(shard) if shard else Worker()
        return cls(worker, prints, lambda: False)


class Work(NamedTuple):
    """The models with their chosen names, the tasks, and the arguments that all models share."""

    models: Sequence[tuple[str, str | None]]
    tasks: str | Sequence[str]
    arguments: Mapping[str, Any]

    def check_names(self) -> None:
        """Raise UsageError for a wrong name, also of the last model, before anything is scored."""
        from gpt2eval.models.memory.recall import check_names

        for model, name in self.models:
            check_names(model, name)

    def print_plans(self, form: str | None, *, count_flops: bool) -> None:
        """Print what the run would cost, and score nothing."""
        from gpt2eval.analysis.dry_run import plan_run
        from gpt2eval.cli.dry_run import print_plans

        plans = [
            plan_run(model, self.tasks, name=name, count_flops=count_flops, **self.arguments)
            for model, name in self.models
        ]
        print_plans(plans, form)

    def score(self, share: Share, track: Sequence[str]) -> "list[Result]":
        """Score the tasks on one model after the other, and log each model's results."""
        from gpt2eval import pipeline
        from gpt2eval.cli.progress import bars
        from gpt2eval.models.server.address import shown_name
        from gpt2eval.report.trackers import Trackers

        results: list[Result] = []
        with Trackers(track if share.prints else ()) as trackers:
            for model, name in self.models:
                out = self.arguments["out"]
                LOGGER.info("scoring %s; results go to %s", shown_name(model), out)
                with bars(hidden=not share.prints) as show_progress:
                    measured = pipeline.evaluate(
                        model,
                        self.tasks,
                        name=name,
                        progress=show_progress,
                        wait=share.wait,
                        **self.arguments,
                    )
                trackers.log(measured)
                results += measured
        return results

    def report_incomplete(self, shard: str | None) -> None:
        """Say which chunks other workers still have to score."""
        from gpt2eval.cli.incomplete import report_incomplete
        from gpt2eval.models.server.address import shown_name

        arguments = self.arguments
        texts = [text.task.full_name for text in arguments["texts"]]
        names = [name or shown_name(model).removeprefix("hf:") for model, name in self.models]
        report_incomplete(arguments["out"], names, self.tasks, texts, arguments["include"], shard)
