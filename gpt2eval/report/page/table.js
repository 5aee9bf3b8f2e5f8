// The table: models beside the published figures. A cell of ours opens its signature.

function tableSection(content) {
  const table = content.table;
  let sorted = { column: null, falling: false };
  const body = el("tbody");
  const heads = new Map();

  function valueOf(group, column) {
    return column === "" ? group[0].label : (group[0].cells[column]?.value ?? null);
  }

  function groups() {
    if (sorted.column === null) return table.groups;
    const direction = sorted.falling ? -1 : 1;
    return [...table.groups].sort((first, second) => {
      const [a, b] = [valueOf(first, sorted.column), valueOf(second, sorted.column)];
      if (a === null || b === null) return (a === null) - (b === null); // an empty cell is last
      return direction * (sorted.column === "" ? a.localeCompare(b) : a - b);
    });
  }

  function sortBy(column, higher) {
    const again = sorted.column === column;
    const best = column !== "" && higher; // the best first
    sorted = again && sorted.falling !== best
      ? { column: null, falling: false }
      : { column, falling: again ? !sorted.falling : best };
    show();
  }

  function show() {
    for (const [column, head] of heads) {
      const order = sorted.falling ? "descending" : "ascending";
      head.setAttribute("aria-sort", sorted.column === column ? order : "none");
    }
    body.replaceChildren(...groups().flatMap((group) => group.map((row) => tableRow(row, table))));
  }

  function head(column, unit, higher) {
    const rank = higher ? "higher is better" : "lower is better";
    const better = column === "" || higher === null ? "" : rank; // neither for a share
    const cell = el(
      "th",
      { scope: "col", "aria-sort": "none", class: column === "" ? "label" : "" },
      button(column || "model", () => sortBy(column, higher), { class: "sort", title: better }),
      unit ? el("span", { class: "unit" }, unit, ...(better ? [el("br"), better] : [])) : null,
    );
    heads.set(column, cell);
    return cell;
  }

  const header = el("tr", {}, head("", "", false), table.columns.map((c) => head(c.title, c.unit, c.higher)));
  show();
  return section(
    "table",
    "Results",
    el("div", { class: "bar" },
      note("Values with 95 % intervals. Click a heading to sort, and a number for its signature.",
        table.comparisons?.rows.length ? ` Below a number: its verdict against ${table.comparisons.baseline}.` : ""),
      csvButton("table", () => tableRows(groups(), table.columns))),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of results" },
      el("table", { class: "results" }, el("thead", {}, header), body)),
    tableNotes(table.notes),
    signatureList(table),
    comparisonTable(table.comparisons),
  );
}

// What the marks beside numbers mean is always open; the other notes are behind a summary.
function tableNotes(notes) {
  const listed = (lines) => el("ul", { class: "notes" }, lines.map((line) => el("li", {}, line)));
  const isMark = (line) => /^[^\p{L}\p{N}]/u.test(line);
  const others = notes.filter((line) => !isMark(line));
  const rest = others.length ? folded(plural(others.length, "more note"), listed(others), others.length <= 4) : null;
  return [notes.some(isMark) ? listed(notes.filter(isMark)) : null, rest];
}

// Every signature in one list: for searching, and for paper.
function signatureList(table) {
  const lines = table.groups.flat().flatMap((row) => table.columns.flatMap(({ title }) => {
    const cell = row.cells[title];
    return cell?.signed ? el("li", {}, el("b", {}, `${title}, ${row.label}: `), el("code", {}, cell.signed.signature)) : [];
  }));
  return lines.length ? folded("All signatures", el("ul", { class: "notes signatures" }, lines), false) : null;
}

// What opens with a click, and on paper.
function folded(title, content, open) {
  const details = el("details", { open }, el("summary", {}, title), content);
  addEventListener("beforeprint", () => { details.open = true; });
  return details;
}

function tableRow(row, table) {
  return el(
    "tr",
    { class: row.kind },
    el("th", { scope: "row", class: "label" }, row.label),
    table.columns.map((column) => tableCell(row, row.cells[column.title], table)),
  );
}

