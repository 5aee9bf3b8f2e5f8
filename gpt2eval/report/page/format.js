// Numbers and text for people, and CSV. Nothing here touches the page.

const BLANKS = { " ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥", "\u00a0": "⍽" };
// Controls, invisible and direction-changing characters, separators, and lone surrogates.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const FORMULA = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/;

function escaped(character) {
  const code = character.codePointAt(0);
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`; // a byte
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u{${code.toString(16)}}`;
}

// A token's text with every blank and unseen character visible.
function visible(text) {
  return text.replace(/[ \n\r\t\u00a0]/g, (blank) => BLANKS[blank]).replace(UNSEEN, escaped);
}

// Text as it stands on the page: blanks stay, other unseen characters become escapes.
function readable(text) {
  return text.replace(UNSEEN, (found) => (found === "\n" || found === "\t" ? found : escaped(found)));
}

// UTF-8 bytes of a text; a lone surrogate stands for one undecodable byte.
function byteLength(text) {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code < 0x80 || (code >= 0xdc80 && code <= 0xdcff)) bytes += 1;
    else bytes += code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

// A whole number with commas; toLocaleString takes a quarter of a second to begin.
function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

function plural(count, name) {
  return `${grouped(count)} ${name}${count === 1 ? "" : "s"}`;
}

// A number with at least `digits` significant digits.
function number(value, digits = 3) {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "infinite";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return value.toExponential(digits - 1);
  if (size >= 10 ** digits) return grouped(Math.round(value));
  return value.toPrecision(digits);
}

function bitsText(value) {
  return Number.isFinite(value) ? value.toFixed(2) : "infinite";
}

// 124439808 as "124M".
function countText(value) {
  const sizes = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];
  const [unit, name] = sizes.find(([size]) => value >= size) ?? [1, ""];
  const count = value / unit;
  return `${count >= 100 ? Math.round(count) : Number(count.toPrecision(3))}${name}`;
}

function probabilityText(bits) {
  const probability = 2 ** -bits;
  if (probability === 0) return bits === Infinity ? "0" : `2^−${bits.toFixed(0)}`;
  return probability >= 0.001 ? probability.toFixed(4) : probability.toExponential(2);
}

// A cell that no spreadsheet takes for a formula.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const shown = value.replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t").replace(UNSEEN, escaped);
  const safe = FORMULA.test(value) ? `'${shown}` : shown;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

function csvText(rows) {
  return rows.map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}
