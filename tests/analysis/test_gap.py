"""The gap report: equal to a loop over bytes, with totals of the results, and honest intervals."""

import csv
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from piece_model import CONTEXT, PieceModel

from gpt2eval import demo, evaluate
from gpt2eval.analysis.gap import gap_report
from gpt2eval.analysis.gap_render import gap_reports, render_gap
from gpt2eval.analysis.gap_rows import Both, GapReport
from gpt2eval.analysis.published_texts import Texts, published_texts
from gpt2eval.data import custom
from gpt2eval.errors import UsageError
from gpt2eval.metrics.clusters import Clusters
from gpt2eval.metrics.paired import compare_rates
from gpt2eval.report.measured import Measured, read_measured
from gpt2eval.report.token_rows import record_columns
from gpt2eval.scoring.token_table import TokenTable
from gpt2eval.text.segments import NAMES, segments

TASKS = ["wikitext2", "ptb", "lm1b", "lambada", "cbt_cn", "text8", "enwik8", "wikitext2/s32"]
BITS = 1 / math.log(2)


@pytest.fixture(scope="module")
def byte_pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Measured, Measured]]:
    """Results of two models of bytes."""
    pairs: list[dict[str, Measured]] = []
    for model in ("toy:unigram", "toy:uniform-bytes"):
        out = tmp_path_factory.mktemp("bytes")
        evaluate(model, TASKS, data=demo.data(), out=out, limit=60)
        pairs.append({one.result.full_name: one for one in read_measured(out)})
    return {task: (pairs[0][task], pairs[1][task]) for task in TASKS}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Measured, Measured]]:
    """Results of a model of pieces and of one of bytes."""
    pairs: list[dict[str, Measured]] = []
    for model in (PieceModel(), "toy:unigram"):
        out = tmp_path_factory.mktemp("tokenizers")
        evaluate(model, TASKS[:5], data=demo.data(), out=out, limit=20, context=CONTEXT)
        pairs.append({one.result.full_name: one for one in read_measured(out)})
    return {task: (pairs[0][task], pairs[1][task]) for task in pairs[0]}


def per_byte(tokens: TokenTable) -> dict[tuple[int, int, int], float]:
    """Return the bits of each published byte, by a loop over tokens and bytes."""
    found: dict[tuple[int, int, int], float] = defaultdict(float)
    for rows in tokens.passages():
        passage = tokens.select(rows)
        held = 0.0
        last: list[tuple[int, int, int]] = []
        for row in range(len(passage)):
            bits = -float(passage.logprob[row]) * float(passage.weight[row]) * BITS
            begin, end = int(passage.begin[row]), int(passage.end[row])
            key = (int(passage.record[row]), int(passage.choice[row]))
            if begin == end and not last:
                held += bits
                continue
            if begin < end:
                last = [(*key, byte) for byte in range(begin, end)]
            for byte in last:
                found[byte] += (bits + held) / len(last)
            held = 0.0
    return found


def naive_kinds(
    first: Measured, second: Measured, texts: Texts
) -> dict[str, tuple[float, float, int]]:
    """Return bits and bytes of each kind, by a loop over segments and bytes."""
    tables = [table.select(table.is_right) for table in (first.tokens(), second.tokens())]
    bits = [per_byte(table) for table in tables]
    found: dict[str, tuple[float, float, int]] = dict.fromkeys(NAMES, (0.0, 0.0, 0))
    for (record, choice), content in texts.items():
        text = content.decode("utf-8", "surrogateescape")
        ends, kinds = segments([text])
        begin = place = 0
        for end, kind in zip(ends.tolist(), kinds.tolist(), strict=True):
            size = len(text[begin:end].encode("utf-8", "surrogateescape"))
            for byte in range(place, place + size):
                key = (record, choice, byte)
                if key in bits[0] or key in bits[1]:
                    a, b, n = found[NAMES[kind]]
                    found[NAMES[kind]] = (a + bits[0].get(key, 0), b + bits[1].get(key, 0), n + 1)
            begin, place = end, place + size
    return {name: sums for name, sums in found.items() if sums[2]}


