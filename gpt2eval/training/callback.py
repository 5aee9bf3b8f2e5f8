"""Evaluation from within training: a function for loops written by hand, and a callback for transformers' Trainer.

from gpt2eval.integrations import EvaluateCallback, evaluate_module

results = evaluate_module(model, tokenizer, ["wikitext2"], step=step)        # in a loop
trainer.add_callback(EvaluateCallback(trainer, ["wikitext2"], every=500))    # with a Trainer
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.pipeline import Settings, evaluate
from gpt2eval.report.results import Results
from gpt2eval.training import live_module


def evaluate_module(
    module: nn.Module,
    tokenizer: Any,
    tasks: str | Sequence[str],
    *,
    data: Mapping[str, Path | str] | None = None,
    out: Path | str | None = None,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
    name: str | None = None,
    step: int | None = None,
    context: int | None = None,
    logits: Callable[[nn.Module, Tensor], Any] | None = None,
) -> Results:
    """Measure tasks on a live module, as `evaluate` does on a checkpoint, and leave the module as it was.

    The weights are used where they lie and in their dtype; training mode, gradients, hooks and the state of torch's random
    numbers are what they were. `tokenizer` is transformers', `tokenizers`', or the place of one. A module that is not
    transformers' is called as `logits(module, ids)`: ids `[batch, length]` to logits `[batch, length, vocabulary]`, by default
    `module(ids)`; `context` is its longest input, where its config does not say so.

    Raises UsageError for whatever the user can mend. Source: issue 5.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.autocast(_kind(module), enabled=False):
        backend = live_module.of_module(
            module, tokenizer, name=name, context=context, step=step, logits=logits
        )
        return evaluate(backend, tasks, data=data, out=out, settings=settings, include=include)


def figures(results: Sequence[Result], prefix: str = "gpt2eval") -> dict[str, float]:
    """Results as a flat mapping for loggers: `gpt2eval/wikitext2/ppl` to its value."""
    return {
        f"{prefix}/{result.full_name}/{name}": metric.value
        for result in results
        for name, metric in result.metrics.items()
    }


class EvaluateCallback(TrainerCallback):
    """Measures tasks every N steps of a Trainer, and at the end, and logs them to whatever the Trainer reports to.

    One process does it; the others wait at the next step. With `out` each result is written there as well.
    """

    def __init__(
        self,
        trainer: Trainer,
        tasks: str | Sequence[str],
        *,
        every: int = 500,
        tokenizer: Any = None,
        data: Mapping[str, Path | str] | None = None,
        out: Path | str | None = None,
        settings: Settings = Settings(),
        include: Sequence[Path] = (),
        context: int | None = None,
        logits: Callable[[nn.Module, Tensor], Any] | None = None,
    ) -> None:
        """Raises UsageError for a number of steps below 1, and where neither the Trainer nor the caller has a tokenizer."""
        if every < 1:
            raise UsageError(f"every={every}: expected a number of steps of 1 or more")
        self._tokenizer = tokenizer or trainer.processing_class
        if self._tokenizer is None:
            raise UsageError(
                "EvaluateCallback: the Trainer has no processing_class; expected tokenizer="
            )
        self._trainer, self._tasks, self._every = trainer, tasks, every
        self._rest: dict[str, Any] = {
            "data": data,
            "out": out,
            "settings": settings,
            "include": include,
        }
        self._rest |= {"context": context, "logits": logits}
        self._last = -1

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure, where the step is one of every N."""
        if state.global_step % self._every == 0:
            self._measure(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the last step, where that has not been done."""
        self._measure(state)

    def _measure(self, state: TrainerState) -> None:
        if state.global_step == self._last or not state.is_world_process_zero:
            return
        self._last = state.global_step
        model: Any = self._trainer.model
        named = getattr(getattr(model, "config", None), "_name_or_path", "") or type(model).__name__
        name = f"{named}@step{state.global_step}"
        results = evaluate_module(
            model, self._tokenizer, self._tasks, name=name, step=state.global_step, **self._rest
        )
        self._trainer.log(figures(results))


def _kind(module: nn.Module) -> str:
    """The kind of device that a module lies on."""
    return next((p.device.type for p in module.parameters()), "cpu")
