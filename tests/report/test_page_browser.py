"""The HTML page in headless Chromium: it shows what it holds, and answers to pointer and keys."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_results import LINES, Made, make

from gpt2eval.report.page.markup import document

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install .[dev]")

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.getbasetemp() / "page")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with sync_api.sync_playwright() as playwright:
        # Chromium refuses its sandbox to the root of a container.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(made: Made, browser: "Browser", tmp_path: Path) -> Iterator[Open]:
    """Open the page; at the end, nothing was asked for, and the console has no problem."""
    problems: list[str] = []
    requests: list[str] = []
    contexts = []

    def open_page(html: str = made.html, **settings: Any) -> "Page":
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("footer")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def choose(page: "Page", section: str, label: str, option: str) -> None:
    page.locator(f"#{section}").get_by_label(label, exact=True).select_option(label=option)


def text_of(page: "Page", task: str, model: str, other: str = "none") -> None:
    """Show the text of a task, by a model's surprisal or by the difference to another one."""
    choose(page, "text", "Task", task)
    choose(page, "text", "Model", model)
    choose(page, "text", "Compare with", other)


def labels(page: "Page") -> list[str]:
    return page.locator("table.results tbody tr th").all_inner_texts()


def passages(page: "Page") -> "Locator":
    return page.locator("#text .passage")


def detail(page: "Page") -> str:
    return re.sub(r"\s+", " ", page.locator("#text .detail").inner_text())


def saved(page: "Page", section: str) -> list[list[str]]:
    """The rows of what a section's button saves."""
    with page.expect_download() as download:
        page.locator(f"#{section} button.csv").first.click()
    content = Path(download.value.path()).read_text(encoding="utf-8")
    return list(csv.reader(io.StringIO(content)))


def data(made: Made) -> Any:
    found = re.search(r'id="data">(.*?)</script>', made.html)
    assert found
    return json.loads(found[1])


# -- the table -------------------------------------------------------------------------------------


def test_a_heading_sorts_and_published_rows_move_too(opened: Open) -> None:
    page = opened()
    before = labels(page)
    heading = page.locator("table.results").get_by_role("button", name="PTB", exact=True)
    heading.click()
    rising = labels(page)
    assert rising[:2] == ["published 1542M", "published 762M"]
    assert rising[-3:] == ["demo", "toy:unigram", "toy:uniform-bytes"]
    heading.click()
    assert labels(page)[:3] == rising[-3:][::-1]
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith("PTB")
    heading.click()
    assert labels(page) == before
    page.locator("table.results").get_by_role("button", name="LAMBADA ACC", exact=True).click()
    assert labels(page)[0] == "published 1542M", "the best first"


def test_a_number_opens_its_signature_which_can_be_copied(opened: Open, made: Made) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    row = page.locator("tr", has=page.get_by_role("rowheader", name="demo", exact=True))
    row.get_by_role("button").first.click()
    dialog = page.get_by_role("dialog")
    signature = dialog.locator(".signature").inner_text()
    assert (
        signature
        == json.loads((made.results / "demo" / "ptb" / "result.json").read_text(encoding="utf-8"))[
            "metrics"
        ]["ppl"]["signature"]
    )
    dialog.get_by_role("button", name="Copy signature").click()
    dialog.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == signature
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0


def test_the_table_is_saved_as_shown(opened: Open, made: Made) -> None:
    page = opened()
    page.locator("table.results").get_by_role("button", name="PTB", exact=True).click()
    head, *rows = saved(page, "table")
    assert [row[0] for row in rows] == labels(page)
    demo = next(row for row in rows if row[0] == "demo")
    stored = json.loads((made.results / "demo" / "ptb" / "result.json").read_text())
    assert float(demo[head.index("PTB")]) == stored["metrics"]["ppl"]["value"]
    assert demo[head.index("PTB signature")] == stored["metrics"]["ppl"]["signature"]


def test_a_verdict_stands_below_its_number_and_in_a_table(opened: Open, made: Made) -> None:
    page = opened()
    found = data(made)["table"]["comparisons"]
    shown = page.locator("table.results .verdict").all_inner_texts()
    by_metric = found["verdicts"].values()
    assert sorted(shown) == sorted(verdict for one in by_metric for verdict in one.values())
    rows = page.locator("table.duels tbody tr")
    assert rows.count() == len(found["rows"])
    assert found["rows"][0]["cells"]["verdict"]["text"] in rows.first.inner_text()
    head, *duels = saved(page, "verdicts")
    for duel, expected in zip(duels, found["facts"], strict=True):
        assert float(duel[head.index("p")]) == expected["p"]
        assert duel[head.index("signature")] == expected["signature"]


# -- the charts ------------------------------------------------------------------------------------