def check_against_loop(first: Measured, second: Measured) -> GapReport:
    texts = published_texts(first)
    report = gap_report(first, second, texts)
    expected = naive_kinds(first, second, texts)
    assert {row.name for row in report.kinds} == {*expected}
    for row in report.kinds:
        bits = expected[row.name]
        assert (row.first_bits, row.second_bits) == pytest.approx(bits[:2], rel=1e-9)
        assert row.bytes == bits[2]
    return report


@pytest.mark.parametrize("task", TASKS[:5])
def test_kinds_of_different_tokenizers_equal_a_loop_over_bytes(
    tokenizers: dict[str, tuple[Measured, Measured]], task: str
) -> None:
    first, second = tokenizers[task]
    assert len(first.tokens()) != len(second.tokens())
    check_against_loop(first, second)


@pytest.mark.parametrize("task", TASKS)
def test_totals_are_those_of_the_results(
    byte_pair: dict[str, tuple[Measured, Measured]], task: str
) -> None:
    first, second = byte_pair[task]
    report = check_against_loop(first, second)
    for one, bits in zip(
        (first, second), (report.total.first_bits, report.total.second_bits), strict=True
    ):
        assert bits == pytest.approx(one.result.tally.nats * BITS, rel=1e-7)
    for name in ("count", "bytes", "first_bits", "second_bits", "bits", "share"):
        total = math.fsum(getattr(row, name) for row in report.kinds)
        assert total == pytest.approx(getattr(report.total, name), rel=1e-9), name
    if task not in ("lambada", "cbt_cn"):
        assert report.total.bytes == first.result.tally.units.bytes


def test_all_documents_add_up_to_the_total(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    for task, group in (("wikitext2", "article"), ("ptb", "part"), ("lm1b", "record")):
        first, second = byte_pair[task]
        report = gap_report(first, second, published_texts(first), top=1000)
        places = [*report.documents.losses, *report.documents.gains]
        assert report.group == group
        assert len(places) == report.groups
        assert sum(p.row.bits for p in places) == pytest.approx(report.total.bits)
        assert sum(p.row.bytes for p in places) == report.total.bytes
        assert sum(p.row.count for p in places) == report.total.count
        exported = record_columns(first)["part" if group == "part" else "cluster"]
        assert {p.row.name for p in places} == {f"{group} {number}" for number in exported}


def test_documents_without_tokens_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"t": text}) + "\n" for text in ("one", "", "two\r\n")))
    for model in ("toy:unigram", "toy:uniform-bytes"):
        evaluate(model, texts=f"{path}:t", out=tmp_path / "out")
    first, second = read_measured(tmp_path / "out")
    report = gap_report(first, second, published_texts(first, texts=f"{path}:t"))
    places = [*report.documents.losses, *report.documents.gains]
    assert sorted((p.row.name, p.record) for p in places) == [("document 0", 0), ("document 2", 2)]


