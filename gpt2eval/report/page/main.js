// Puts the sections on the page.

function themeButton() {
  const themes = ["auto", "light", "dark"];
  let current = 0;
  const change = () => {
    current = (current + 1) % themes.length;
    document.documentElement.dataset.theme = themes[current];
    control.textContent = `Theme: ${themes[current]}`;
  };
  const control = button("Theme: auto", change, { class: "quiet" });
  return control;
}

function main() {
  const content = JSON.parse(document.getElementById("data").textContent);
  const seriesOfLabel = (label) => seriesOf(content.models.indexOf(label));
  const sections = [
    tableSection(content),
    sizeSection(content, seriesOfLabel),
    lossSection(content, seriesOfLabel),
    calibrationSection(content, seriesOfLabel),
    surprisalSection(content),
  ].filter(Boolean);
  const links = sections.map((one) => el("a", { href: `#${one.id}` }, one.querySelector("h2").textContent));
  document.body.append(
    el("header", { class: "top" },
      el("h1", {}, content.title),
      el("nav", { "aria-label": "Sections" }, links),
      themeButton()),
    el("main", {}, sections,
      content.missing.length ? el("ul", { class: "notes" }, content.missing.map((line) => el("li", {}, line))) : null),
    el("footer", {}, `gpt2eval ${content.version}. ${content.suite}. Every number has a signature; quote it.`));
}

main();
