"""Poll a training run's folder for checkpoints that are ready to be scored.

Knows which checkpoints changed between two polls. Does not score anything.
"""

from dataclasses import dataclass, field
from pathlib import Path

from gpt2eval.errors import UsageError
from gpt2eval.notices import notify
from gpt2eval.training.checkpoints import FileStats, TrainingCheckpoint, find_checkpoints


@dataclass(slots=True)
class Poller:
    """The state of a watched folder: the last poll, and the checkpoints that need no further work.

    A checkpoint in `scored` or `broken` is left alone until its files change.
    """

    folder: Path
    last_poll: dict[Path, FileStats] = field(default_factory=dict)
    scored: dict[Path, FileStats] = field(default_factory=dict)
    broken: dict[Path, FileStats] = field(default_factory=dict)
    notices: dict[Path, str] = field(default_factory=dict)

    def poll(self) -> list[TrainingCheckpoint]:
        """Return, in order, the checkpoints that are due.

        A checkpoint is due if it has not changed since the previous poll and is neither scored nor
        broken.
        """
        checkpoints = find_checkpoints(self.folder)
        previous_poll = self.last_poll
        self.last_poll = {c.path: c.file_stats for c in checkpoints}
        return [
            checkpoint
            for checkpoint in checkpoints
            if previous_poll.get(checkpoint.path) == checkpoint.file_stats
            and self.scored.get(checkpoint.path) != checkpoint.file_stats
            and self.broken.get(checkpoint.path) != checkpoint.file_stats
        ]

    def notify_once(self, path: Path, message: str) -> None:
        """Emit a notice about a checkpoint unless it repeats the checkpoint's previous notice."""
        if self.notices.get(path) != message:
            notify(message)
        self.notices[path] = message

    def check_all_scored(self) -> None:
        """Raise UsageError if the folder has no checkpoint, or one that is not scored."""
        if not self.last_poll:
            raise UsageError(
                f"{self.folder}: no checkpoint found; expected checkpoint-STEP folders, ckpt*.pt "
                "or model_*.bin"
            )
        unscored = [
            path for path, stats in self.last_poll.items() if self.scored.get(path) != stats
        ]
        if unscored:
            reasons = [reason for path in unscored if (reason := self.notices.get(path))]
            expected = "expected complete checkpoints whose files do not change"
            names = ", ".join(path.name for path in unscored)
            raise UsageError(f"{self.folder}: not scored: {names}; {(*reasons, expected)[0]}")
