"""What the README shows is what the committed results say."""

from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.report import cells, store, table

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "smollm2-135m-instruct-q4_1"
SUITE = loader.load_suite("gpt2-paper")


def test_the_readme_shows_the_committed_reference_row() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- reference table:")[2].partition(" -->\n")[2]
    results = store.read_results(REFERENCE)
    measured = {title for row in cells.place(results, SUITE).values() for title in row}
    columns = [column.title for column in SUITE.columns if column.title in measured]
    rendered = table.render(results, SUITE, columns=columns, intervals=True)
    assert shown.partition("\n<!-- end")[0] == rendered.partition("\n\n")[0]


def test_the_reference_row_is_of_complete_published_files() -> None:
    for result in store.read_results(REFERENCE):
        assert result.data.published or result.task == "lm1b"
        assert result.protocol.limit is None
