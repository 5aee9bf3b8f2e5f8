"""What the README shows is what the committed results say."""

from pathlib import Path

from gpt2eval.config import loader
from gpt2eval.report import store, table

ROOT = Path(__file__).parents[1]


def test_the_readme_shows_the_committed_demo_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- demo table: gpt2eval run -->\n")[2].partition("\n<!-- end")[0]
    rendered = table.render(store.read_results(ROOT / "results"), loader.load_suite("gpt2-paper"))
    assert shown == rendered.partition("\n\n")[0]
