"""The page about a model with an infinite loss, which cannot be compared with another one."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from planted import plant, worse, write

from gpt2eval import demo, evaluate
from gpt2eval.report import store
from gpt2eval.report.measured import read_measured
from gpt2eval.report.page.comparisons import comparisons
from gpt2eval.report.page.sources import Labelled, read_sources
from gpt2eval.scoring import journal
from gpt2eval.types import Tally


@pytest.mark.parametrize("order", [("infinite", "finite"), ("infinite", "finite", "more")])
def test_the_rest_of_the_page_is_shown(tmp_path: Path, order: tuple[str, ...]) -> None:
    evaluate("toy:unigram", "lm1b", data=demo.data(), out=tmp_path / "run")
    (measured,) = read_measured(tmp_path / "run")
    for name in ("finite", "more"):
        plant(tmp_path / "run", tmp_path, name, worse(0.05, 0.01))
    folder = write(tmp_path, "infinite", measured, [*measured.parts], measured.independent)
    parts = [replace(measured.parts[0], nats=math.inf), *measured.parts[1:]]
    kept = journal.of_folder(folder / "journal")
    assert kept
    kept.files.write_tallies(parts)
    result = store.read_result(folder / "result.json")
    metrics = {
        name: replace(metric, value=math.inf, interval=None)
        for name, metric in result.metrics.items()
    }
    store.write_result(folder, replace(result, tally=Tally.total(parts), metrics=metrics))

    sources = [Labelled(name, read_sources(tmp_path / name)[0]) for name in order]
    found = comparisons(sources)
    assert found
    assert found["rows"] == []
    (line,) = found["left_out"]
    assert line.startswith("nothing to compare: lm1b ppl, finite: a record has a probability of 0")
    assert str(tmp_path) not in line
