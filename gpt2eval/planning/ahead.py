"""How many tokens a task will need, before its text is encoded: for the time left of a run."""

from collections.abc import Sequence
from pathlib import Path

from gpt2eval.config.schema import Task
from gpt2eval.data.records import Corpus
from gpt2eval.errors import UsageError
from gpt2eval.scoring import journal
from gpt2eval.settings import Settings
from gpt2eval.text.passages import head
from gpt2eval.types import Model, Record

SAMPLE = 4000  # characters that are encoded
CHOICE = 50  # characters of a choice with the rest of its sentence, about


def expected_tokens(
    model: Model, task: Task, corpus: Corpus, settings: Settings, journal_folder: Path | None
) -> int:
    """Return about how many tokens are fed to the model for a task; the journal's are left out.

    A sample of the text tells how many characters a token has. Windows that overlap repeat tokens.
    """
    records = head(corpus.records, settings.limit, stream=task.format == "stream")
    ratio = _tokens_per_character(model, records)
    lengths = [ratio * len(record.text) for record in records]
    context = settings.context or min(task.block or task.context, model.context)
    if task.ask == "everything":
        stride = settings.stride or task.stride or context
        tokens = sum(length * (context / stride if length > context else 1) for length in lengths)
    else:  # a request per record, which the context cuts
        choices = sum(len(record.options) for record in records)
        tokens = sum(min(length, context) for length in lengths) + choices * CHOICE * ratio
    return int(tokens * _missing_share(journal_folder))


def _tokens_per_character(model: Model, records: Sequence[Record]) -> float:
    sample = ""
    for record in records:
        sample += record.text[:SAMPLE]
        if len(sample) >= SAMPLE:
            break
    try:
        return len(model.encode(sample).ids) / max(len(sample), 1)
    except UsageError:  # a character that the model does not have; scoring will say where
        return 0.0


def _missing_share(folder: Path | None) -> float:
    """Return the share of the chunks that a journal lacks; 1 without a journal."""
    found = journal.of_folder(folder) if folder else None
    return len(found.missing()) / found.count if found and found.count else 1.0