def test_the_charts_have_every_point(opened: Open, made: Made) -> None:
    page = opened()
    values = data(made)
    panels = values["sizes"]["panels"]
    points = sum(len(panel["ours"]) + len(panel["published"]) for panel in panels)
    assert page.locator("#sizes .chart .mark").count() == points
    assert "toy:unigram" in page.locator("#sizes").inner_text()
    choose(page, "losses", "Task", "PTB")
    task = next(task for task in values["losses"] if task["name"] == "ptb")
    bins = [found for model in task["models"] for found in model["position"]]
    assert page.locator("#losses .chart").first.locator(".mark").count() == len(bins)
    places = page.locator("svg .mark").evaluate_all("marks => marks.map(m => m.getAttribute('d'))")
    assert not [place for place in places if "NaN" in place or "Infinity" in place]


def test_the_losses_have_their_unit(opened: Open) -> None:
    page = opened()
    choose(page, "losses", "Task", "PTB")
    for number, unit in ((0, "bits per byte"), (1, "5.55 nats per token")):
        titles = page.locator("#losses .chart").nth(number).locator("title").all_text_contents()
        own = [title for title in titles if title.startswith("toy:uniform-bytes")]
        assert own
        assert unit in own[0]


def test_nine_models_look_different(opened: Open, made: Made) -> None:
    content = data(made)
    first, *others = content["models"]
    content["models"] = [first, *(f"another {number}" for number in range(7)), *others]
    page = opened(document("many", content))
    looks = page.locator("#losses .legend path").evaluate_all(
        "all => all.map(e => `${e.getAttribute('class')} ${e.getAttribute('d')}`)"
    )
    assert len(set(looks)) == len(looks) > 1


def test_calibration_says_what_it_is_not(opened: Open) -> None:
    text = opened().locator("#calibration").inner_text()
    assert "this is not a reliability diagram" in text
    assert "60 right" in text


# -- the text --------------------------------------------------------------------------------------


def test_markup_in_a_record_is_shown_as_text(opened: Open) -> None:
    page = opened()
    text_of(page, "1BW", "demo")
    choose(page, "text", "Order", "text order")
    shown = page.locator("#text p.text").first
    assert shown.text_content() == f"{LINES[0]}\n"
    assert page.locator("#text script").count() == 0
    assert page.title() == "gpt2eval report"


