"""The side of gpt2eval: a complete task on text in memory, from passages to the interval."""

from collections.abc import Callable, Sequence
from functools import partial

from timed import Job, Request, Score, Work, measure

from gpt2eval import measurement
from gpt2eval.config.schema import Task
from gpt2eval.config.source_schema import File, Source
from gpt2eval.data.records import Corpus
from gpt2eval.identity import EncodesMany, Launches
from gpt2eval.models import options, registry
from gpt2eval.settings import Settings
from gpt2eval.text.passages import BLANK
from gpt2eval.types import Encoding, Model, ModelIdentity, Record, TokenScores, Units


class Summed:
    """A backend that also sums the log-likelihood of all branches, wrong choices included."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.context = model.context
        self.start = model.start
        self.loglikelihood = 0.0
        self.tokens = 0

        if isinstance(model, EncodesMany):
            self.encode_batch = model.encode_batch

    def encode(self, text: str) -> Encoding:
        return self._model.encode(text)

    def identity(self) -> ModelIdentity:
        return self._model.identity()

    def score(self, batch: Sequence) -> TokenScores:
        return self.launch(batch)()

    def launch(self, batch: Sequence) -> Callable[[], TokenScores]:
        """Launch a batch where the model can, as a run does."""
        model = self._model
        wait = model.launch(batch) if isinstance(model, Launches) else partial(model.score, batch)

        def summed() -> TokenScores:
            scores = wait()
            self.loglikelihood += float(scores.logprobs.sum(dtype="float64"))
            self.tokens += len(scores.logprobs)
            return scores

        return summed


def task_of(name: str, work: Work) -> Task:
    """Return the protocol of a task.

    Requests start with their own first token; a text follows the start token.
    """
    formats = {
        "cbt": ("cbt", "choices", ("acc",)),
        "lambada": ("lambada", "last_word", ("ppl", "acc")),
    }
    file_format, ask, metrics = formats.get(name, ("stream", "everything", ("nats_per_token",)))
    return Task.model_validate(
        {
            "name": name,
            "title": name,
            "citation": "none",
            "licence": "none",
            "version": 1,
            "source": Source(file=File(name=name)),
            "format": file_format,
            "ask": ask,
            "start": "none" if work.requests else "eot",
            "context": work.window,
            "stride": work.stride,
            "unit": "word",
            "metrics": metrics,
        }
    )


def record(index: int, request: Request) -> Record:
    """Return a request as a published record: a passage, or a question with a blank."""
    context, choices, rest = request
    if len(choices) == 1:
        return Record(index, context + request.continuations()[0])
    return Record(index, f"{context} {BLANK}{rest}", choices[0], tuple(choices))


def load(job: Job, work: Work) -> Callable[[Work], Score]:
    """Load the model as the command line does."""
    model = registry.load_model(job.model, options.LoadOptions(dtype=job.dtype, device=job.device))

    def score(work: Work) -> Score:
        summed = Summed(model)
        records = [record(i, r) for i, r in enumerate(work.requests)] or [Record(0, work.text)]
        corpus = Corpus(tuple(records), Units(), "0" * 64, published=False, origin="benchmark")
        measurement.measure(summed, task_of(job.task, work), corpus, Settings())
        return Score(summed.loglikelihood, summed.tokens)

    return score


if __name__ == "__main__":
    measure(load)
