// The sections with charts: sizes, losses by position and frequency, and calibration.

const FEW = 100; // tokens of a bin below which its point is hollow
const FEW_RECORDS = 10;

function sizeSection(content, seriesOfLabel) {
  const { panels, omitted } = content.sizes;
  if (!panels.length) return null;
  const shown = [...new Set(panels.flatMap((panel) => panel.ours.map((p) => p.label)))];
  const items = shown.map((label) => ({ label, ...seriesOfLabel(label) }));
  if (panels.some((panel) => panel.published.length)) {
    items.push({ label: "published GPT-2", colour: "published", shape: 0 });
  }
  const rows = () => [
    ["column", "unit", "model", "kind", "parameters", "value", "low", "high"],
    ...panels.flatMap((panel) => [
      ...panel.published.map((p) => [panel.title, panel.unit, p.label, "published", p.parameters, p.value, null, null]),
      ...panel.ours.map((p) => [panel.title, panel.unit, p.label, "ours", p.parameters, p.value, p.low, p.high]),
    ]),
  ];
  return section(
    "sizes",
    "Score against size",
    el("div", { class: "bar" },
      note("Logarithmic axes for parameters and perplexity; bars are 95 % intervals. The published points stand at the sizes of the released models, 124M for what the paper calls 117M. ",
        panels.some((panel) => panel.ours.some((p) => !p.comparable)) ? "A hollow point is not of the complete published text, so it is not comparable with them." : ""),
      csvButton("sizes", rows)),
    omitted.length ? note(`Not shown, because the number of parameters is unknown: ${omitted.join(", ")}. --size MODEL=N states it.`) : null,
    legend(items),
    el("div", { class: "panels" }, panels.map((panel) =>
      el("figure", {}, el("figcaption", {}, panel.title, el("span", { class: "unit" }, panel.higher ? "higher is better" : "lower is better")), sizePanel(panel, seriesOfLabel)))),
  );
}

function lossSection(content, seriesOfLabel) {
  const tasks = content.losses;
  if (!tasks.length) return null;
  let task = tasks.find((one) => one.whole) ?? tasks[0];
  const items = el("div");
  const charts = el("div", { class: "pair" });

  // Bins double in width; the one without context is the first.
  const place = (bin) => (bin.first ? Math.round(Math.log2(bin.first)) + 1 : 0);

  function chart(kind, title, xLabel, yLabel) {
    const bins = task.models.flatMap((model) => model[kind]);
    const usable = (bin) => Number.isFinite(bin.value);
    if (!bins.some(usable)) return el("figure", {}, el("figcaption", {}, title), note("No scored tokens."));
    const low = Math.min(...bins.map(place));
    const high = Math.max(...bins.map(place));
    const edges = [];
    for (let edge = low; edge <= high + 1; edge++) edges.push(grouped(edge ? 2 ** (edge - 1) : 0));
    const series = task.models.map((model) => ({
      ...seriesOfLabel(model.label),
      points: model[kind].filter(usable).map((bin) => ({
        bin: place(bin) - low,
        value: bin.value,
        low: bin.low ?? undefined,
        high: bin.high ?? undefined,
        faint: bin.tokens < FEW,
        title: `${model.label}, ${grouped(bin.first)} to ${grouped(bin.last)}: ${number(bin.value)} ${yLabel}, ${plural(bin.tokens, "token")}`,
      })),
    })).filter((one) => one.points.length);
    return el("figure", {}, el("figcaption", {}, title),
      binnedChart({ edges, series, label: `${task.title}: ${title}`, xLabel, yLabel }));
  }

  function show() {
    items.replaceChildren(legend(task.models.map(({ label }) => ({ label, ...seriesOfLabel(label) }))));
    charts.replaceChildren(
      chart("position", "By position in the context", "tokens that the model saw before", "bits per byte"),
      chart("frequency", "By frequency of the token", "occurrences of the token in the scored text", "nats per token"));
  }

  const rows = () => [
    ["task", "model", "by", "unit", "from", "to", "tokens", "value", "low", "high"],
    ...task.models.flatMap((model) => [["position", "bits per byte"], ["frequency", "nats per token"]].flatMap(([kind, unit]) =>
      model[kind].map((bin) => [task.name, model.label, kind, unit, bin.first, bin.last, bin.tokens, bin.value, bin.low, bin.high]))),
  ];
  show();
  return section(
    "losses",
    "Where the bits are lost",
    el("div", { class: "bar" },
      select("Task", tasks.map((one, index) => [String(index), one.title]), String(tasks.indexOf(task)), (value) => { task = tasks[Number(value)]; show(); }),
      csvButton("losses", rows)),
    note("Bins of doubling width, counted in each model's own tokens. Bits per byte of the published text can be compared between tokenizers, nats per token cannot. ",
      `Bars are 95 % intervals, as in the table; a bin with tokens of too few independent parts of the text has none. A hollow point has fewer than ${FEW} tokens. Of a question, only the right choice counts.`),
    items,
    charts,
  );
}

