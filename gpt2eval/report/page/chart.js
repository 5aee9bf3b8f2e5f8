// Small charts as SVG: points on a linear or logarithmic axis, and lines over bins.

const SHAPES = 4; // of marks: circle, square, triangle, diamond
const COLOURS = 8;
const RIGHT = 22; // pixels right of the axes, for half of a tick's text

function marker(shape, x, y, size, properties, title) {
  const paths = [
    `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`,
    `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
    `M${x} ${y - 1.25 * size}l${1.2 * size} ${2.1 * size}h${-2.4 * size}z`,
    `M${x} ${y - 1.35 * size}l${1.35 * size} ${1.35 * size}l${-1.35 * size} ${1.35 * size}l${-1.35 * size} ${-1.35 * size}z`,
  ];
  return svg("path", { d: paths[shape % SHAPES], ...properties }, svg("title", {}, title));
}

// The classes of a model's colour and shape follow from its number on the page; 32 of them differ.
function seriesOf(index) {
  return { colour: `m${index % COLOURS}`, shape: (index + Math.floor(index / COLOURS)) % SHAPES };
}

function legend(items) {
  return el("ul", { class: "legend" }, items.map(({ label, colour, shape }) =>
    el("li", {},
      svg("svg", { width: 16, height: 12, "aria-hidden": "true" }, marker(shape, 8, 6, 4, { class: `mark ${colour}` }, label)),
      label)));
}

function linearTicks(low, high, wanted = 5) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= 0.7 * rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high * (1 + 1e-9) + 1e-12; tick++) ticks.push(tick * step);
  return ticks;
}

// 20000 as "20k"; up to 1e15.
function tickText(value) {
  if (Math.abs(value) >= 1e15) return value.toExponential(0);
  return Math.abs(value) >= 1e4 ? countText(value) : String(Number(value.toPrecision(6)));
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades < 0.6 ? [1, 1.5, 2, 3, 4, 5, 6, 8] : decades < 1.6 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / 5));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    if (factors.length === 1 && power % every) continue;
    for (const factor of factors) ticks.push(factor * 10 ** power);
  }
  const inside = ticks.filter((tick) => tick >= low * 0.9999 && tick <= high * 1.0001);
  return inside.length > 1 ? inside : linearTicks(low, high, 3); // the values are close together
}

// A scale from values to the pixels [from, to], with a margin around the values.
function scale(values, log, from, to, { zero = false, most = Infinity } = {}) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (log) {
    const margin = Math.max(1.08, (high / low) ** 0.06);
    [low, high] = [low / margin, high * margin];
  } else {
    const margin = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [zero ? 0 : low - margin, Math.min(high + margin, most)];
    if (low < 0 && Math.min(...values) >= 0) low = 0;
  }
  const place = log ? Math.log : (value) => value;
  const span = place(high) - place(low);
  const at = (value) => from + ((place(value) - place(low)) / span) * (to - from);
  return { at, ticks: log ? logTicks(low, high) : linearTicks(low, high) };
}

// The frame of a chart with its axes. `x` and `y` have `ticks`: pairs of a place and a text.
function frame({ width, height, left, bottom, label, x, y, xLabel, yLabel }) {
  const top = 12;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
  for (const [place, text] of y.ticks) {
    root.append(
      svg("line", { x1: left, x2: width - RIGHT, y1: place, y2: place, class: "grid" }),
      svg("text", { x: left - 6, y: place + 3.5, class: "tick", "text-anchor": "end" }, text));
  }
  for (const [place, text] of x.ticks) {
    root.append(
      svg("line", { x1: place, x2: place, y1: height - bottom, y2: height - bottom + 4, class: "axis" }),
      svg("text", { x: place, y: height - bottom + 16, class: "tick", "text-anchor": "middle" }, text));
  }
  root.append(
    svg("line", { x1: left, x2: width - RIGHT, y1: height - bottom, y2: height - bottom, class: "axis" }),
    svg("text", { x: (left + width - RIGHT) / 2, y: height - 4, class: "name", "text-anchor": "middle" }, xLabel),
    svg("text", { x: 11, y: (top + height - bottom) / 2, class: "name", "text-anchor": "middle",
      transform: `rotate(-90 11 ${(top + height - bottom) / 2})` }, yLabel));
  return root;
}

// Points of several series over bins of equal width on the page.
//
// `edges` are the texts between the bins; a series has points {bin, value, low, high, faint, title}.
function binnedChart({ edges, series, label, xLabel, yLabel, most = Infinity, zero = true, percent = false, diagonal = false, rule = null, dodge = false }) {
  const [width, height, left, bottom] = [560, 300, 58, 44];
  const points = series.flatMap((one) => one.points);
  const values = points.flatMap((p) => [p.value, p.low ?? p.value, p.high ?? p.value]);
  const y = scale(most < Infinity ? [0, most] : values, false, height - bottom, 12, { zero, most });
  const step = (width - RIGHT - left) / (edges.length - 1);
  const stride = Math.ceil(edges.length / 13);
  const xTicks = edges.map((text, number) => [left + number * step, text]).filter((_, number) => number % stride === 0);
  const root = frame({
    width, height, left, bottom, label, xLabel, yLabel,
    x: { ticks: xTicks },
    y: { ticks: y.ticks.map((tick) => [y.at(tick), percent ? `${Math.round(100 * tick)}` : tickText(tick)]) },
  });
  if (diagonal) root.append(svg("line", { x1: left, y1: y.at(0), x2: width - RIGHT, y2: y.at(1), class: "reference" }));
  if (rule !== null) root.append(svg("line", { x1: left + rule * step, x2: left + rule * step, y1: 12, y2: height - bottom, class: "reference" }));
  series.forEach(({ colour, shape, points: own }, index) => {
    // Side by side, so that the bars of several models can be told apart.
    const aside = dodge ? (index - (series.length - 1) / 2) * Math.min(7, step / (series.length + 1)) : 0;
    const middle = (bin) => left + (bin + 0.5) * step + aside;
    const line = own.map((p) => `${middle(p.bin).toFixed(1)},${y.at(p.value).toFixed(1)}`).join(" ");
    root.append(svg("polyline", { points: line, class: `line ${colour}${dodge ? " pale" : ""}` }));
    for (const p of own) {
      if (p.high !== undefined) {
        root.append(svg("line", { x1: middle(p.bin), x2: middle(p.bin), y1: y.at(p.low), y2: y.at(p.high), class: `error ${colour}` }));
      }
      root.append(marker(shape, middle(p.bin), y.at(p.value), 3.6, { class: `mark ${colour}${p.faint ? " faint" : ""}` }, p.title));
    }
  });
  return root;
}

// A panel of the size curves: the published points joined by a line, ours beside them.
function sizePanel(panel, seriesOfLabel) {
  const [width, height, left, bottom] = [300, 230, 54, 40];
  const points = [...panel.published, ...panel.ours];
  const values = points.flatMap((p) => [p.value, p.low ?? p.value, p.high ?? p.value]);
  const log = panel.log && Math.min(...values) > 0;
  const x = scale(points.map((p) => p.parameters), true, left, width - RIGHT);
  const y = scale(values, log, height - bottom, 12);
  const root = frame({
    width, height, left, bottom,
    label: `${panel.title}: ${panel.unit} against the number of parameters`,
    x: { ticks: spaced(x.ticks.map((tick) => [x.at(tick), countText(tick)]), 34) },
    y: { ticks: y.ticks.map((tick) => [y.at(tick), tickText(tick)]) },
    xLabel: "parameters",
    yLabel: panel.unit,
  });
  const line = panel.published.map((p) => `${x.at(p.parameters).toFixed(1)},${y.at(p.value).toFixed(1)}`).join(" ");
  root.append(svg("polyline", { points: line, class: "line published" }));
  for (const p of panel.published) {
    root.append(marker(0, x.at(p.parameters), y.at(p.value), 3.2, { class: "mark published" }, `published ${p.label}: ${p.text}`));
  }
  for (const p of panel.ours) {
    const { colour, shape } = seriesOfLabel(p.label);
    if (p.low !== null && p.high !== null) {
      root.append(svg("line", { x1: x.at(p.parameters), x2: x.at(p.parameters), y1: y.at(p.low), y2: y.at(p.high), class: `error ${colour}` }));
    }
    root.append(marker(shape, x.at(p.parameters), y.at(p.value), 4.2, { class: `mark ${colour}${p.comparable ? "" : " faint"}` }, `${p.label}, ${countText(p.parameters)} parameters: ${p.text}`));
  }
  return root;
}

// Ticks that are at least `gap` pixels apart.
function spaced(ticks, gap) {
  let last = -Infinity;
  return ticks.filter(([place]) => {
    if (place - last < gap) return false;
    last = place;
    return true;
  });
}
