"""Time per character of every regular expression of the package on adversarial repetitions.

The processor's time for a text is compared with that for one of four times its length. Linear time
is four times as much, quadratic time sixteen times. A case fails if it is slow every time.
"""

import ast
import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import gpt2eval
from drill.part import Findings
from drill.texts.scheme_tokens import literals
from gpt2eval.config import catalog
from gpt2eval.text.loader import load_detokenizer_file

ROOT = Path(gpt2eval.__file__).parent
SHORT = 5_000  # characters
TIMES = 4
MOST_RATIO = 9  # between 4, which is linear, and 16, which is quadratic
IGNORED = 0.02  # seconds; a shorter search is not slow, whatever its ratio
TRIES = 4
CALLS = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
# Expressions that only ever read a short text, and by whom its length is bounded.
BOUNDED = {
    "text/plugin.py": "the name of a class in a file of at most 1 MiB",
    "models/": "names of weights, parameters and files",
    "training/": "names of files",
    "report/": "names, cards and labels",
    "metrics/pasted.py": "a signature on the command line",
    "metrics/signature.py": "a signature on the command line",
    "files.py": "names of files",
    "http.py": "names of variables",
    "config/": "scalars of a task file",
}


class Expression(NamedTuple):
    """A regular expression, where it is, and whether it is only tried at the beginning."""

    place: str
    pattern: str
    flags: int = 0
    anchored: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether it only reads short texts."""
        return self.place.startswith(tuple(BOUNDED))


def run(cases: int, number: int, folder: Path) -> Findings:
    """Search a number of adversarial texts; each expression gets its share."""
    expressions = [e for e in all_expressions() if not e.is_bounded]
    random = Random(number)
    failures: list[str] = []
    steepest = 0.0
    slow: set[str] = set()
    for case in range(cases):
        expression = expressions[case % len(expressions)]
        make = _adversary(expression, random)
        if expression.place in slow:
            continue
        ratio = growth(expression, make)
        steepest = max(steepest, ratio)
        if ratio > MOST_RATIO:
            slow.add(expression.place)
            failures.append(
                f"{expression.place}: {expression.pattern!r:.80} takes {ratio:.0f} times as long "
                f"for {TIMES} times as many characters of {make(24)!r}"
            )
    figures = {"expressions": str(len(expressions)), "steepest": f"{steepest:.1f} for 4"}
    return Findings(cases, failures, figures)


def growth(expression: Expression, make: Callable[[int], str]) -> float:
    """Return the ratio of the times for a long and a short text; the least of several tries.

    It is 0 if the search of the long text is too short to measure.
    """
    compiled = _compiled(expression)
    least = float("inf")
    for _ in range(TRIES):
        after = _seconds(compiled, make(SHORT * TIMES), anchored=expression.anchored)
        if after < IGNORED:
            return 0.0
        before = min(
            _seconds(compiled, make(SHORT), anchored=expression.anchored) for _ in range(2)
        )
        least = min(least, after / max(before, 1e-6))
        if least <= MOST_RATIO:
            break
    return least


def _seconds(compiled: Any, text: str, *, anchored: bool) -> float:
    subject = text if isinstance(compiled.pattern, str) else text.encode("utf-8", "surrogatepass")
    start = time.process_time()
    if not anchored:
        for _ in compiled.finditer(subject):
            pass
    compiled.match(subject)
    compiled.fullmatch(subject)
    return time.process_time() - start


def _compiled(expression: Expression) -> Any:
    if expression.place.startswith("text/segments.py"):
        import regex

        return regex.compile(expression.pattern)
    pattern = expression.pattern
    if expression.flags & IS_BYTES:
        return re.compile(pattern.encode("latin-1"), expression.flags & ~IS_BYTES)
    return re.compile(pattern, expression.flags)


IS_BYTES = 1 << 20  # beside the flags of `re`


def _adversary(expression: Expression, random: Random) -> Callable[[int], str]:
    """Return a text of any length: a head, the repetition of a few pieces, and a tail."""
    try:
        own = sorted({*literals(_parser.parse(expression.pattern, expression.flags & ~IS_BYTES))})
    except re.error:  # one of the package `regex`
        own = []
    pieces = [*filter(None, own), " ", "a", "A", "1", ".", "\n", "\t", "'", '"', "-", "é"]
    body = "".join(random.choices(pieces, k=random.choice((1, 1, 2, 2, 3, 4))))
    head = "".join(random.choices(pieces, k=random.choice((0, 1, 2))))
    tail = "".join(random.choices([*pieces, "\0"], k=random.choice((0, 1, 2))))

    def make(size: int) -> str:
        return head + body * (size // len(body)) + tail

    return make


def all_expressions() -> list[Expression]:
    """Return the expressions of all detokenizers and all modules."""
    return [*_of_detokenizers(), *_of_modules()]


def _of_detokenizers() -> Iterator[Expression]:
    for name, path in sorted(catalog.files("detokenizers").items()):
        file = load_detokenizer_file(path)
        for key in ("do", "undo", "steps"):
            for number, rule in enumerate(getattr(file, key)):
                if pattern := rule.glue or rule.swap:
                    yield Expression(f"detokenizers/{name}.yaml: {key}.{number}", pattern)


def _of_modules() -> Iterator[Expression]:
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text("utf-8")
        if "import re" not in text:  # or regex
            continue
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if (
                isinstance(owner, ast.Name)
                and owner.id in ("re", "regex")
                and node.func.attr in CALLS
                and node.args
            ):
                found = _of_call(path, tree, node)
                if found:
                    yield found


def _of_call(path: Path, tree: ast.Module, call: ast.Call) -> Expression | None:
    """Return the expression of a call; None if it is a user's, or a parameter."""
    name = path.relative_to(ROOT).as_posix()
    place = f"{name}:{call.lineno}"
    pattern = call.args[0]
    if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str | bytes):
        flags = sum(
            getattr(re, node.attr)
            for argument in (*call.args[1:], *(k.value for k in call.keywords))
            for node in ast.walk(argument)
            if isinstance(node, ast.Attribute)
            and isinstance(getattr(re, node.attr, 0), re.RegexFlag)
        )
        if isinstance(pattern.value, bytes):
            return Expression(
                place,
                pattern.value.decode("latin-1"),
                flags | IS_BYTES,
                _is_anchored(path, tree, call),
            )
        return Expression(place, pattern.value, flags, _is_anchored(path, tree, call))
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and node.value is call
            and isinstance(node.targets[0], ast.Name)
        ):
            if Expression(place, "").is_bounded:
                return None
            module = import_module("gpt2eval." + name.removesuffix(".py").replace("/", "."))
            compiled = getattr(module, node.targets[0].id)
            flags = compiled.flags & ~re.UNICODE & 0xFF
            return Expression(place, compiled.pattern, flags, _is_anchored(path, tree, call))
    return None


def _is_anchored(path: Path, tree: ast.Module, call: ast.Call) -> bool:
    """Return whether a call, or every use of the expression that it compiles, is a `match`."""
    assert isinstance(call.func, ast.Attribute)
    uses = {call.func.attr}
    if call.func.attr == "compile":
        names = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and node.value is call
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        uses = set(re.findall(rf"\b(?:{'|'.join(names)})\.(\w+)\(", path.read_text("utf-8")))
    return bool(uses) and uses <= {"match", "fullmatch"}
