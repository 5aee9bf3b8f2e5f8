// The tokens of a passage, and their alignment between two models. Positions count UTF-16 units.

// Steps of the printed scale, in bits per byte: a token's level is the number of steps at or below.
const STEPS = [0.25, 0.5, 1, 2, 3, 5, 8];
// Steps of the difference, second minus first, on either side of 0.
const GAP_STEPS = [0.25, 1, 2];

function levelOf(rate) {
  return STEPS.filter((step) => rate >= step).length;
}

// -3 (the second model is much better) to 3.
function gapLevelOf(rate) {
  return Math.sign(rate) * GAP_STEPS.filter((step) => Math.abs(rate) >= step).length;
}

// [{begin, end, bits, hit, tied}] of one model in a passage.
function tokensOf(passage, model) {
  const { from, lengths, bits, hits } = passage.models[model];
  const tokens = [];
  let at = from;
  for (const length of lengths) {
    if (length < 0) {
      at -= length; // unscored text
      continue;
    }
    const hit = Number(hits[tokens.length]);
    const thousandths = bits[tokens.length];
    tokens.push({
      begin: at,
      end: at + length,
      bits: thousandths === null ? Infinity : thousandths / 1000,
      hit: hit % 2 === 1,
      tied: hit >= 2,
    });
    at += length;
  }
  return tokens;
}

// Sums of tokens: {bits, bytes, rate}; a rate without bytes is NaN.
function sumOf(passage, tokens) {
  const bits = tokens.reduce((sum, token) => sum + token.bits, 0);
  const bytes = tokens.reduce((sum, token) => sum + byteLength(passage.text.slice(token.begin, token.end)), 0);
  return { bits, bytes, rate: bytes ? bits / bytes : NaN };
}

const RATES = new WeakMap();

// Bits per byte of a passage; computed once, because sorting asks for it often.
function rateOf(passage, model) {
  if (!RATES.has(passage)) RATES.set(passage, []);
  const rates = RATES.get(passage);
  rates[model] ??= sumOf(passage, tokensOf(passage, model)).rate;
  return rates[model];
}

// Units of one model's view: a unit is a token.
function tokenUnits(passage, model) {
  return tokensOf(passage, model).map((token) => {
    const sum = sumOf(passage, [token]);
    return { begin: token.begin, end: token.end, sides: [{ model, tokens: [token], ...sum }], level: Number.isNaN(sum.rate) ? null : levelOf(sum.rate) };
  });
}

// Units of the difference view: the shortest spans that begin and end at edges of both models.
//
// A token without text belongs to the span that it ends. Text that only one model scored has no
// difference.
function gapUnits(passage, first, second) {
  const sides = [first, second].map((model) => tokensOf(passage, model));
  const ends = sides.map((tokens) => new Set(tokens.map((token) => token.end)));
  const common = [...ends[0]].filter((end) => ends[1].has(end)).sort((a, b) => a - b);
  const next = [0, 0];
  const units = [];
  for (const end of common) {
    const taken = sides.map((tokens, side) => {
      const start = next[side];
      while (next[side] < tokens.length && tokens[next[side]].end <= end) next[side] += 1;
      return tokens.slice(start, next[side]);
    });
    const begin = Math.min(...taken.map((tokens) => tokens[0]?.begin ?? end));
    const [a, b] = taken.map((tokens) => sumOf(passage, tokens));
    const bytes = byteLength(passage.text.slice(begin, end));
    const rate = bytes && a.bytes === b.bytes ? (b.bits - a.bits) / bytes : NaN;
    units.push({
      begin,
      end,
      sides: [{ model: first, tokens: taken[0], ...a }, { model: second, tokens: taken[1], ...b }],
      rate,
      level: Number.isNaN(rate) ? null : gapLevelOf(rate),
    });
  }
  return units;
}

// Parts of a unit's text between edges of either model: {begin, end, edges: [first, second]}.
function partsOf(unit) {
  const begins = unit.sides.map((side) => new Set(side.tokens.filter((t) => t.end > t.begin).map((t) => t.begin)));
  const edges = [...new Set([unit.begin, ...begins.flatMap((set) => [...set])])].filter((edge) => edge < unit.end).sort((a, b) => a - b);
  return edges.map((begin, index) => ({ begin, end: edges[index + 1] ?? unit.end, edges: begins.map((set) => set.has(begin)) }));
}
