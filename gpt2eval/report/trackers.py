"""Log results to TensorBoard, MLflow or Weights & Biases.

Each number has the name `gpt2eval/TASK/METRIC`; its interval is logged beside it as `/ci_low` and
`/ci_high`, and its signature as text. A tracker's package is imported when the tracker is opened.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType

from gpt2eval.errors import UsageError, one_line, unknown
from gpt2eval.metrics.result import Result
from gpt2eval.notices import notify
from gpt2eval.report.logged import logged_of, run_name
from gpt2eval.report.tracker_adapters import MLflow, TensorBoard, Tracker, WeightsAndBiases

FORMS = "expected tensorboard:DIR, mlflow, mlflow:URI or wandb:PROJECT"


class Trackers:
    """Any number of trackers as one, for a `with` block.

    A tracker that fails later than at its opening does not stop the evaluation: a notice says so.

    Examples:
        >>> with Trackers([]) as trackers:
        ...     trackers.log([])
    """

    def __init__(self, places: Iterable[str]) -> None:
        """Open the trackers, each as `tensorboard:DIR`, `mlflow`, `mlflow:URI` or `wandb:PROJECT`.

        Raises:
            UsageError: For another form, a missing package, and a tracker that cannot be opened.
        """
        self._trackers: list[tuple[str, Tracker]] = []
        for place in places:
            self._trackers.append((place, open_tracker(place)))

    def log(self, results: Iterable[Result], step: int | None = None) -> None:
        """Log results at a training step; by default the one that the model states, or 0."""
        for result in results:
            logged = logged_of(result, step)
            for place, tracker in self._trackers:
                run = run_name(result.model)
                self._guarded(place, partial(tracker.log, run, logged))

    def close(self) -> None:
        """Close all trackers."""
        for place, tracker in self._trackers:
            self._guarded(place, tracker.close)

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _guarded(self, place: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a tracker's own errors are of many kinds
            notify(f"--track {place}: {one_line(error)}; the results are not logged there")


def open_tracker(place: str) -> Tracker:
    """Return the tracker of `tensorboard:DIR`, `mlflow`, `mlflow:URI` or `wandb:PROJECT`.

    Raises:
        UsageError: For another form, a missing package, and a tracker that cannot be opened.
    """
    kind, _, rest = place.partition(":")
    if kind not in KINDS:
        raise unknown("tracker", kind, KINDS)
    if not rest and kind != "mlflow":
        raise UsageError(f"--track {place}: {FORMS}")
    try:
        return KINDS[kind](rest)
    except ImportError as error:
        if error.name and error.name.partition(".")[0] != kind:
            raise UsageError(
                f"--track {place}: {kind} cannot be imported: {one_line(error)}"
            ) from None
        raise UsageError(
            f"--track {place}: the package {kind} is not installed; expected "
            f"'pip install gpt2eval[{kind}]'"
        ) from None
    except Exception as error:  # a tracker's own errors are of many kinds
        raise UsageError(f"--track {place}: {one_line(error)}; {FORMS}") from None


KINDS: Mapping[str, Callable[[str], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


def places_of(track: "str | Sequence[str] | None") -> Sequence[str]:
    """Return the places of an argument `track`: one, several, or none."""
    return [track] if isinstance(track, str) else list(track or ())
