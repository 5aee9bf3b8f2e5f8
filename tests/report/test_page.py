"""The HTML page: what it holds, that it is safe and bounded, and that its sums are the results'."""

import html
import json
import math
import re
import shutil
from base64 import b64encode
from collections import defaultdict
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from page_results import LINES, SUITE, Made, html_of, make

from gpt2eval import UsageError, demo, evaluate
from gpt2eval.analysis.published_texts import published_texts
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.report.page import markup, surprisal
from gpt2eval.report.page.builder import LARGEST, MARGIN, page
from gpt2eval.report.page.pieces import BEFORE, LONGEST, Passages, Texts, pieces
from gpt2eval.report.page.sources import Labelled, groups, read_sources
from gpt2eval.report.profiles import by_frequency, by_position
from gpt2eval.report.store import read_results
from gpt2eval.scoring.token_table import TokenTable

LN2 = math.log(2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.getbasetemp() / "page")


class Parsed(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.raw.append((*self.elements[-1], data))


def content(page_text: str) -> Any:
    """The values that a page shows."""
    ((_, _, data),) = [raw for raw in Parsed(page_text).raw if raw[1].get("id") == "data"]
    return json.loads(data)


def task(values: Any, section: str, name: str) -> Any:
    return next(one for one in values[section] if one["name"] == name)


def measured(made: Made) -> dict[tuple[str, str], Measured]:
    return {(m.result.model.name, m.result.full_name): m for m in read_measured(made.results)}


# -- one safe file ---------------------------------------------------------------------------------


def test_the_policy_names_the_only_script_and_style(made: Made) -> None:
    parsed = Parsed(made.html)
    policy = next(
        html.unescape(attributes["content"] or "")
        for tag, attributes in parsed.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (text,) = [raw[2] for raw in parsed.raw if raw[0] == tag and "id" not in raw[1]]
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'",) * 3


def test_the_page_asks_for_nothing_and_handles_nothing_inline(made: Made) -> None:
    for tag, attributes in Parsed(made.html).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:,").startswith("data:"), tag


@pytest.mark.parametrize("name", markup.SCRIPTS)
def test_text_enters_as_text_only(name: str) -> None:
    script = (markup.FOLDER / name).read_text(encoding="utf-8")
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?:"
    allowed = script.replace('"http://www.w3.org/2000/svg"', "")  # the name of a namespace
    assert not re.search(ways, allowed)
    assert len(script.splitlines()) <= 230


def test_every_script_is_in_the_page(made: Made) -> None:
    assert sorted(path.name for path in markup.FOLDER.glob("*.js")) == sorted(markup.SCRIPTS)


def test_markup_in_a_record_stays_data(made: Made) -> None:
    assert made.html.count("<script") == 2
    assert made.html.count("</script") == 2
    shown = [passage["text"] for passage in task(content(made.html), "texts", "lm1b")["passages"]]
    assert [text.strip("\n") for text in shown] == [*LINES]
    assert "\u2028" not in made.html


def test_a_title_is_text(made: Made) -> None:
    made_page = page(
        read_sources(made.results / "demo" / "ptb"),
        SUITE,
        lambda one: published_texts(one, made.data),
        title="<b>{{data}}",
    )
    assert "<title>&lt;b&gt;{{data}}</title>" in made_page


def test_no_local_path_is_in_the_page(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.results, tmp_path / "out")
    for journal in (tmp_path / "out").rglob("ptb/journal"):
        shutil.rmtree(journal)
    assert str(tmp_path) not in html_of(tmp_path / "out", made.data)


def test_equal_results_give_equal_pages(made: Made) -> None:
    assert html_of(made.results, made.data) == made.html


# -- the table -------------------------------------------------------------------------------------


def test_the_table_has_every_number_with_its_signature(made: Made) -> None:
    values = content(made.html)
    rows = {row["label"]: row for group in values["table"]["groups"] for row in group}
    for (model, _), one in measured(made).items():
        for metric in one.result.metrics.values():
            cells = rows[model]["cells"].values()
            signed = [cell for cell in cells if cell["signed"]["signature"] == metric.signature]
            assert any(cell["value"] == metric.value for cell in signed) or not signed
    cell = rows["demo"]["cells"]["PTB"]
    result = measured(made)["demo", "ptb"].result
    assert cell["signed"]["signature"] == result.signature
    assert json.loads(cell["signed"]["interval"]) == list(result.primary.interval or ())
    assert rows["published 117M"]["cells"]["PTB"] == {"text": "65.85", "value": 65.85}


def test_verdicts_stand_with_the_model_they_are_about(made: Made) -> None:
    (source,) = read_sources(made.results / "demo" / "ptb")
    result = source.result
    result = replace(result, row="117M", data=replace(result.data, published=True))
    made_page = page([source._replace(result=result)], SUITE, lambda one: {})
    (group,) = content(made_page)["table"]["groups"]
    assert [row["label"] for row in group] == [
        *("demo", "published 117M", "difference", "tolerance", "verdict")
    ]
    assert group[-1]["cells"]["PTB"]["text"] == "outside"


def test_models_are_compared_with_the_first_one(made: Made) -> None:
    table = content(made.html)["table"]
    found = table["comparisons"]
    assert found["baseline"] == table["groups"][0][0]["label"] == "demo"
    folders = ["demo", "toy-unigram", "toy-uniform-bytes"]
    first, *others = (read_results(made.results / folder / "lm1b") for folder in folders)
    expected = first.compare(*others)
    assert {
        (row["title"], row["model"]): row["cells"]["verdict"]["text"] for row in found["rows"]
    } == {(duel.title, expected.labels[duel.model]): duel.verdict for duel in expected.duels}
    for duel in expected.duels:
        metric = duel.other.metric
        assert found["verdicts"][metric.name][metric.signature] == duel.verdict
    # the context of the demo model is shorter, so its other columns are of another protocol
    assert any(
        line.startswith("ptb, toy:unigram: the baseline has none") for line in found["left_out"]
    )


def test_a_verdict_is_of_one_metric_although_two_share_a_signature(made: Made) -> None:
    folders = [made.results / name / "lambada" for name in ("toy-unigram", "toy-uniform-bytes")]
    sources = []
    for source in read_sources(*folders):
        result = source.result
        unfiltered = replace(result.metrics["acc"], name="acc_unfiltered")
        metrics = {**result.metrics, "acc_unfiltered": unfiltered}
        sources.append(source._replace(result=replace(result, metrics=metrics)))
    table = content(page(sources, SUITE, lambda one: {}))["table"]
    verdicts = table["comparisons"]["verdicts"]
    assert set(verdicts) == {"ppl", "acc"}
    cell = table["groups"][1][0]["cells"]["LAMBADA ACC unfiltered"]["signed"]
    assert cell["signature"] in verdicts["acc"]
    assert cell["metric"] == "acc_unfiltered"


def test_an_infinite_loss_leaves_the_page_whole(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = read_sources(made.results / "toy-unigram" / "ptb")
    assert source.tokens
    logprob = source.tokens.logprob.copy()
    logprob[3] = -np.inf
    tokens = replace(source.tokens, logprob=logprob)
    monkeypatch.setattr(Measured, "tokens", lambda self: tokens)
    found = content(
        page(
            [source._replace(tokens=tokens)],
            SUITE,
            lambda one: published_texts(one, made.data),
        )
    )
    (model,) = task(found, "losses", "ptb")["models"]
    assert None in [one["value"] for one in model["position"]]
    bits = [b for p in task(found, "texts", "ptb")["passages"] for b in p["models"][0]["bits"]]
    assert [place for place, value in enumerate(bits) if value is None] == [3]


def test_nothing_comparable_is_said(made: Made) -> None:
    sources = [one for one in read_sources(made.results) if one.result.full_name == "ptb"]
    found = content(page(sources, SUITE, lambda one: {}))["table"]["comparisons"]
    assert (found["rows"], len(found["left_out"])) == ([], 2), "another context"
    alone = [one for one in sources if one.result.model.name == "demo"]
    assert content(page(alone, SUITE, lambda one: {}))["table"]["comparisons"] is None


# -- sizes -----------------------------------------------------------------------------------------


def test_a_size_follows_from_the_shape_or_is_given_or_is_unknown(made: Made) -> None:
    values = content(made.html)["sizes"]
    panel = next(panel for panel in values["panels"] if panel["title"] == "PTB")
    assert [point["parameters"] for point in panel["published"]] == [
        *(124439808, 354823168, 774030080, 1557611200)
    ]
    # 4 blocks of width 256: 12 d^2 weights and 13 d in vectors; 2560 words, 1024 positions
    expected = 4 * (12 * 256**2 + 13 * 256) + 2 * 256 + (2560 + 1024) * 256
    assert [(p["label"], p["parameters"]) for p in panel["ours"]] == [("demo", expected)]
    assert set(values["omitted"]) == {"toy:unigram", "toy:uniform-bytes"}
    sources = read_sources(made.results)
    stated = page(sources, SUITE, lambda one: {}, sizes={"toy:unigram": 1e6})
    panels = content(stated)["sizes"]["panels"]
    assert {p["label"] for panel in panels for p in panel["ours"]} == {"demo", "toy:unigram"}
    with pytest.raises(UsageError, match="nobody"):
        page(sources, SUITE, lambda one: {}, sizes={"nobody": 1e6})


def test_no_published_point_stands_beside_a_part_of_the_data(tmp_path: Path) -> None:
    evaluate("toy:unigram", ["ptb"], data=demo.data(), out=tmp_path, limit=5)
    sources = read_sources(tmp_path)
    made_page = page(sources, SUITE, lambda one: {}, sizes={"toy:unigram": 9})
    assert content(made_page)["sizes"]["panels"] == []


# -- losses and calibration ------------------------------------------------------------------------


def test_the_bins_are_the_profiles_and_add_up_to_the_result(made: Made) -> None:
    values = content(made.html)
    for (label, name), one in measured(made).items():
        models = {model["label"]: model for model in task(values, "losses", name)["models"]}
        tally = one.result.tally
        for kind, profile in (("position", by_position), ("frequency", by_frequency)):
            bins = models[label][kind]
            assert sum(found["tokens"] for found in bins) == tally.tokens
            expected = [(b.first, b.last, b.tokens, b.value) for b in profile(one)]
            assert [(b["first"], b["last"], b["tokens"], b["value"]) for b in bins] == expected
        nats = sum(b["value"] * b["tokens"] for b in models[label]["frequency"])
        assert nats == pytest.approx(tally.nats, rel=1e-5)


def test_calibration_has_the_results_decisions(made: Made) -> None:
    values = content(made.html)
    for name, kind in (("lambada", "answer"), ("cbt_ne", "choice")):
        found = task(values, "calibration", name)
        assert (found["kind"], found["omitted"]) == (kind, [])
        for model in found["models"]:
            tally = measured(made)[model["label"], name].result.tally
            assert (model["right"], model["records"]) == (tally.correct, tally.records)
            assert sum(b["right"] for b in model["bins"]) == tally.correct
            assert sum(b["records"] for b in model["bins"]) == tally.records


def test_the_probability_of_an_answer_is_the_product_over_its_tokens(made: Made) -> None:
    one = measured(made)["toy:uniform-bytes", "lambada"]
    tokens = one.tokens()
    sizes_of_answers = np.bincount(tokens.record)
    found = task(content(made.html), "calibration", "lambada")["models"]
    model = next(model for model in found if model["label"] == "toy:uniform-bytes")
    assert model["mean"] == pytest.approx(float((256.0**-sizes_of_answers).mean()), rel=1e-4)


def test_the_probability_of_a_choice_is_its_share(made: Made) -> None:
    tokens = measured(made)["toy:unigram", "cbt_ne"].tokens()
    sums: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for row in range(len(tokens)):
        sums[int(tokens.record[row])][int(tokens.choice[row])] += float(tokens.logprob[row])
    shares = []
    for choices in sums.values():
        best = max(choices.values())
        shares.append(1 / sum(math.exp(value - best) for value in choices.values()))
    found = task(content(made.html), "calibration", "cbt_ne")["models"]
    model = next(model for model in found if model["label"] == "toy:unigram")
    assert model["mean"] == pytest.approx(sum(shares) / len(shares), rel=1e-6)


# -- the text --------------------------------------------------------------------------------------


def test_the_passages_tile_the_text_and_hold_every_token(made: Made) -> None:
    values = content(made.html)
    for name in ("ptb", "lm1b", "lambada"):
        found = task(values, "texts", name)
        assert len(found["passages"]) == found["total"]
        for number, label in enumerate(found["models"]):
            tally = measured(made)[label, name].result.tally
            bits = [b for p in found["passages"] for b in p["models"][number]["bits"]]
            hits = [int(h) for p in found["passages"] for h in p["models"][number]["hits"]]
            assert len(bits) == len(hits) == tally.tokens
            rounding = 0.0005 * tally.tokens
            assert sum(bits) / 1000 == pytest.approx(tally.nats / LN2, abs=rounding + 1e-3)
    text = "".join(p["text"][p["before"] :] for p in task(values, "texts", "ptb")["passages"])
    assert text == made.data["ptb"].read_text(encoding="utf-8")


def test_tokens_point_at_their_text_in_utf16_units(made: Made) -> None:
    found = task(content(made.html), "texts", "lm1b")
    tokens = {label: measured(made)[label, "lm1b"].tokens() for label in found["models"]}
    for passage in found["passages"]:
        text = f"{LINES[passage['record']]}\n".encode()
        units = passage["text"].encode("utf-16-le")
        for label, model in zip(found["models"], passage["models"], strict=True):
            table = tokens[label].select(tokens[label].record == passage["record"])
            at = model["from"]
            shown = []
            for length in model["lengths"]:
                shown.append(units[2 * at : 2 * (at + length)].decode("utf-16-le").encode())
                at += length
            expected = [text[a:b] for a, b in zip(table.begin, table.end, strict=True)]
            assert shown == expected


def test_a_long_record_is_cut_where_all_models_begin_a_token() -> None:
    text = ("ab cd " * 30 + "\n") * 30
    edges = np.arange(0, len(text) + 1, 3)
    models = [Passages.of(_table(edges)), Passages.of(_table(np.arange(len(text) + 1)))]
    found = list(pieces(models, {(0, 0): text.encode()}))
    assert len(found) > 1
    assert [piece.begin for piece in found] == [0, *(piece.end for piece in found[:-1])]
    assert all(piece.end - piece.begin <= LONGEST for piece in found)
    assert all(piece.end in set(edges.tolist()) for piece in found)
    for model, number in zip(models, (0, 1), strict=True):
        rows = [row for piece in found for row in range(len(model.tokens))[piece.rows[number]]]
        assert rows == [*range(len(model.tokens))]


def _table(edges: np.ndarray) -> TokenTable:
    """A token table of one record whose tokens have these edges."""
    count = len(edges) - 1
    zeros = np.zeros(count, np.int32)
    return TokenTable(
        record=zeros,
        choice=zeros.astype(np.int16),
        is_right=np.ones(count, np.bool_),
        id=zeros,
        begin=edges[:-1].astype(np.int64),
        end=edges[1:].astype(np.int64),
        logprob=np.full(count, -1.0, np.float32),
        is_greedy=np.zeros(count, np.bool_),
        is_tied=np.zeros(count, np.bool_),
        context=np.arange(count, dtype=np.int32),
        weight=np.ones(count, np.float32),
    )


def test_undecodable_bytes_count_as_one_each() -> None:
    text = b"a\xff\xfeb"
    passages = [Passages.of(_table(np.arange(5)))]
    (piece,) = pieces(passages, {(0, 0): text})
    found = surprisal._passage(piece, 0, [passages[0].tokens], {(0, 0): text})
    assert found["text"] == "a\udcff\udcfeb"
    assert found["models"][0]["lengths"] == [1, 1, 1, 1]
    assert json.loads(markup.embedded(found)) == found
    markup.embedded(found).encode()


def test_unscored_text_stands_before_an_answer(made: Made) -> None:
    found = task(content(made.html), "texts", "lambada")
    for passage in found["passages"]:
        assert 0 < passage["before"] <= BEFORE
        assert re.fullmatch(r"\s+\S+", passage["text"][passage["before"] :])


# -- bounds ----------------------------------------------------------------------------------------


def test_the_page_of_all_demo_tasks_is_below_the_limit(made: Made) -> None:
    assert len(made.html.encode()) < LARGEST


def test_a_small_page_says_which_passages_it_holds(made: Made) -> None:
    full = content(made.html)
    largest = 240_000
    small = html_of(made.results, made.data, largest=largest)
    assert len(small.encode()) <= largest
    found = task(content(small), "texts", "lambada")
    whole = task(full, "texts", "lambada")
    held = {passage["number"] for passage in found["passages"]}
    assert 0 < len(held) < found["total"] == whole["total"]
    reasons: dict[str, set[int]] = {"surprising": set(), "gap": set(), "sample": set()}
    for passage in found["passages"]:
        assert passage["why"]
        for reason in passage["why"]:
            reasons[reason].add(passage["number"])
    orders = [
        sorted(whole["passages"], key=lambda passage: -rate(passage, model))
        for model in range(len(whole["models"]))
    ]
    in_turn = [passage["number"] for turn in zip(*orders, strict=True) for passage in turn]
    count = len(reasons["surprising"])
    assert reasons["surprising"] == set([*dict.fromkeys(in_turn)][:count])
    count = len(reasons["sample"])
    assert reasons["sample"] == set(surprisal.spread(found["total"])[:count])


def test_what_small_tasks_leave_of_the_page_is_for_the_large_ones(made: Made) -> None:
    used = len(html_of(made.results, made.data, largest=1).encode())
    sizes = [len(markup.embedded(one["passages"])) for one in content(made.html)["texts"]]
    room = sum(sizes) - max(sizes) // 2
    assert sum(min(size, room // len(sizes)) for size in sizes) < 0.8 * room
    small = html_of(made.results, made.data, largest=used + room + MARGIN)
    taken = sum(len(markup.embedded(one["passages"])) for one in content(small)["texts"])
    assert 0.85 * room < taken <= room


def test_the_texts_of_a_task_are_told_apart_by_what_differs(made: Made) -> None:
    (source,) = read_sources(made.results / "demo" / "ptb")
    result = source.result
    limited = replace(result, protocol=replace(result.protocol, limit=3))
    other = replace(result, data=replace(result.data, sha256="feed" * 16))

    def titles(*results: Any) -> list[str]:
        labelled = [Labelled(f"m{n}", source._replace(result=r)) for n, r in enumerate(results)]
        return [group.title for group in groups(labelled, [])]

    assert titles(result, result) == ["PTB"]
    assert titles(replace(result, variant="raw")) == ["PTB /raw"]
    own = replace(result, task="text", variant="my-text.txt-dd65dff3", title="my text.txt")
    assert titles(own) == ["my text.txt"]
    namesake = replace(own, variant="my-text.txt-feedfeed", data=other.data)
    assert titles(own, namesake)[1] == "my text.txt (feedfeed)"
    assert titles(result, limited) == ["PTB", "PTB (first 3)"]
    own = result.data.sha256[:8]
    assert titles(result, other) == [f"PTB ({own})", "PTB (feedfeed)"]
    assert titles(result, other, limited) == [
        *(f"PTB ({own})", "PTB (feedfeed)", f"PTB ({own}, first 3)")
    ]


def rate(passage: Any, model: int) -> float:
    """Bits per byte of a passage, as the page rounds them."""
    scored = passage["text"][passage["before"] :].encode()
    return round(sum(passage["models"][model]["bits"]) / 1000 / len(scored), 6)


def test_without_room_a_page_has_no_passage(made: Made) -> None:
    found = content(html_of(made.results, made.data, largest=1))
    assert found["table"]["groups"]
    assert all(one["passages"] == [] for one in found["texts"])


# -- what is missing -------------------------------------------------------------------------------


def test_without_a_text_the_page_says_so(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    def no_text(one: Measured) -> Texts:
        raise UsageError(f"{one.result.full_name}: not in the cache")

    place = made.results / "demo" / "ptb"
    found = content(page(read_sources(place), SUITE, no_text))
    assert "--data ptb=PATH" in found["texts"][0]["missing"]
    assert found["losses"]
    assert ["without the text of ptb" in line for line in caplog.messages] == [True]


def test_a_result_without_a_journal_is_in_the_table(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(made.results / "toy-unigram", tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "ptb" / "journal")
    found = content(html_of(tmp_path / "out", made.data))
    (row,) = found["table"]["groups"][0]
    assert "PTB" in row["cells"]
    assert "ptb" not in [one["name"] for one in found["losses"]]
    assert found["missing"][0].startswith("toy:unigram, in the table only: PTB")
    assert ["1 result in the table only" in line for line in caplog.messages] == [True]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_writes_the_page(made: Made, tmp_path: Path, gpt2eval: Run) -> None:
    target = tmp_path / "deep" / "report.html"
    data = [f"--data={name}={path}" for name, path in made.data.items()]
    ended = gpt2eval("report", str(made.results), "--html", str(target), *data)
    assert (ended.code, ended.out, ended.err) == (0, f"{target}\n", "")
    assert target.read_text(encoding="utf-8") == made.html


def test_the_command_needs_a_file_to_write(made: Made, gpt2eval: Run) -> None:
    ended = gpt2eval("report", str(made.results))
    assert (ended.code, ended.out) == (2, "")
    assert "--html" in ended.err


def test_the_command_needs_results(tmp_path: Path, gpt2eval: Run) -> None:
    ended = gpt2eval("report", str(tmp_path / "none"), "--html", str(tmp_path / "a.html"))
    assert ended.code == 2
    assert not (tmp_path / "a.html").exists()
