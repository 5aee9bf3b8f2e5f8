// Elements of the page. Text enters through text nodes only.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function button(text, action, properties = {}) {
  return el("button", { type: "button", ...properties, on: { click: action } }, text);
}

// A labelled <select>; `options` are pairs of a value and its text.
function select(label, options, chosen, change) {
  const field = el(
    "select",
    { "aria-label": label, on: { change: () => change(field.value) } },
    options.map(([value, text]) => el("option", { value }, text)),
  );
  field.value = chosen;
  return el("label", { class: "field" }, el("span", {}, label), field);
}

// Saves what a section shows; `rows` is called when the button is.
function csvButton(name, rows) {
  return button(
    "CSV of what is shown",
    () => {
      const file = new Blob([csvText(rows())], { type: "text/csv;charset=utf-8" });
      const link = el("a", { href: URL.createObjectURL(file), download: `${name}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    },
    { class: "quiet csv" },
  );
}

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), ...children);
}

function note(...children) {
  return el("p", { class: "note" }, ...children);
}
