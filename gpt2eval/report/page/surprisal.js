// The surprisal view: passages coloured by bits per byte, or by the difference of two models.

const ON_A_PAGE = 8; // passages
const MOST_SHOWN = 300; // characters of the selected text in the bar
const MOST_LISTED = 40; // of its tokens
const ORDERS = { surprise: "most surprising first", gap: "largest gap first", text: "text order" };
const KINDS = { all: "all that the page holds", sample: "the even sample only" };

function surprisalSection(content) {
  const tasks = content.texts.filter((task) => task.passages.length);
  const missing = content.texts.filter((task) => task.missing);
  const absent = missing.map((task) => note(`${task.title}: ${task.missing}.`));
  if (!tasks.length) return absent.length ? section("text", "The text, by surprisal", absent) : null;

  const state = { task: tasks.find((one) => one.whole) ?? tasks[0], first: 0, second: -1, order: "surprise", kind: "all", search: "", page: 0 };
  const controls = el("div", { class: "bar controls" });
  const scaleLine = el("div");
  const status = el("p", { class: "note", role: "status" });
  const list = el("div", { class: "passages" });
  const paging = el("div", { class: "bar paging" });
  const detail = el("div", { class: "detail", role: "status", "aria-live": "polite" });

  const view = () => ({ models: state.second < 0 ? [state.first] : [state.first, state.second] });

  function keyOf(passage) {
    const rates = view().models.map((model) => rateOf(passage, model));
    if (state.order === "text") return passage.number;
    return state.order === "gap" ? -Math.abs(rates[1] - rates[0]) : -rates[0];
  }

  function chosen() {
    return state.task.passages
      .filter((passage) => state.kind === "all" || passage.why.includes("sample"))
      .filter((passage) => !state.search || matchesOf(passage.text, state.search).length)
      .map((passage) => [keyOf(passage), passage])
      .sort(([a, first], [b, second]) => a - b || first.number - second.number)
      .map(([, passage]) => passage);
  }

  function shown() {
    return chosen().slice(state.page * ON_A_PAGE, (state.page + 1) * ON_A_PAGE);
  }

  function set(changes) {
    Object.assign(state, { page: 0 }, changes);
    if (state.second === state.first) state.second = -1;
    if (state.second < 0 && state.order === "gap") state.order = "surprise";
    showControls();
    show();
  }

  function showControls() {
    const { task } = state;
    const models = task.models.map((label, index) => [String(index), label]);
    const orders = Object.entries(ORDERS).filter(([key]) => key !== "gap" || state.second >= 0);
    controls.replaceChildren(...[
      select("Task", tasks.map((one, index) => [String(index), one.title]), String(tasks.indexOf(task)),
        (value) => set({ task: tasks[Number(value)], first: 0, second: -1, kind: "all" })),
      select("Model", models, String(state.first), (value) => set({ first: Number(value) })),
      models.length > 1
        ? select("Compare with", [["-1", "none"], ...models.filter(([index]) => Number(index) !== state.first)], String(state.second),
          (value) => set({ second: Number(value), order: Number(value) < 0 ? "surprise" : "gap" }))
        : null,
      select("Order", orders, state.order, (value) => set({ order: value })),
      task.total > task.passages.length ? select("Passages", Object.entries(KINDS), state.kind, (value) => set({ kind: value })) : null,
    ].filter(Boolean), searchField, state.second < 0
      ? csvButton("tokens", () => tokenRows(state.task, state.first, shown()))
      : csvButton("differences", () => gapRows(state.task, view(), shown())));
  }

  const searchInput = el("input", {
    type: "search",
    "aria-label": "Search",
    on: { input: () => { Object.assign(state, { search: searchInput.value, page: 0 }); show(); } },
  });
  const searchField = el("label", { class: "field" }, el("span", {}, "Search"), searchInput);

  function show() {
    const all = chosen();
    const from = state.page * ON_A_PAGE;
    const now = all.slice(from, from + ON_A_PAGE);
    scaleLine.replaceChildren(state.second < 0 ? scaleLegend() : gapLegend(state.task, view()));
    status.textContent = statusText(state, all.length, from, now.length);
    list.replaceChildren(...now.map((passage) =>
      passageElement(passage, state.task, view(), state.search, (of, units) => detail.replaceChildren(...detailOf(of, units, state.task)))));
    detail.replaceChildren(el("span", { class: "hint" }, "Point at a token, or press Tab and the arrow keys. Drag, or hold Shift, for several tokens."));
    const last = Math.max(0, Math.ceil(all.length / ON_A_PAGE) - 1);
    paging.replaceChildren(
      button("Previous", () => turn(-1), { disabled: state.page === 0 }),
      el("span", {}, `Page ${state.page + 1} of ${last + 1}`),
      button("Next", () => turn(1), { disabled: state.page >= last }));
  }

  function turn(by) {
    state.page += by;
    show();
    controls.scrollIntoView({ block: "start", behavior: "instant" });
  }

  showControls();
  show();
  return section("text", "The text, by surprisal", absent, controls, scaleLine, status, list, paging, detail);
}

// What is shown, and what the page and this view leave out.
function statusText(state, matching, from, count) {
  const { task } = state;
  const held = task.passages.length;
  const range = count ? `Passages ${from + 1} to ${from + count} of ${matching}` : "No passage";
  const filtered = state.search || state.kind !== "all" ? `${held - matching} of ${held} do not match. ` : "";
  const sample = task.passages.filter((passage) => passage.why.includes("sample")).length;
  const left = task.total - held;
  const whole = left
    ? `The page holds ${grouped(held)} of ${plural(task.total, "passage")}, and leaves out ${grouped(left)} for its size; ${sample} are an even sample, the others are the most surprising of each model${task.models.length > 1 ? " and the largest gaps" : ""}.`
    : `The page holds all ${plural(held, "passage")}.`;
  const models = task.left_out.length ? ` Without the tokens of ${task.left_out.join(", ")}.` : "";
  return `${range}. ${filtered}${whole}${models}`;
}

