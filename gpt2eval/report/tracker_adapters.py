"""TensorBoard, MLflow and Weights & Biases behind one interface.

These are the only classes that import them, each when it is made.
"""

import time
from pathlib import Path
from typing import Any, Protocol

from gpt2eval.report.logged import PREFIX, Logged
from gpt2eval.report.naming import model_folder_name

EXPERIMENT = "gpt2eval"  # of MLflow


class Tracker(Protocol):
    """A place for the results of runs; a run is a model, or all checkpoints of a training run."""

    def log(self, run: str, logged: Logged) -> None:
        """Log a result of a run."""
        ...

    def close(self) -> None:
        """Finish all runs."""
        ...


class TensorBoard:
    """Event files in a folder, one folder for each run."""

    def __init__(self, folder: str) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer: Any = EventFileWriter
        # Classes that protobuf makes at run time; type checkers do not see them.
        self._event: Any = vars(event_pb2)["Event"]
        self._summary: Any = summary_pb2
        self._tensor: Any = vars(tensor_pb2)["TensorProto"]
        self._writers: dict[str, Any] = {}

    def log(self, run: str, logged: Logged) -> None:
        if run not in self._writers:
            self._writers[run] = self._writer(str(self._folder / model_folder_name(run)))
        scalar = self._summary.Summary.Value
        values = [scalar(tag=name, simple_value=value) for name, value in logged.numbers.items()]
        values += [self._text(name, text) for name, text in logged.signatures.items()]
        summary = self._summary.Summary(value=values)
        event = self._event(wall_time=time.time(), step=logged.step, summary=summary)
        self._writers[run].add_event(event)
        self._writers[run].flush()

    def _text(self, name: str, text: str) -> Any:
        """Return a signature as text; TensorBoard reads text as Markdown, hence the code marks."""
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        return self._summary.Summary.Value(
            tag=f"{name}/signature",
            metadata=self._summary.SummaryMetadata(plugin_data=plugin),
            tensor=self._tensor(dtype="DT_STRING", string_val=[f"`{text}`".encode()]),
        )

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class MLflow:
    """Runs of the experiment `gpt2eval` at a tracking URI, by default MLflow's own."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports] - an extra
        from mlflow.entities import Metric, RunTag  # pyright: ignore[reportMissingImports]

        self._client = MlflowClient(tracking_uri=uri or None)
        self._metric = Metric
        self._tag = RunTag
        found = self._client.get_experiment_by_name(EXPERIMENT)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        )
        self._runs: dict[str, str] = {}

    def log(self, run: str, logged: Logged) -> None:
        if run not in self._runs:
            made = self._client.create_run(self._experiment, run_name=run)
            self._runs[run] = made.info.run_id
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._runs[run],
            metrics=[
                self._metric(name, value, now, logged.step)
                for name, value in logged.numbers.items()
            ],
            tags=[self._tag(f"{name}/signature", text) for name, text in logged.signatures.items()],
        )

    def close(self) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run)


class WeightsAndBiases:
    """Runs of a project; `WANDB_MODE` and the other variables of wandb apply."""

    def __init__(self, project: str) -> None:
        import wandb  # pyright: ignore[reportMissingImports] - an extra

        self._wandb: Any = wandb
        self._project = project
        self._runs: dict[str, Any] = {}

    def log(self, run: str, logged: Logged) -> None:
        if run not in self._runs:
            self._runs[run] = self._start(run)
        started = self._runs[run]
        started.log({f"{PREFIX}/step": logged.step, **logged.numbers})
        for name, text in logged.signatures.items():
            started.summary[f"{name}/signature"] = text

    def _start(self, run: str) -> Any:
        quiet = self._wandb.Settings(silent=True, console="off")
        started = self._wandb.init(
            project=self._project, name=run, reinit="create_new", settings=quiet
        )
        # wandb's own step must never decrease, and checkpoints may come in any order
        started.define_metric(f"{PREFIX}/step", hidden=True)
        started.define_metric(f"{PREFIX}/*", step_metric=f"{PREFIX}/step")
        return started

    def close(self) -> None:
        for started in self._runs.values():
            started.finish()
