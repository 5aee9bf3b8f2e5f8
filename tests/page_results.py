"""Results of small models and the page about them, made once for all tests of the page."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from gpt2eval import demo, evaluate
from gpt2eval.analysis.published_texts import published_texts
from gpt2eval.config.loader import load_suite
from gpt2eval.report.measured import Measured
from gpt2eval.report.page.builder import LARGEST, page
from gpt2eval.report.page.pieces import Texts
from gpt2eval.report.page.sources import read_sources

# Lines of a task as an author might not expect them: markup, a formula, text of several bytes per
# character, an invisible character and a separator.
LINES = (
    "A line with </script><script>document.title='taken'</script> in it .",
    "=1+1 , said the caf\u00e9 \U0001f642\U0001f642 \u65e5\u672c\u8a9e .",
    "A zero\u200bwidth space , and a line separator \u2028 here .",
    "An ordinary line of a few words .",
)
SUITE = load_suite("gpt2-paper")


class Made(NamedTuple):
    """A folder of results, the data they were measured on, and the page about them."""

    results: Path
    data: dict[str, Path]
    html: str


@cache
def make(folder: Path) -> Made:
    """Measure four tasks on two toy models and two of them on the demo model."""
    folder.mkdir()
    lines = folder / "lines.txt"
    lines.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    data = {**demo.data(), "lm1b": lines}
    out = folder / "out"
    for model in ("toy:unigram", "toy:uniform-bytes"):
        evaluate(model, ["lambada", "cbt_ne", "ptb"], data=data, out=out)
        # with the context of the demo model, so that the three can be compared
        evaluate(model, ["lm1b"], data=data, out=out, allow_kept=True, context=512)
    evaluate("demo", ["ptb", "lm1b"], data=data, out=out, allow_kept=True)
    return Made(out, data, html_of(out, data))


def html_of(place: Path, data: dict[str, Path], largest: int = LARGEST) -> str:
    """Return the page about the results in a folder."""

    def find_texts(measured: Measured) -> Texts:
        return published_texts(measured, data)

    return page(read_sources(place), SUITE, find_texts, largest=largest)
