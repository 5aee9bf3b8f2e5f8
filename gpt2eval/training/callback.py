"""Evaluate a model from inside its training loop.

from gpt2eval.training.callback import EvaluateCallback, evaluate_module

results = evaluate_module(model, tokenizer, ["wikitext2"], step=step)      # in your own loop
trainer.add_callback(EvaluateCallback(trainer, ["wikitext2"], every=500))  # with a Trainer
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gpt2eval.data.local import Data
from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.pipeline import evaluate
from gpt2eval.report.results import Results
from gpt2eval.report.trackers import Trackers, places_of
from gpt2eval.settings import Settings
from gpt2eval.training import live_module
from gpt2eval.training.live_module import LogitsFunction


def evaluate_module(
    module: nn.Module,
    tokenizer: Any,
    tasks: str | Sequence[str],
    *,
    data: Data = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
    name: str | None = None,
    step: int | None = None,
    context: int | None = None,
    logits: LogitsFunction | None = None,
) -> Results:
    """Measure tasks on a live module, as `evaluate` does on a checkpoint.

    The weights are used in place, in their dtype. Training mode, gradients, hooks and torch's
    random state do not change.

    Args:
        module: any causal language model.
        tokenizer: a tokenizer of transformers or `tokenizers`, or a folder or Hub id with one.
        tasks: as for `evaluate`; so are `data`, `out`, `settings` and `include`.
        name: the model name in results; by default the one in its configuration, or its class.
        step: the training step, for the results.
        context: the longest input in tokens, if the module's configuration does not contain it.
        logits: `logits(module, ids)` for a module that does not come from transformers: ids
            `[batch, length]` to logits `[batch, length, vocabulary]`. By default the module is
            called as `module(ids)`, or as nanoGPT expects.

    Returns:
        One result per task.

    Raises:
        UsageError: for invalid tasks, data or settings, and for a module that is not a causal
            language model.

    Examples:
        ```python
        results = evaluate_module(model, tokenizer, ["wikitext2"], step=step)
        wandb.log(figures(results), step=step)
        ```
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices), torch.autocast(_device_type(module), enabled=False):
        backend = live_module.backend_of_module(
            module, tokenizer, name=name, context=context, step=step, logits=logits
        )
        return evaluate(backend, tasks, data=data, out=out, settings=settings, include=include)


def figures(results: Sequence[Result], prefix: str = "gpt2eval") -> dict[str, float]:
    """Return results as a flat mapping for loggers: `gpt2eval/wikitext2/ppl` to its value."""
    return {
        f"{prefix}/{result.full_name}/{name}": metric.value
        for result in results
        for name, metric in result.metrics.items()
    }


class EvaluateCallback(TrainerCallback):
    """Measure tasks every N steps of a Trainer, and at the end, and log them with the Trainer.

    Only the first process measures; the others wait at the next step.

    Examples:
        ```python
        trainer.add_callback(EvaluateCallback(trainer, ["wikitext2"], every=500))
        ```
    """

    def __init__(
        self,
        trainer: Trainer,
        tasks: str | Sequence[str],
        *,
        every: int = 500,
        tokenizer: Any = None,
        data: Data = None,
        out: Path | str | None = None,
        settings: Settings = Settings(),
        include: Sequence[Path] = (),
        context: int | None = None,
        logits: LogitsFunction | None = None,
        track: str | Sequence[str] | None = None,
    ) -> None:
        """Prepare the callback.

        Args:
            trainer: the Trainer to evaluate and to log to.
            tasks: as for `evaluate_module`; so are the arguments that are not listed here.
            every: the number of training steps between two evaluations.
            tokenizer: by default the Trainer's `processing_class`.
            track: where to log besides the Trainer, with intervals and signatures: one or several
                of `tensorboard:DIR`, `mlflow`, `mlflow:URI`, `wandb:PROJECT`.

        Raises:
            UsageError: if `every` is below 1, if there is no tokenizer, or if a tracker cannot be
                opened.
        """
        if every < 1:
            raise UsageError(f"every={every}: expected a number of steps of 1 or more")
        self._tokenizer = tokenizer or trainer.processing_class
        if self._tokenizer is None:
            raise UsageError(
                "EvaluateCallback: the Trainer has no processing_class; expected tokenizer="
            )
        self._trainer = trainer
        self._tasks = tasks
        self._every = every
        self._arguments: dict[str, Any] = {
            "data": data,
            "out": out,
            "settings": settings,
            "include": include,
            "context": context,
            "logits": logits,
        }
        self._last_step = -1
        self._trackers = Trackers(places_of(track) if trainer.is_world_process_zero() else ())

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure if the step is a multiple of `every`."""
        if state.global_step % self._every == 0:
            self._measure(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the last step unless it is already measured, and close the trackers."""
        self._measure(state)
        self._trackers.close()

    def _measure(self, state: TrainerState) -> None:
        if state.global_step == self._last_step or not state.is_world_process_zero:
            return
        self._last_step = state.global_step
        model: Any = self._trainer.model
        results = evaluate_module(
            model,
            self._tokenizer,
            self._tasks,
            name=f"{live_module.default_name(model)}@step{state.global_step}",
            step=state.global_step,
            **self._arguments,
        )
        self._trainer.log(figures(results))
        self._trackers.log(results, state.global_step)


def _device_type(module: nn.Module) -> str:
    """Return the type of device that holds the module's first parameter."""
    return next((p.device.type for p in module.parameters()), "cpu")