function tableCell(row, cell, table) {
  if (!cell) return el("td");
  const interval = cell.interval ? el("span", { class: "interval" }, cell.interval) : null;
  if (!cell.signed) return el("td", {}, el("span", { class: `value ${cell.text.replace(/\W/g, "-")}` }, cell.text));
  const open = () => openSignature(row.label, cell);
  const verdict = table.comparisons?.verdicts[cell.signed.metric]?.[cell.signed.signature];
  const judged = verdict ? el("span", { class: `verdict ${verdict}`, title: `than ${table.comparisons.baseline}` }, verdict) : null;
  return el("td", {}, button(cell.text, open, { class: "value", "aria-haspopup": "dialog" }), interval, judged);
}

function tableRows(groups, columns) {
  const head = ["model", "kind", ...columns.flatMap((c) => [c.title, `${c.title} low`, `${c.title} high`, `${c.title} signature`])];
  const rows = groups.flat().map((row) => [
    row.label,
    row.kind,
    ...columns.flatMap((column) => {
      const cell = row.cells[column.title];
      const [low, high] = cell?.signed?.interval ? JSON.parse(cell.signed.interval) : [null, null];
      return [cell ? (cell.value ?? cell.text) : null, low, high, cell?.signed?.signature ?? null];
    }),
  ]);
  return [head, ...rows];
}

// The duels of all models with the first one, and the ranks of three or more.
function comparisonTable(content) {
  if (!content) return null;
  const leftOut = content.left_out.map((line) => el("li", {}, line));
  const others = leftOut.length
    ? folded(`${plural(leftOut.length, "number")} not compared with ${content.baseline}`, el("ul", { class: "notes" }, leftOut), leftOut.length <= 4)
    : null;
  if (!content.rows.length) return others;
  const head = ["task and metric", "model", ...content.columns];
  const duels = el("table", { class: "duels" },
    el("thead", {}, el("tr", {}, head.map((name, index) => el("th", { scope: "col", class: index < 2 ? "label" : "" }, name)))),
    el("tbody", {}, content.rows.map((row) => el("tr", {},
      el("th", { scope: "row", class: "label" }, row.title),
      el("td", { class: "label" }, row.model),
      content.columns.map((column) => duelCell(column, row.cells[column]))))));
  const facts = () => {
    const names = Object.keys(content.facts[0]);
    return [names, ...content.facts.map((duel) => names.map((name) => duel[name]))];
  };
  return el("div", { id: "verdicts" },
    el("h3", {}, `Verdicts: every model against ${content.baseline}, on the same text`),
    el("div", { class: "bar" },
      note("Paired, record by record: the change of the metric with its 95 % interval, p by permutation, corrected over all rows (Holm). 'unresolved': the data do not tell."),
      csvButton("verdicts", facts)),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Verdicts between models" }, duels),
    content.ranks.length ? rankTable(content) : null,
    others);
}

function duelCell(column, cell) {
  if (!cell) return el("td");
  const kind = column === "verdict" ? `value ${cell.text}` : "";
  return el("td", {}, el("span", { class: kind }, cell.text), cell.interval ? el("span", { class: "interval" }, cell.interval) : null);
}

function rankTable(content) {
  return [
    el("h3", {}, "Ranks"),
    note("The range of ranks that each model may have, and in brackets the share of its duels on single records that it wins."),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Ranks of the models" },
      el("table", {},
        el("thead", {}, el("tr", {}, ["model", ...content.ranked].map((name, index) => el("th", { scope: "col", class: index ? "" : "label" }, name)))),
        el("tbody", {}, content.ranks.map((row) => el("tr", {},
          el("th", { scope: "row", class: "label" }, row.model),
          content.ranked.map((title) => el("td", {}, row.cells[title] ?? ""))))))),
  ];
}

// The dialog with a number's signature, made anew for each number.
function openSignature(label, cell) {
  const signed = cell.signed;
  const signature = el("code", { class: "signature" }, signed.signature);
  const copied = el("span", { class: "copied", role: "status" });
  const facts = [
    ["value", `${signed.value} (${signed.unit})`],
    ["interval", signed.interval || "none"],
    ["", signed.resampled],
  ];
  const dialog = el(
    "dialog",
    { class: "signed", "aria-label": "Signature", on: { close: () => dialog.remove() } },
    el("h3", {}, `${signed.column}, ${label}`),
    el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    signature,
    el("div", { class: "bar" },
      button("Copy signature", () => copyText(signature, copied), { class: "copy" }),
      copied,
      button("Close", () => dialog.close(), { class: "quiet" })),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}

async function copyText(element, status) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    status.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(element); // a browser may forbid the clipboard to a file
    status.textContent = "Selected; copy it with Ctrl+C.";
  }
}