function calibrationSection(content, seriesOfLabel) {
  const tasks = content.calibration.filter((task) => task.models.length || task.omitted.length);
  if (!tasks.length) return null;
  return section(
    "calibration",
    "Probability and accuracy",
    tasks.filter((task) => task.kind === "answer").slice(0, 1).map(answerNote),
    tasks.some((task) => task.kind === "choice") ? choiceNote() : null,
    note(`Bars are Wilson's 95 % intervals; a hollow point has fewer than ${FEW_RECORDS} records.`),
    el("div", { class: "pair" }, tasks.map((task) => calibrationFigure(task, seriesOfLabel))));
}

function calibrationFigure(task, seriesOfLabel) {
  const isAnswer = task.kind === "answer";
  const series = task.models.map((model) => ({
    ...seriesOfLabel(model.label),
    points: model.bins.map((bin) => ({
      bin: bin.bin,
      value: bin.right / bin.records,
      low: bin.low,
      high: bin.high,
      faint: bin.records < FEW_RECORDS,
      title: `${model.label}, probability ${task.edges[bin.bin]} to ${task.edges[bin.bin + 1]}: ${bin.right} of ${plural(bin.records, "record")} right, mean probability ${number(bin.mean)}`,
    })),
  }));
  const rows = () => [
    ["task", "model", "from", "to", "records", "right", "mean probability", "low", "high"],
    ...task.models.flatMap((model) => model.bins.map((bin) =>
      [task.name, model.label, task.edges[bin.bin], task.edges[bin.bin + 1], bin.records, bin.right, bin.mean, bin.low, bin.high])),
  ];
  const summary = task.models.map((model) =>
    el("li", {}, `${model.label}: mean probability of ${isAnswer ? "the answer" : "the guess"} ${number(model.mean)}, ${model.right} of ${model.records} right (${(100 * model.right / model.records).toFixed(1)} %)`));
  return el(
    "figure",
    {},
    el("figcaption", {}, task.title, el("span", { class: "unit" }, isAnswer ? "how often an answer of a probability wins" : "reliability of the guesses")),
    legend(task.models.map(({ label }) => ({ label, ...seriesOfLabel(label) }))),
    series.length ? binnedChart({
      edges: task.edges.map(String),
      series,
      label: `${task.title}: share of right guesses by probability`,
      xLabel: isAnswer ? "probability of the published answer" : "probability of the model's guess among the choices",
      yLabel: "right, % of records",
      most: 1,
      percent: true,
      dodge: true,
      diagonal: !isAnswer,
      rule: isAnswer ? task.edges.indexOf(0.5) : null,
    }) : null,
    el("ul", { class: "notes" }, summary,
      task.omitted.length ? el("li", {}, `Not shown, because the decisions cannot be derived from the token scores: ${task.omitted.join(", ")}`) : null),
    csvButton(`calibration-${task.name.replace(/\W+/g, "-")}`, rows),
  );
}

function answerNote(task) {
  const judged = task.filter === "none"
    ? "every token of the answer is the model's most likely one"
    : `as the column ACC judges it, with the stop-word filter ${task.filter} where the model can search for words`;
  const wrong = task.filter === "none" ? "" : "; an answer that is wrong there is one that the filter excludes";
  return note(
    el("b", {}, `${task.title}. `),
    "Probability: that the model continues the passage with the published answer, the product over the answer's tokens. ",
    `Right: ${judged}. The journal does not keep the probability of a wrong guess, so this is not a reliability diagram and has no diagonal: `,
    `it shows how probable an answer has to be to win. Above one half (dashed line), no other continuation is more probable${wrong}.`);
}

function choiceNote() {
  return note(
    el("b", {}, "Questions with choices. "),
    "Probability: of the text with the chosen word, divided by the sum over all choices. Right: the most probable choice is the published one; a tie is wrong. ",
    "This is a reliability diagram: on the dashed diagonal, guesses are right as often as their probability says.");
}
