"""Choose the one member of an archive that is wanted."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gpt2eval.data.compression import SUFFIXES
from gpt2eval.errors import UsageError


class Selection:
    """The choice of one member: by the first wanted name, plain before compressed."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = names
        self._ranks = [*names, *(name + suffix for name in names for suffix in SUFFIXES)]
        self._first: list[str] = []  # members, for the error
        self._best = len(self._ranks)
        self._chosen = ""

    def prefers(self, member: str) -> bool:
        """Return whether a member is better than all before it.

        Raises UsageError for two members that are equally good.
        """
        if len(self._first) < 5:
            self._first.append(member)
        if self._chosen == member:
            raise UsageError(f"{self._path}: contains {member!r:.80} twice; expected it once")
        base = PurePosixPath(member).name
        if base not in self._ranks:
            return False
        rank = self._ranks.index(base)
        if rank == self._best:
            raise UsageError(
                f"{self._path}: contains {self._chosen!r:.80} and {member!r:.80}; "
                "expected one of them"
            )
        if rank > self._best:
            return False
        self._best = rank
        self._chosen = member
        return True

    def check(self) -> None:
        """Raise UsageError if no member is wanted."""
        if not self._chosen:
            found = ", ".join(self._first) or "no files"
            raise UsageError(
                f"{self._path}: contains no {' or '.join(self._names)}; it contains {found}"
            )