function scaleLegend() {
  const bounds = [0, ...STEPS];
  const names = bounds.map((low, index) => (index + 1 < bounds.length ? `${low}–${bounds[index + 1]}` : `≥ ${low}`));
  return el("div", { class: "scale" }, el("span", {}, "bits per byte"),
    names.map((name, level) => el("span", { class: `unit s${level}` }, name)),
    el("span", { class: "unit snone" }, "no bytes"),
    el("span", { class: "unscored" }, "not scored"));
}

function gapLegend(task, view) {
  const [first, second] = view.models.map((model) => task.models[model]);
  const names = ["≤ −2", "−2 to −1", "−1 to −¼", "within ¼", "¼ to 1", "1 to 2", "≥ 2"];
  return el("div", { class: "scale" },
    el("span", {}, `bits per byte of ${second} minus ${first}: blue where ${second} is better`),
    names.map((name, index) => el("span", { class: `unit d${index - 3}` }, name)),
    el("span", { class: "unit dnone" }, "none: no bytes, or scored by one model"),
    el("span", { class: "text gap" },
      el("span", { class: "part first" }, ` ${first} begins a token `), " ",
      el("span", { class: "part second" }, ` ${second} begins a token`)));
}

// What the bar at the bottom says about one or several units.
function detailOf(passage, units, task) {
  if (!units.length) return [];
  const begin = Math.min(...units.map((unit) => unit.begin));
  const end = Math.max(...units.map((unit) => unit.end));
  const shown = visible(passage.text.slice(begin, end));
  const token = el("code", { class: "token" }, shown.length > MOST_SHOWN ? `${shown.slice(0, MOST_SHOWN)}…` : shown || "(no text)");
  const sides = units[0].sides.map((side, index) => {
    const tokens = units.flatMap((unit) => unit.sides[index].tokens);
    return el("div", { class: "side" }, el("b", {}, task.models[side.model]), sideFacts(passage, tokens, units[0].sides.length > 1));
  });
  return [token, ...sides];
}

function sideFacts(passage, tokens, isGap) {
  const sum = sumOf(passage, tokens);
  const hits = tokens.filter((token) => token.hit).length;
  const facts = [
    ["bits", bitsText(sum.bits)],
    [sum.bytes === 1 ? "byte" : "bytes", String(sum.bytes)],
    ["bits per byte", Number.isNaN(sum.rate) ? "none" : number(sum.rate)],
    ["probability", probabilityText(sum.bits)],
    tokens.length === 1 ? ["rank", rankText(tokens[0])] : ["greedy", `${hits} of ${plural(tokens.length, "token")}`],
  ];
  const edges = isGap || tokens.length > 1
    ? el("span", { class: "pieces" }, tokens.slice(0, MOST_LISTED).map((token) =>
      el("span", {}, el("code", {}, visible(passage.text.slice(token.begin, token.end)) || "∅"), ` ${bitsText(token.bits)}`)),
      tokens.length > MOST_LISTED ? el("span", {}, `and ${tokens.length - MOST_LISTED} more`) : null)
    : null;
  return [el("span", { class: "facts" }, facts.map(([name, value]) => el("span", {}, el("i", {}, name), ` ${value}`))), edges];
}

// The journal keeps whether a token is the most likely one, not its rank.
function rankText(token) {
  if (token.hit) return token.tied ? "1, tied" : "1";
  return token.tied ? "above 1, or tied" : "above 1";
}

function tokenRows(task, model, passages) {
  const rows = [["task", "record", "passage", "model", "token", "begin", "end", "bytes", "bits", "probability", "greedy"]];
  for (const passage of passages) {
    for (const token of tokensOf(passage, model)) {
      rows.push([task.name, passage.record, passage.number, task.models[model], ...spanCells(passage, token), token.bits, 2 ** -token.bits, Number(token.hit)]);
    }
  }
  return rows;
}

// A row for each unit of the difference view; the difference is the colour's, in bits per byte.
function gapRows(task, view, passages) {
  const names = view.models.flatMap((model) => [`${task.models[model]} tokens`, `${task.models[model]} bits`]);
  const rows = [["task", "record", "passage", "text", "begin", "end", "bytes", ...names, "difference"]];
  for (const passage of passages) {
    for (const unit of gapUnits(passage, ...view.models)) {
      const sides = unit.sides.flatMap(({ tokens, bits }) => [tokens.length, rounded(bits)]);
      rows.push([task.name, passage.record, passage.number, ...spanCells(passage, unit), ...sides, rounded(unit.rate)]);
    }
  }
  return rows;
}

// The bits of the page have three decimals, and sums of them no more.
function rounded(value) {
  return Number(value.toFixed(6));
}

// The text between two positions, where it begins and ends in the record, and its bytes.
function spanCells(passage, { begin, end }) {
  const text = passage.text.slice(begin, end);
  const start = passage.begin + signedBytes(passage, begin);
  const bytes = byteLength(text);
  return [text, start, start + bytes, bytes];
}

// Bytes from the first scored byte of a passage to a position, negative before it.
function signedBytes(passage, position) {
  if (position >= passage.before) return byteLength(passage.text.slice(passage.before, position));
  return -byteLength(passage.text.slice(position, passage.before));
}
