"""Model cards and `.eval_results`: the Hub's own readers find our numbers; nothing else changes."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData, parse_eval_result_entries
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import UsageError
from gpt2eval.metrics.result import Result
from gpt2eval.report import hub_card, hub_results
from gpt2eval.report.store import read_result, read_results

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "smollm2-135m-instruct-q4_1"
MEASURED = [REFERENCE / task for task in ("ptb", "wikitext2", "wikitext103")]
CARD = Path("README.md")
PTB = read_result(REFERENCE / "ptb" / "result.json")
INDEX = hub_results.model_index([PTB], "mine")
OTHERS = """\
license: mit
model-index:
  # measured by hand
  - name: theirs
    results:
    - task: {type: text-generation}
      dataset: {name: Other, type: other}
      metrics: [{type: accuracy, value: 0.5}]   # spaces stay
tags: [a,   b]
"""


def card(head: str, body: str = "# Title\n") -> str:
    return f"---\n{head}---\n{body}"


def read_back(content: str) -> list[EvalResult]:
    """What the Hub's own reader finds in a card."""
    data = ModelCard(content).data
    assert isinstance(data, ModelCardData)
    return data.eval_results or []


def test_the_hubs_reader_finds_every_number() -> None:
    results = read_results(*MEASURED)
    index = hub_results.model_index(results, "mine")
    content = hub_card.with_model_index(card("license: mit\n"), index, CARD)
    assert ModelCard(content).data.get("model_name") == "mine"
    read = {(found.metric_args or {})["signature"]: found for found in read_back(content)}
    measured = {m.signature: (r, m) for r in results for m in r.metrics.values()}
    assert read.keys() == measured.keys()
    for signature, found in read.items():
        result, metric = measured[signature]
        assert found.metric_value == metric.value
        assert found.metric_args is not None
        assert found.metric_args["interval_95"] == list(metric.interval or ())
        assert found.metric_args["task"] == result.full_name
        assert found.dataset_split == "test"
    assert {found.dataset_type for found in read.values()} == {
        "Salesforce/wikitext",
        "ptb-text-only/ptb_text_only",
    }


def test_nothing_claims_to_be_verified() -> None:
    content = hub_card.with_model_index("", INDEX, CARD)
    assert "verif" not in content.lower()
    assert all(found.verified is None for found in read_back(content))
    entries = hub_results.eval_results_file([PTB], [""])
    assert b"verif" not in entries.lower()


def test_variants_keep_their_names() -> None:
    index = hub_results.model_index(read_results(*MEASURED), "mine")
    names = [entry["dataset"]["name"] for entry in index[0]["results"]]
    assert {"WikiText2", "WikiText2 /raw", "WikiText2 /lm_eval", "WikiText103", "PTB"} <= {*names}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (replace(PTB, protocol=replace(PTB.protocol, limit=5)), "PTB (first 5 records or lines)"),
        (
            replace(PTB, data=replace(PTB.data, published=False)),
            "PTB (not known to be the published file)",
        ),
    ],
)
def test_other_data_are_not_named_like_the_published_ones(changed: Result, name: str) -> None:
    (entry,) = hub_results.model_index([changed], "mine")[0]["results"]
    assert entry["dataset"] == {"name": name, "type": "ptb"}
    with pytest.raises(UsageError, match="expected complete published data of a data set"):
        hub_results.eval_results_file([changed], [""])


def test_what_is_not_finite_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    infinite = replace(PTB, metrics={"ppl": replace(PTB.primary, value=math.inf, interval=None)})
    with pytest.raises(UsageError, match="no finite number"):
        hub_results.model_index([infinite], "mine")
    assert "ptb ppl: infinite; left out" in caplog.text


def test_a_card_describes_one_model() -> None:
    other = replace(PTB, model=replace(PTB.model, name="other"))
    with pytest.raises(UsageError, match="the results have 2: smollm2-135m-instruct-q4_1, other"):
        hub_results.check_one_model([PTB, other])