def test_unseen_characters_are_visible(opened: Open) -> None:
    page = opened()
    text_of(page, "1BW", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    third = page.locator("#text p.text").nth(2)
    assert "zero\\u{200b}width" in (third.text_content() or "")


def test_hovering_tells_the_token(opened: Open) -> None:
    page = opened()
    text_of(page, "1BW", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    units = page.locator("#text p.text").first.locator(".unit")
    units.nth(1).hover()
    assert detail(page) == (
        "␣ toy:uniform-bytes bits 8.00 byte 1 bits per byte 8.00 probability 0.0039 "
        "rank above 1, or tied"
    )
    assert "s7" in (units.nth(1).get_attribute("class") or "")


def test_arrow_keys_move_and_shift_selects_several(opened: Open) -> None:
    page = opened()
    text_of(page, "1BW", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    page.locator("#text p.text").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert detail(page).startswith("l toy")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert detail(page).startswith("line toy:uniform-bytes bits 32.00 bytes 4 bits per byte 8.00")
    assert "greedy 0 of 4 tokens" in detail(page)
    assert page.locator("#text .unit.chosen").count() == 4
    page.keyboard.press("End")
    assert detail(page).startswith("↵")
    page.keyboard.press("Home")
    assert detail(page).startswith("A toy")


def test_arrow_keys_move_between_lines(opened: Open) -> None:
    page = opened(viewport={"width": 900, "height": 900})
    text_of(page, "PTB", "demo")
    page.locator("#text p.text").first.focus()

    def place() -> list[int]:
        return page.locator("#text .unit.chosen").evaluate("e => [e.offsetLeft, e.offsetTop]")

    for _ in range(4):
        page.keyboard.press("ArrowRight")
    left, top = place()
    page.keyboard.press("ArrowDown")
    assert 15 < place()[1] - top < 60, "the next line"
    assert abs(place()[0] - left) < 100
    page.keyboard.press("ArrowUp")
    assert place()[1] == top


def test_the_selected_token_is_above_the_bar_that_tells_about_it(opened: Open) -> None:
    page = opened(viewport={"width": 900, "height": 420})
    text_of(page, "PTB", "demo")
    page.locator("#text p.text").first.focus()
    for _ in range(25):
        page.keyboard.press("ArrowDown")
        unit = page.locator("#text .unit.chosen").bounding_box()
        bar = page.locator("#text .detail").bounding_box()
        assert unit
        assert bar
        assert unit["y"] + unit["height"] <= bar["y"]


def test_dragging_selects_several(opened: Open) -> None:
    page = opened(viewport={"width": 1280, "height": 1600})
    text_of(page, "1BW", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    units = page.locator("#text p.text").first.locator(".unit")
    units.nth(9).scroll_into_view_if_needed()
    first, last = units.nth(2).bounding_box(), units.nth(5).bounding_box()
    assert first
    assert last
    page.mouse.move(first["x"] + 1, first["y"] + first["height"] / 2)
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] - 1, last["y"] + last["height"] / 2, steps=5)
    page.mouse.up()
    assert "bits 32.00 bytes 4" in detail(page)


def test_another_model_has_its_own_tokens(opened: Open, made: Made) -> None:
    page = opened()
    text_of(page, "PTB", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    task = next(task for task in data(made)["texts"] if task["name"] == "ptb")
    for model in ("toy:uniform-bytes", "demo"):
        choose(page, "text", "Model", model)
        number = task["models"].index(model)
        expected = len(task["passages"][0]["models"][number]["bits"])
        assert passages(page).first.locator(".unit").count() == expected


def test_the_search_finds_and_marks(opened: Open) -> None:
    page = opened()
    text_of(page, "1BW", "demo")
    page.get_by_label("Search").fill("CAFÉ")
    assert passages(page).count() == 1
    found = page.locator("#text .found").all_text_contents()
    assert "café" in "".join(found)
    assert "3 of 4 do not match" in page.locator("#text [role=status]").first.inner_text()
    page.get_by_label("Search").fill("(no such text")
    assert passages(page).count() == 0
    page.get_by_label("Search").fill("")
    assert passages(page).count() == 4


def test_pages_say_what_they_leave_out(opened: Open) -> None:
    page = opened()
    text_of(page, "LAMBADA", "toy:unigram")
    status = page.locator("#text [role=status]").first
    assert status.inner_text() == "Passages 1 to 8 of 60. The page holds all 60 passages."
    first = passages(page).first.inner_text()
    page.get_by_role("button", name="Next").click()
    assert status.inner_text().startswith("Passages 9 to 16 of 60.")
    assert passages(page).first.inner_text() != first
    page.get_by_role("button", name="Previous").click()
    assert passages(page).first.inner_text() == first


def test_a_bounded_page_says_what_it_leaves_out(opened: Open, made: Made) -> None:
    from page_results import html_of

    page = opened(html_of(made.results, made.data, largest=240_000))
    text_of(page, "LAMBADA", "toy:unigram")
    status = page.locator("#text [role=status]").first.inner_text()
    found = re.search(r"holds (\d+) of 60 passages, and leaves out (\d+) for its size", status)
    assert found
    assert int(found[1]) + int(found[2]) == 60
    choose(page, "text", "Passages", "the even sample only")
    whys = page.locator("#text .why").all_inner_texts()
    assert whys
    assert all("in the even sample" in why for why in whys)


def test_passages_are_in_the_order_of_surprise_gap_or_text(opened: Open) -> None:
    page = opened()
    text_of(page, "LAMBADA", "toy:unigram", "toy:uniform-bytes")

    def rates() -> list[list[float]]:
        lines = page.locator("#text .rates").all_inner_texts()
        return [[float(number) for number in re.findall(r" (\d+\.\d+)", line)] for line in lines]

    gaps = [abs(first - second) for first, second in rates()]
    assert gaps == sorted(gaps, reverse=True)
    choose(page, "text", "Order", "most surprising first")
    firsts = [first for first, _ in rates()]
    assert firsts == sorted(firsts, reverse=True)
    choose(page, "text", "Order", "text order")
    places = page.locator("#text .place").all_inner_texts()
    assert [int(re.findall(r"Record (\d+)", place)[0]) for place in places] == [*range(8)]


def test_the_difference_is_aligned_by_bytes_and_shows_both_edges(opened: Open, made: Made) -> None:
    page = opened()
    text_of(page, "1BW", "demo", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    shown = page.locator("#text p.text").nth(3)
    assert shown.text_content() == f"{LINES[3]}\n"
    parts = shown.locator(".part")
    task = next(task for task in data(made)["texts"] if task["name"] == "lm1b")
    uniform = task["passages"][3]["models"][task["models"].index("toy:uniform-bytes")]
    assert parts.count() == len(uniform["bits"]), "one token per byte that the model read"
    assert shown.locator(".part.second").count() == parts.count()
    assert shown.locator(".unit").count() == shown.locator(".part.first").count()
    shown.focus()
    page.keyboard.press("Shift+End")
    total = detail(page)
    sides = re.findall(r"bits (\d+\.\d+) bytes (\d+)", total)
    length = str(len(LINES[3]) + 1)
    assert len(uniform["bits"]) < 40
    assert "more" not in total
    assert [size for _, size in sides] == [length, length]
    assert float(sides[1][0]) == 8 * len(uniform["bits"])
    drawn = parts.nth(1).evaluate("part => getComputedStyle(part).backgroundImage")
    assert drawn.count("linear-gradient") == 2


def test_tokens_are_saved_and_none_starts_a_formula(opened: Open, made: Made) -> None:
    page = opened()
    text_of(page, "1BW", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    head, *rows = saved(page, "text")
    second = [dict(zip(head, row, strict=True)) for row in rows if row[1] == "1"]
    assert second[0]["token"] == "'="
    assert (second[0]["begin"], second[0]["end"], second[0]["bits"]) == ("0", "1", "8")
    assert [int(row["begin"]) for row in second] == [0, *(int(row["end"]) for row in second[:-1])]
    assert not [cell for row in rows for cell in row if re.match(r"[=+@]|-\D", cell)]


def test_differences_are_saved_by_unit(opened: Open, made: Made) -> None:
    page = opened()
    text_of(page, "1BW", "demo", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    head, *rows = saved(page, "text")
    line = [dict(zip(head, row, strict=True)) for row in rows if row[1] == "3"]
    assert [row["text"].lstrip("'").replace("\\n", "\n") for row in line] == [
        LINES[3][int(row["begin"]) : int(row["end"])] or "\n" for row in line
    ]
    for row in line:
        first, second = (float(row[f"{model} bits"]) for model in ("demo", "toy:uniform-bytes"))
        assert second == 8 * int(row["toy:uniform-bytes tokens"])
        assert float(row["difference"]) == pytest.approx((second - first) / int(row["bytes"]))
    task = next(task for task in data(made)["texts"] if task["name"] == "lm1b")
    tokens = task["passages"][3]["models"][task["models"].index("demo")]
    assert sum(int(row["demo tokens"]) for row in line) == len(tokens["bits"])
    assert sum(float(row["demo bits"]) for row in line) == pytest.approx(sum(tokens["bits"]) / 1000)


def test_text_of_one_model_only_has_no_difference(opened: Open, made: Made) -> None:
    content = data(made)
    task = next(task for task in content["texts"] if task["name"] == "lm1b")
    uniform = task["passages"][3]["models"][task["models"].index("toy:uniform-bytes")]
    uniform["bits"].pop(0)
    uniform["lengths"].pop(0)
    uniform["hits"] = uniform["hits"][1:]
    uniform["from"] = 1
    page = opened(document("changed", content))
    text_of(page, "1BW", "demo", "toy:uniform-bytes")
    choose(page, "text", "Order", "text order")
    first = page.locator("#text p.text").nth(3).locator(".unit").first
    assert "dnone" in (first.get_attribute("class") or "").split()
    assert "none" in page.locator("#text .scale").inner_text()


# -- how it looks ----------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of a colour as a browser computes it. Source: WCAG 2.2."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_on_every_level(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    style = "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    colours = page.locator(".scale .unit:not(.snone)").evaluate_all(f"all => all.map({style})")
    assert len(colours) == 8
    text_of(page, "PTB", "demo", "toy:unigram")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    gaps = page.locator(".scale .unit:not(.dnone)").evaluate_all(f"all => all.map({style})")
    assert len(gaps) == 7
    for ink, paper in colours + gaps:
        paper = ground if paper == "rgba(0, 0, 0, 0)" else paper
        light, dark = sorted([luminance(ink), luminance(paper)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
    papers = [luminance(paper) for _, paper in colours]
    assert papers == sorted(papers, reverse=scheme == "light"), "more surprise is farther from it"


def test_the_page_is_dark_where_the_reader_wants_it(opened: Open) -> None:
    page = opened(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert luminance(page.evaluate(ground)) < 0.05
    page.get_by_role("button", name="Theme: auto").click()
    assert luminance(page.evaluate(ground)) > 0.9
    page.get_by_role("button", name="Theme: light").click()
    assert luminance(page.evaluate(ground)) < 0.05


def test_paper_is_white_and_has_the_signatures(opened: Open) -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert not page.get_by_label("Search").is_visible()
    assert not page.get_by_role("button", name="CSV of what is shown").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".signatures").is_visible()


@pytest.mark.parametrize("width", [480, 800, 1280, 1920])
def test_nothing_is_wider_than_the_window(opened: Open, width: int) -> None:
    page = opened(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_script_of_a_stranger_does_not_run(opened: Open, browser: "Browser", made: Made) -> None:
    html = made.html.replace("</body>", "<script>document.title = 'taken'</script></body>")
    context = browser.new_context()
    page = context.new_page()
    page.set_content(html)
    page.wait_for_selector("footer")
    assert page.title() == "gpt2eval report"
    context.close()
