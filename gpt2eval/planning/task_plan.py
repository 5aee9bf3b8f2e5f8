"""Plan one task on one model: from its published records to requests in chunks.

Everything that a number depends on is decided here; nothing is scored.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpt2eval.config.schema import Filter, Task
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.metrics import protocol as protocols
from gpt2eval.metrics.protocol import ProtocolFields
from gpt2eval.models import identified
from gpt2eval.planning import answers
from gpt2eval.planning.task_tokens import encode_task, is_alone, kept_of, refuse_lossy
from gpt2eval.scoring.execute import TaskWork
from gpt2eval.scoring.journal import Journal
from gpt2eval.scoring.streams import KeptTokens
from gpt2eval.scoring.windows import Window
from gpt2eval.settings import Settings
from gpt2eval.text import fit
from gpt2eval.text.detokenizer import Detokenizer, OneWaySteps, RoundTrip
from gpt2eval.text.loader import load_detokenizer
from gpt2eval.text.passages import ask, head
from gpt2eval.text.prepare import detokenize_passage
from gpt2eval.types import (
    Model,
    ModelIdentity,
    Passage,
    Record,
    ScoresWordStarts,
)
from gpt2eval.version import __version__

YOUNG = {"pack", "drop", "draw", "tail", "mean", "ends"}


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """The work of a task on a model, and what its numbers depend on.

    `records` counts the records that are scored, `words` is the rule for answers (None without
    one), `round_trip` what the detokenizer did, and `identity` names the batch. `is_own` says that
    the model's backend is one of this package. `kept` counts the tokens that lie in some window,
    None if all do.
    """

    task: Task
    corpus: Corpus
    records: int
    window: Window
    protocol: ProtocolFields
    identity: ModelIdentity
    words: Filter | None
    round_trip: RoundTrip
    work: TaskWork
    is_own: bool
    kept: KeptTokens | None = None

    def decides(self) -> dict[str, object]:
        """Return everything that the scores depend on; the journal's key covers it.

        A hash of the weights stands for the model, so its name is left out: the same weights under
        another name have the same scores. The scheme remains, because it decides how a file is
        read. Of a backend from outside the loaded name remains, because its code decides, too.
        """
        model = self.identity.stated()
        if self.identity.is_pinned:
            name = model.pop("name")
            loaded = model.pop("label", name)
            model["scheme"] = loaded.rpartition(":")[0] if self.is_own else loaded
        inputs: dict[str, object] = {
            **({"word_starts": True} if self.work.starts else {}),
            "task": self.task.full_name,
            "plan": self.work.digest(),
            "words": self.words and self.words.sha256,
            "version": __version__,
        }
        return inputs | self._protocol() | model

    def _protocol(self) -> dict[str, object]:
        """Return the protocol's fields, with None for a field that does not apply.

        Fields that are younger than the first journals are left out instead, so that a journal
        keeps its key.
        """
        stated = asdict(self.protocol)
        return {key: stated[key] for key in stated if key not in YOUNG or stated[key] is not None}

    def journal(self, folder: Path, elsewhere: Sequence[Path] = ()) -> Journal:
        """Return the journal of this work in a folder; it may have no chunks yet.

        `elsewhere` are the same task's journals of other models below one output folder. They are
        used only if a hash pins the weights.
        """
        places = elsewhere if self.identity.is_pinned else ()
        return Journal.of(folder, self.decides(), len(self.work.chunks), places)

    def tokens_done(self, journal: Journal) -> int:
        """Return how many of the tokens that are fed to the model a journal has scores for."""
        sizes = self.work.chunks.sizes
        return int(sizes.sum() - sizes[journal.missing()].sum())


def plan_task(
    model: Model,
    task: Task,
    corpus: Corpus,
    settings: Settings = Settings(),
    include: Sequence[Path] = (),
) -> TaskPlan:
    """Plan a task on a model.

    Raises:
        UsageError: The protocol does not apply to the model or the text, is not the expected one,
            or a record cannot be scored.
    """
    window = protocols.window(task, model, settings.context, settings.stride)
    detokenizer = load_detokenizer(task.detokenizer, include) if task.detokenizer else None
    report = RoundTrip()
    records = head(corpus.records, settings.limit, stream=task.format == "stream")
    passages = prepare(task, records, detokenizer, report)
    place = f"task {task.full_name}: {corpus.origin}"
    kept_lines = fit.kept(place, detokenizer, report, allowed=settings.allow_kept)
    encoded, lossy = encode_task(model, task, passages, window)
    if lossy and not settings.allow_lossy:
        refuse_lossy(task)
    kept = kept_of(task, encoded, window)
    identity = identified.identity_of(model)
    budget = settings.budget(window.context, identity.device)
    words = answers.rule(task, model, identity.name, include)
    protocol = protocols.fields(
        task,
        model,
        corpus,
        settings.limit,
        window,
        detokenizer,
        words,
        lossy=lossy,
        kept=kept_lines,
    )
    work = TaskWork.for_task(task, encoded, window, budget, identity.device)
    if (settings.word_starts and words is None) or work.starts:
        reason = f"task {task.full_name}" if work.starts else "--word-starts"
        work = _with_starts(model, work, f"{reason}: model {identity.name}")
    if settings.expected is not None:
        protocols.check(task, protocol, settings.expected, identity.tokenizer)
    return TaskPlan(
        task,
        corpus,
        task.draw.blocks if task.draw else len(records),
        window,
        protocol,
        replace(identity, batch=str(budget)),
        words,
        report,
        work,
        identified.is_own(model),
        kept,
    )


def _with_starts(model: Model, work: TaskWork, subject: str) -> TaskWork:
    """Return work that scores word starts, too.

    Raises:
        UsageError: The model does not know which tokens begin a word; `subject` names it.
    """
    if not isinstance(model, ScoresWordStarts):
        raise UsageError(
            f"{subject} does not tell which of its tokens begin a word; expected "
            "a checkpoint whose tokenizer states the bytes of its tokens"
        )
    return replace(work, starts=True)


def prepare(
    task: Task,
    records: Sequence[Record],
    detokenizer: Detokenizer | OneWaySteps | None,
    report: RoundTrip,
) -> list[Passage]:
    """Return the passages of a task as detokenized text.

    The report counts the text of each record once, whatever the number of its choices.
    """
    join = " " if task.join == "space" else "\n"
    return [
        detokenize_passage(
            passage,
            detokenizer,
            join=join,
            lead=task.lead,
            report=report if passage.right else None,
        )
        for record in records
        for passage in ask(task.ask, record, alone=is_alone(task, records))
    ]
