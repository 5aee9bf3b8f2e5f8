"""Find edits of a line that a scheme's `undo` reverses, by repairing the places where it errs.

`undo` errs where it restores something else than the published text. Three repairs exist, from the
cheapest for a reader to the dearest: omit an edit beside the place; put a mark into the text, which
tells `undo` that nothing was split there; give the line up. Takes linear time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from gpt2eval.text.edits import Cluster, Edit, apply_edits, clusters
from gpt2eval.text.schemes import Scheme

# ZERO WIDTH SPACE: invisible, not white space to Python, and one token in GPT-2's vocabulary.
MARK = "\u200b"
# An edit at most this many characters from a place where `undo` errs may be the cause.
REACH = 8
ROUNDS = 12  # of repairs; later ones reach further
WORK = 1 << 17  # characters read in all rounds on a line, but at least four rounds are made
# A line with more faults than one per this many characters is not in the form of the scheme.
SPARSE = 16
LONG = 1 << 14  # characters of a line on which few rounds can be made
TRIALS = 1 << 16  # characters that are restored at most to undo needless repairs of a line


@dataclass(frozen=True, slots=True)
class Repaired:
    """A published line with edits that can be reversed.

    Attributes:
        line: The published line.
        edits: The edits, in order.
        marks: Positions of the published line at which the text gets a mark, in order.
        dropped: The proposed edits that are omitted, in order.
        needed: Edits that are not omitted for what happens beside them.
    """

    line: str
    edits: tuple[Edit, ...]
    marks: tuple[int, ...]
    dropped: tuple[Edit, ...]
    needed: frozenset[Edit] = frozenset()

    def all_edits(self) -> tuple[Edit, ...]:
        """Return the edits and the insertions of marks, in order."""
        if not self.marks:
            return self.edits
        return tuple(sorted((*self.edits, *(Edit(mark, mark, MARK) for mark in self.marks))))

    def text(self) -> str:
        """Return the detokenized line."""
        return apply_edits(self.line, self.all_edits())


def restore(scheme: Scheme, detokenized: str) -> str:
    """Return the published line, with nothing restored at a mark."""
    if MARK not in detokenized:
        return scheme.undo(detokenized)
    plain, places = _without_marks(detokenized)
    return apply_edits(plain, _apart_from(places, scheme.undo_edits(plain)))


def repair(scheme: Scheme, line: str) -> Repaired | None:
    """Return edits of a line that `restore` reverses, or None if the line must stay as published.

    The line has no marks of its own.
    """
    proposed = scheme.propose(line)
    result = Repaired(line, tuple(proposed), (), ())
    if restore(scheme, result.text()) == line:
        return result
    for turn in range(min(ROUNDS, max(4, WORK // (len(line) + 1)))):
        faults = _faults(scheme, result)
        if not faults:
            return _without_needless_repairs(scheme, result)
        if len(faults) * SPARSE > len(line) + 4 * SPARSE:
            return None
        result = _repaired_at(faults, result, REACH << max(0, turn - 4), cautious=len(line) < LONG)
        if 0 in result.marks:
            return None  # nothing stands before a mark there
    return None


def _repaired_at(
    faults: Sequence[Cluster], result: Repaired, reach: int, *, cautious: bool
) -> Repaired:
    """Return a line with a repair at every fault.

    Edits at a fault are omitted, or else the nearest one in reach; the last resort is a mark, or
    the second one where every round counts.
    """
    omitted: set[Edit] = set()
    needed = set(result.needed)
    marks = set(result.marks)
    for fault in faults:
        causes = result.edits[fault.first.start : fault.first.stop]
        if causes:
            omitted.update(causes)
            continue
        # Was it an omission that made `undo` err here? Then the edit is needed.
        missed = needed.isdisjoint(found := _beside(result.dropped, *fault.before, 0)) and found
        if missed:
            needed.update(missed)
            continue
        beside = needed.isdisjoint(found := _beside(result.edits, *fault.before, reach)) and found
        omitted.update(beside or ())
        if not (cautious and beside):
            marks.add(fault.before[0] or fault.before[1])
    back = needed - result.needed
    edits = tuple(sorted({*result.edits, *back} - omitted))
    dropped = tuple(sorted({*result.dropped, *omitted} - back))
    return Repaired(result.line, edits, tuple(sorted(marks)), dropped, frozenset(needed))


def _faults(scheme: Scheme, result: Repaired) -> list[Cluster]:
    """Return the places at which `restore` does not restore the published text."""
    plain, places = _without_marks(result.text())
    undone = _apart_from(places, scheme.undo_edits(plain))
    restored = apply_edits(plain, undone)
    return [
        place
        for place in clusters(result.edits, undone)
        if result.line[slice(*place.before)] != restored[slice(*place.after)]
    ]


def _beside(edits: Sequence[Edit], start: int, end: int, reach: int) -> tuple[Edit, ...]:
    """Return the edit closest to a span of the published line, if one is in reach."""
    after = bisect_left(edits, (start,))
    candidates = edits[max(0, after - 1) : after + 1]

    def distance(edit: Edit) -> int:
        return max(edit.start - end, start - edit.end, 0)

    return tuple(sorted((e for e in candidates if distance(e) <= reach), key=distance)[:1])


def _without_needless_repairs(scheme: Scheme, result: Repaired) -> Repaired:
    """Return a line without the marks, then without the omissions, that turn out not to be needed.

    A repair may become needless through a later one beside it.
    """
    trials = TRIALS // max(1, len(result.line))
    for mark in result.marks[:trials]:
        marks = tuple(other for other in result.marks if other != mark)
        result = _if_restored(scheme, replace(result, marks=marks), result)
    for omitted in result.dropped[: max(0, trials - len(result.marks))]:
        edits = tuple(sorted((*result.edits, omitted)))
        dropped = tuple(edit for edit in result.dropped if edit != omitted)
        apart = tuple(m for m in result.marks if not omitted.start <= m <= omitted.end)
        for marks in dict.fromkeys((apart, result.marks)):
            better = _if_restored(scheme, replace(result, edits=edits, marks=marks), result)
            if better is not result:
                result = replace(better, dropped=dropped)
                break
    return result


def _if_restored(scheme: Scheme, better: Repaired, good: Repaired) -> Repaired:
    return better if restore(scheme, better.text()) == better.line else good


def _without_marks(text: str) -> tuple[str, list[int]]:
    """Return a text without its marks, and their places in it."""
    pieces = text.split(MARK)
    return "".join(pieces), list(accumulate(map(len, pieces[:-1])))


def _apart_from(places: Sequence[int], edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits that touch none of the places."""

    def is_marked(edit: Edit) -> bool:
        after = bisect_left(places, edit.start)
        return after < len(places) and places[after] <= edit.end

    return [edit for edit in edits if not is_marked(edit)]
