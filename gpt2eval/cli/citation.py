"""How to cite gpt2eval, as BibTeX; the same facts as CITATION.cff."""

from gpt2eval.version import __version__

RELEASED = "2026-11-30"


def bibtex() -> str:
    """Return a BibTeX entry for this version."""
    year, month, _ = RELEASED.split("-")
    return "\n".join(
        [
            "@software{gpt2eval,",
            "  title = {gpt2eval: zero-shot language-model benchmarks},",
            "  author = {{The gpt2eval authors}},",
            f"  version = {{{__version__}}},",
            f"  year = {{{year}}},",
            f"  month = {{{int(month)}}},",
            "}",
        ]
    )