def test_the_eval_results_file_reads_back_with_the_signature() -> None:
    content = hub_results.eval_results_file([PTB], ["2026-01-02T03:04:05+00:00"])
    entries = parse_eval_result_entries(yaml.safe_load(content))
    assert [entry.task_id for entry in entries] == ["ptb:ppl", "ptb:nats_per_token"]
    first = entries[0]
    assert (first.dataset_id, first.value) == ("ptb-text-only/ptb_text_only", PTB.ppl)
    assert first.notes is not None
    assert first.notes.endswith(PTB.signature)
    assert first.date == "2026-01-02T03:04:05+00:00"
    assert (first.verify_token, first.source_url) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# Title\n",
        "\ufeff---\nlicense: mit\n---\n",
        "---\n---\n",
        "---\nlicense: mit\n---",
        card("license: mit\n", "text\n---\nmore\n---\n"),
        card(OTHERS),
        card(OTHERS).replace("\n", "\r\n"),
        card("model-index:\n- name: a\n  results: []\n"),
        card("# a comment\n\nlicense: mit   # kept\n"),
    ],
)
def test_a_second_export_changes_only_our_block(content: str) -> None:
    first = hub_card.with_model_index(content, INDEX, CARD)
    assert hub_card.with_model_index(first, INDEX, CARD) == first
    other = hub_results.model_index([PTB], "other name")
    second = hub_card.with_model_index(first, other, CARD)
    assert "other name" in second
    assert hub_card.with_model_index(second, INDEX, CARD) == first
    if content.lstrip("\ufeff").startswith("---"):
        assert hub_card.without_model_index(first) == content
    else:
        assert first.endswith(content)
    if "\r\n" in content:
        assert "\n" not in first.replace("\r\n", "")


def test_results_of_others_stay() -> None:
    content = hub_card.with_model_index(card(OTHERS), INDEX, CARD)
    index = yaml.safe_load(content.split("---\n")[1])["model-index"]
    assert [item["name"] for item in index] == ["mine", "theirs"]
    values = [found.metric_value for found in read_back(content)]
    assert values == [PTB.ppl, PTB.nats_per_token, 0.5]


def test_a_block_stays_where_its_owner_moved_it() -> None:
    content = hub_card.with_model_index(card("license: mit\n"), INDEX, CARD)
    moved = content.replace("license: mit\n", "").replace(
        "---\n# Title", "license: mit\n---\n# Title"
    )
    assert hub_card.with_model_index(moved, INDEX, CARD) == moved


def test_a_block_becomes_an_item_when_others_add_a_list() -> None:
    alone = hub_card.with_model_index(card(""), INDEX, CARD)
    both = alone.replace("---\n# Title", f"{OTHERS}---\n# Title")
    content = hub_card.with_model_index(both, INDEX, CARD)
    assert hub_card.without_model_index(content) == card(OTHERS)
    assert len(read_back(content)) == 3


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("model-index: []\n", "cannot be extended"),
        ("model-index: [{name: a, results: []}]\n", "cannot be extended"),
        ("model-index: &x\n- name: a\n  results: []\n", "cannot be extended"),
        ("model-index:\n", "cannot be extended"),
        ("a: [\n", "its head is not YAML"),
        ("just text\n", "its head is not YAML"),
        (f"{hub_card.BEGIN}\n", "broken block"),
        (f"{hub_card.END}\n{hub_card.BEGIN}\n", "broken block"),
        (f"{hub_card.BEGIN}\n{hub_card.END}\n" * 2, "broken block"),
    ],
)
def test_other_heads_are_refused(head: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hub_card.with_model_index(card(head), INDEX, CARD)


KEYS = st.sampled_from(["license", "language", "x", "y"])
SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3))
ITEMS = st.lists(st.just({"name": "theirs", "results": []}), max_size=2)


@given(
    content=st.dictionaries(KEYS, VALUES, max_size=3),
    items=ITEMS,
    first=st.booleans(),
    indent=st.booleans(),
    body=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=50),
)
def test_every_other_byte_stays(
    content: dict[str, Any], items: list[Any], first: bool, indent: bool, body: str
) -> None:
    head = yaml.safe_dump(content, allow_unicode=True) if content else ""
    if items:
        index = yaml.safe_dump(items, sort_keys=False)
        lines = [f"  {line}" if indent else line for line in index.splitlines()]
        listed = "\n".join(["model-index:", *lines, ""])
        head = listed + head if first else head + listed
    before = f"---\n{head}---\n{body}"
    after = hub_card.with_model_index(before, INDEX, CARD)
    assert hub_card.without_model_index(after) == before
    assert hub_card.with_model_index(after, INDEX, CARD) == after
    assert read_back(after.removesuffix(body))


def test_a_files_bytes_stay(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"---\r\nlicense: mit\r\n---\r\nBody \xc3\xa9\r\n")
    hub_card.update_card(path, INDEX)
    content = path.read_bytes()
    assert content.startswith(b"---\r\nlicense: mit\r\n# gpt2eval: begin")
    assert content.endswith(b"# gpt2eval: end\r\n---\r\nBody \xc3\xa9\r\n")
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="expected a model card in UTF-8"):
        hub_card.update_card(path, INDEX)
    assert path.read_bytes() == b"\xff"