def test_a_report_of_a_result_with_itself_is_zero(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    first, _ = byte_pair["ptb"]
    report = gap_report(first, first, published_texts(first))
    assert report.total.bits == 0
    assert report.total.share is None
    assert report.documents == report.segments == report.literals == Both((), ())
    assert report.total.interval == (0, 0)
    assert "block of 1 line" in render_gap([report], "terminal")


def test_swapped_models_swap_losses_and_gains(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    first, second = byte_pair["lm1b"]
    texts = published_texts(first)
    there, back = gap_report(first, second, texts, 5), gap_report(second, first, texts, 5)
    assert back.total.bits == -there.total.bits
    for name in ("documents", "segments", "literals"):
        ours, theirs = getattr(there, name), getattr(back, name)
        assert [p.row.bits for p in theirs.gains] == [-p.row.bits for p in ours.losses]
        assert [p.row.bits for p in theirs.losses] == [-p.row.bits for p in ours.gains]
    low, high = there.total.interval or (0, 0)
    assert low < high
    assert back.total.interval == pytest.approx((-high, -low), rel=0.05)


def test_places_are_where_they_say(tokenizers: dict[str, tuple[Measured, Measured]]) -> None:
    first, second = tokenizers["ptb"]
    texts = published_texts(first)
    report = gap_report(first, second, texts)
    places = [*report.segments.losses, *report.segments.gains, *report.literals.losses]
    assert len(places) > 20
    for place in places:
        text = texts[place.record, 0]
        piece = place.text.encode()
        assert text[place.begin : place.begin + len(piece)] == piece
        assert text[: place.begin].endswith(place.before.encode())
        assert text[place.begin + len(piece) :].startswith(place.after.encode())
        for tokens in (place.first_tokens, place.second_tokens):
            assert place.text in "".join(tokens)
        assert place.row.name == place.text
    # The second model's tokens are bytes, with a space that the detokenizer deletes before some.
    assert {len(t.encode().lstrip()) for p in places for t in p.second_tokens} <= {0, 1}
    assert {len(t.lstrip()) for p in places for t in p.first_tokens} >= {2, 3}


def test_literals_are_sums_over_their_segments(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    first, second = byte_pair["text8"]
    texts = published_texts(first)
    report = gap_report(first, second, texts)
    words = [f" {word}" for word in texts[0, 0].decode().split(" ")]
    for place in report.literals.losses:
        assert place.row.count == words.count(place.text) > 1
        assert place.row.bytes == place.row.count * len(place.text)


def test_few_places_have_no_interval(byte_pair: dict[str, tuple[Measured, Measured]]) -> None:
    """With one number in the text nothing varies; that is no proof of a difference."""
    first, second = byte_pair["ptb"]
    report = gap_report(first, second, published_texts(first))
    rows = {row.name: row for row in report.kinds}
    assert rows["number"].count == 1
    assert rows["number"].interval is None
    assert rows["word"].interval is not None
    assert report.total.interval is not None


def test_the_interval_of_the_total_is_that_of_the_difference_of_results(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    first, second = byte_pair["lm1b"]
    ours, theirs = (np.array([part.nats for part in one.parts]) for one in (first, second))
    sizes = np.array([part.units.bytes for part in first.parts], np.float64)
    found = compare_rates(ours, theirs, sizes, serial=False)
    report = gap_report(first, second, published_texts(first))
    assert found.interval is not None
    expected = tuple(bound * BITS for bound in found.interval)
    assert report.total.interval == pytest.approx(expected, rel=1e-4)
    assert report.total.p == found.p
    assert (report.resampled, report.resampled_units) == ("record", 60)


def test_other_protocols_texts_and_tasks_are_refused(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    first, second = byte_pair["ptb"]
    texts = published_texts(first)
    with pytest.raises(UsageError, match=r"has another protocol than .*: data: "):
        gap_report(first, byte_pair["text8"][0], texts)
    with pytest.raises(UsageError, match="stride: 1024 and 32"):
        gap_report(byte_pair["wikitext2"][0], byte_pair["wikitext2/s32"][0], texts)
    with pytest.raises(UsageError, match="reach beyond the published text"):
        gap_report(first, second, {(0, 0): b"short"})
    longer = {(0, 0): texts[0, 0] + b" more"}
    with pytest.raises(UsageError, match="its tallies are of another text"):
        gap_report(first, second, longer)


@pytest.fixture(scope="module")
def with_holes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Measured]:
    """Results of a protocol that scores only the second half of each window."""
    pair = []
    for model in ("toy:unigram", PieceModel()):
        out = tmp_path_factory.mktemp("holes")
        evaluate(model, "wikitext2/llama_cpp", data=demo.data(), out=out, limit=30, context=64)
        pair += read_measured(out)
    return pair[0], pair[1]


def test_bytes_that_no_window_scores_do_not_count(with_holes: tuple[Measured, Measured]) -> None:
    texts = published_texts(with_holes[0], demo.data())
    first, second = (set(per_byte(one.tokens())) for one in with_holes)
    alone = gap_report(with_holes[0], with_holes[0], texts)
    assert alone.total.bytes == len(first) < len(texts[0, 0]) * 0.6
    assert alone.unscored == (0, 0)
    report = gap_report(*with_holes, texts, top=10**6)
    assert report.total.bytes == len(first | second)
    assert report.unscored == (len(second - first), len(first - second))
    assert "Bytes scored by one model only" in render_gap([report])
    assert sum(row.bytes for row in report.kinds) == report.total.bytes
    documents = [*report.documents.losses, *report.documents.gains]
    assert sum(place.row.bytes for place in documents) == report.total.bytes
    places = [*report.segments.losses, *report.segments.gains]
    assert sum(place.row.bytes for place in places) == report.total.bytes
    assert report.total.count == len(places)


def test_surroundings_are_those_of_the_published_text(
    tokenizers: dict[str, tuple[Measured, Measured]],
) -> None:
    """Also where only the last word is scored."""
    first, second = tokenizers["lambada"]
    texts = published_texts(first, demo.data())
    report = gap_report(first, second, texts)
    for place in (*report.segments.losses, *report.segments.gains):
        text = texts[place.record, 0]
        before = text[: place.begin][-40:].decode("utf-8", "backslashreplace")
        assert len(place.before) >= 20
        assert place.before == before


def test_a_passage_without_bytes_is_stated(
    byte_pair: dict[str, tuple[Measured, Measured]],
) -> None:
    """Its nats are in the result, and in no row."""
    first, second = byte_pair["lm1b"]
    tokens = first.tokens()
    rows = tokens.record == 3
    end = tokens.begin[rows][0]
    empty = replace(
        tokens,
        begin=np.where(rows, end, tokens.begin),
        end=np.where(rows, end, tokens.end),
    )
    report = gap_report(_with(first, empty), _with(second, empty), published_texts(first))
    nats = -float(tokens.logprob[rows].sum(dtype=np.float64))
    assert report.without_bytes == pytest.approx((nats * BITS, nats * BITS))
    total = report.total.first_bits + report.without_bytes[0]
    assert total == pytest.approx(first.result.tally.nats * BITS)
    assert "without published bytes" in render_gap([report])


class _with(Measured):  # noqa: N801
    """A measured result with another token table."""

    def __init__(self, one: Measured, tokens: TokenTable) -> None:
        super().__init__(one.result, one.parts, one.independent, one.path, one.files)
        object.__setattr__(self, "_tokens", tokens)

    def tokens(self) -> TokenTable:
        return self._tokens  # pyright: ignore


def test_every_format_says_the_same(byte_pair: dict[str, tuple[Measured, Measured]]) -> None:
    reports = gap_reports([*byte_pair.values()], top=4)
    documents = json.loads(render_gap(reports, "json"))
    rows = [*csv.DictReader(render_gap(reports, "csv").splitlines())]
    for report, document in zip(reports, documents, strict=True):
        assert document["total"]["difference_bits"] == report.total.bits
        assert document["signatures"] == [*report.signatures]
        mine = [row for row in rows if row["task"] == report.task]
        kinds = [row for row in mine if row["list"] == "kind"]
        total = math.fsum(float(row["difference_bits"]) for row in kinds)
        assert total == pytest.approx(report.total.bits)
        assert len(mine) == 1 + len(report.kinds) + sum(
            len(places)
            for both in (report.documents, report.segments, report.literals)
            for places in (both.losses, both.gains)
        )
        for row in mine:
            assert row["first_signature"] == report.signatures[0]
            assert not any(cell.startswith(("=", "+", "@")) for cell in row.values())
    for form in ("terminal", "markdown"):
        text = render_gap(reports, form)
        for report in reports:
            assert all(signature in text for signature in report.signatures)
            assert f"{report.total.bits:+,.1f}" in text
    with pytest.raises(UsageError, match="unknown format 'html'"):
        render_gap(reports, "html")


def test_an_infinite_loss_is_refused(byte_pair: dict[str, tuple[Measured, Measured]]) -> None:
    first, second = byte_pair["lm1b"]
    tally = replace(second.result.tally, nats=math.inf)
    infinite = replace(second, result=replace(second.result, tally=tally))
    for pair in ((first, infinite), (infinite, first)):
        with pytest.raises(UsageError, match="a record has a probability of 0; expected none"):
            gap_report(*pair, published_texts(first))


def test_clusters_of_results_decide(byte_pair: dict[str, tuple[Measured, Measured]]) -> None:
    texts = published_texts(byte_pair["lm1b"][0])

    def grouped(name: str, size: int) -> tuple[Measured, Measured]:
        clusters = Clusters(name, np.arange(60) // size)
        first, second = byte_pair["lm1b"]
        return replace(first, independent=clusters), replace(second, independent=clusters)

    report = gap_report(*grouped("pair", 3), texts)
    assert report.resampled == "pair"
    assert report.resampled_units == 20
    report = gap_report(*grouped("dozen", 12), texts)
    assert report.total.interval is None
    assert "No 95 % interval can be trusted: 5 x dozen." in render_gap([report])
    with pytest.raises(UsageError, match="do not have the same pairs"):
        gap_report(grouped("pair", 3)[0], grouped("pair", 4)[1], texts)


def test_command(byte_pair: dict[str, tuple[Measured, Measured]], gpt2eval: Run) -> None:
    first, second = (one.path.parent for one in byte_pair["ptb"])
    done = gpt2eval("compare", first, second, "--gap", "--top", "2", "--format", "csv")
    assert done.code == 0, done.err
    rows = [*csv.DictReader(done.out.splitlines())]
    assert sum(row["list"] == "segment" for row in rows) == 4
    done = gpt2eval("compare", first, second, first, "--gap")
    assert (done.code, done.err) == (
        2,
        "gpt2eval: --gap: 3 models; expected two, the baseline first\n",
    )
    done = gpt2eval("compare", first, second, "--gap", "--top", "0")
    assert (done.code, done.err) == (
        2,
        "gpt2eval: --top 0: expected a whole number of 1 or more\n",
    )


@pytest.mark.parametrize("documents", [40, 1])
def test_groups_of_documents_have_rows_that_add_up(tmp_path: Path, documents: int) -> None:
    lines = "".join(
        json.dumps({"text": f"zeile {n * n % 37} " * (n % 7 + 2) * 9, "g": f"g{n % 2}"}) + "\n"
        for n in range(documents)
    )
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    sides: list[Measured] = []
    for model in ("toy:uniform-bytes", "toy:unigram"):
        text = custom.load_text(f"{tmp_path / 'a.jsonl'}:text", group="g")
        evaluate(model, texts=[text], out=tmp_path / model)
        sides += read_measured(tmp_path / model)
    first, second = sides
    texts = published_texts(first, texts=[f"{tmp_path / 'a.jsonl'}:text"])
    report = gap_report(first, second, texts)
    assert report.by == "column g"
    assert first.result.groups
    assert second.result.groups
    rows = {row.name: row for row in report.by_group}
    assert rows.keys() == {group.name for group in first.result.groups.rows}
    for name, row in rows.items():
        one, other = (side.result.groups.group(name) for side in sides if side.result.groups)
        assert row.bytes == one.tally.units.bytes
        assert (row.first_bits, row.second_bits) == pytest.approx((one.bits, other.bits), rel=1e-6)
        assert row.interval
    assert sum(row.bits for row in report.by_group) == pytest.approx(report.total.bits)
    assert "By column g" in render_gap([report], "markdown")
    assert render_gap([report], "csv").count(",group,") == len(rows)
    document = json.loads(render_gap([report], "json"))[0]
    assert [row["name"] for row in document["by_group"]] == [row.name for row in report.by_group]
