// One passage: its text as coloured units, and the keys and pointers that select some of them.

function passageHead(passage, task, view) {
  const rates = view.models.map((model) => `${task.models[model]} ${number(rateOf(passage, model))}`);
  const reasons = { surprising: "among the most surprising", gap: "among the largest gaps", sample: "in the even sample" };
  const why = task.total > task.passages.length ? Object.keys(reasons).filter((key) => passage.why.includes(key)) : [];
  return el("header", {},
    el("span", { class: "place" }, `Record ${passage.record}, bytes ${grouped(passage.begin)} to ${grouped(passage.end)}`),
    el("span", { class: "rates" }, `${rates.join(", ")} bits per byte`),
    el("span", { class: "why" }, why.map((key) => reasons[key]).join(", ")));
}

// Returns the element of a passage. `tell(passage, units)` is called with the selected units.
function passageElement(passage, task, view, search, tell) {
  const isGap = view.models.length > 1;
  const units = isGap ? gapUnits(passage, ...view.models) : tokenUnits(passage, view.models[0]);
  const found = matchesOf(passage.text, search);
  const text = el("p", {
    class: `text ${isGap ? "gap" : ""}`,
    tabindex: "0",
    "aria-label": "Text of the passage. Arrow keys move between tokens; with Shift, they select several.",
  });
  if (passage.cut) text.append(el("span", { class: "unscored" }, "… "));
  let at = 0;
  const spans = units.map((unit, index) => {
    if (unit.begin > at) text.append(el("span", { class: "unscored" }, readable(passage.text.slice(at, unit.begin))));
    at = Math.max(at, unit.end);
    const span = unitElement(passage, unit, isGap, found);
    span.dataset.unit = index;
    text.append(span);
    return span;
  });
  if (at < passage.text.length) text.append(el("span", { class: "unscored" }, readable(passage.text.slice(at))));
  selectable(text, spans, (first, last) => tell(passage, units.slice(first, last + 1)));
  return el("article", { class: "passage", "data-number": passage.number }, passageHead(passage, task, view), text);
}

function unitElement(passage, unit, isGap, found) {
  const isEmpty = unit.begin === unit.end;
  const isFound = found.some(([begin, end]) => begin < unit.end && end > unit.begin);
  const level = unit.level === null ? "none" : unit.level;
  const classes = [isGap ? `d${level}` : `s${level}`, isEmpty ? "empty" : "", isFound ? "found" : ""];
  const parts = isGap ? partsOf(unit) : [{ begin: unit.begin, end: unit.end, edges: [] }];
  const pieces = parts.map(({ begin, end, edges }) => {
    const shown = readable(passage.text.slice(begin, end));
    if (!isGap) return shown;
    return el("span", { class: `part ${edges[0] ? "first" : ""} ${edges[1] ? "second" : ""}` }, shown);
  });
  const endsLine = passage.text.slice(unit.begin, unit.end).includes("\n");
  return el("span", { class: ["unit", ...classes, endsLine ? "line" : ""].filter(Boolean).join(" ") }, pieces);
}

// [begin, end] of every occurrence of a search in a text; letters match in either case.
function matchesOf(text, search) {
  if (!search) return [];
  const pattern = new RegExp(search.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  return [...text.matchAll(pattern)].map((match) => [match.index, match.index + match[0].length]);
}

// Scrolls a unit into view, above the bar that covers the bottom of the window.
function reveal(span) {
  if (!span) return;
  const bar = document.querySelector(".detail");
  span.style.scrollMargin = `1rem 0 ${bar.offsetHeight + 8}px`;
  span.scrollIntoView({ block: "nearest", behavior: "instant" });
}

// Lets keys, the pointer and the browser's own selection choose a range of spans.
function selectable(text, spans, tell) {
  let anchor = -1;
  let active = -1;

  function choose(index, extend) {
    if (!spans[index]) return;
    active = index;
    if (!extend || anchor < 0) anchor = index;
    mark(Math.min(anchor, active), Math.max(anchor, active));
  }

  function mark(first, last) {
    for (const span of document.querySelectorAll(".unit.chosen")) span.classList.remove("chosen");
    for (let index = first; index <= last; index++) spans[index].classList.add("chosen");
    tell(first, last);
  }

  function indexOf(node) {
    const span = (node instanceof Element ? node : node?.parentElement)?.closest(".unit");
    return span && text.contains(span) ? Number(span.dataset.unit) : -1;
  }

  // The unit nearest to the active one in the line above (-1) or below (1).
  function beside(direction) {
    const from = spans[active].getClientRects()[0];
    let best = active;
    let distance = Infinity;
    for (let index = active; spans[index]; index += direction) {
      const box = spans[index].getClientRects()[0];
      if (!box || Math.abs(box.top - from.top) < 4) continue;
      if (Math.abs(box.top - from.top) > 2.5 * from.height) break;
      const away = Math.abs(box.left - from.left);
      if (away < distance) [best, distance] = [index, away];
    }
    return best;
  }

  text.addEventListener("keydown", (event) => {
    const moves = {
      ArrowRight: () => active + 1,
      ArrowLeft: () => Math.max(active - 1, 0),
      ArrowDown: () => (active < 0 ? 0 : beside(1)),
      ArrowUp: () => (active < 0 ? 0 : beside(-1)),
      Home: () => 0,
      End: () => spans.length - 1,
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(Math.min(move(), spans.length - 1), event.shiftKey);
    reveal(spans[active]);
  });
  text.addEventListener("focus", () => { if (active < 0 && !text.matches(":active")) choose(0, false); });
  text.addEventListener("pointerover", (event) => {
    const index = indexOf(event.target);
    if (index >= 0 && event.buttons === 0 && getSelection().isCollapsed) choose(index, false);
  });
  text.addEventListener("pointerup", () => {
    const selection = getSelection();
    if (selection.isCollapsed || !text.contains(selection.anchorNode)) return;
    const chosen = [indexOf(selection.anchorNode), indexOf(selection.focusNode)].filter((index) => index >= 0);
    if (!chosen.length) return;
    anchor = Math.min(...chosen);
    active = Math.max(...chosen);
    mark(anchor, active);
  });
}
