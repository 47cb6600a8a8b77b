"use strict";
// Draws the charts in the page's colours and sorts its tables; all else is in the HTML.

const charts = JSON.parse(document.getElementById("charts").textContent);

function theme() {
  const set = document.documentElement.dataset.theme;
  return set ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A chart with colours in the place of their names in brackets. */
function coloured(value) {
  if (Array.isArray(value)) return value.map(coloured);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, coloured(entry)]));
  }
  const name = typeof value === "string" && /^\[(\w+)\]$/.exec(value)?.[1];
  return name ? colour(name) || value : value;
}

function style() {
  const text = { labelColor: colour("text"), titleColor: colour("dim"), titleFontWeight: "normal" };
  return {
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { ...text, gridColor: colour("line"), domainColor: colour("line"), tickColor: colour("line") },
    legend: text,
  };
}

async function draw() {
  document.getElementById("theme").textContent = theme() === "dark" ? "light" : "dark";
  for (const [id, { data, ...chart }] of Object.entries(charts)) {
    const spec = { ...coloured(chart), data, config: style() };
    await vegaEmbed(document.getElementById(id), spec, { actions: false, renderer: "svg" });
  }
}

/** Sorts a table by a column, the largest number or the first name on top; once more turns it. */
function sort(table, column, header) {
  const value = (row) => {
    const { dataset, textContent } = row.cells[column];
    return dataset.value === undefined ? textContent : Number(dataset.value);
  };
  const order = header.ariaSort === null || header.ariaSort === "none" ? 1 : -1;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what is empty stays last
    return order * (typeof x === "number" ? y - x : x.localeCompare(y));
  };
  for (const other of table.tHead.rows[0].cells) other.ariaSort = null;
  header.ariaSort = order === 1 ? (header.className.includes("number") ? "descending" : "ascending") : "other";
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (column && !header.classList.contains("number")) return;
    header.classList.add("sortable");
    header.tabIndex = 0;
    header.addEventListener("click", () => sort(table, column, header));
    header.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(table, column, header); });
  });
}

function start() {
  if (location.hash === "#dark" || location.hash === "#light") {
    document.documentElement.dataset.theme = location.hash.slice(1);
  }
  document.querySelectorAll("table").forEach(makeSortable);
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw().then(() => { document.body.dataset.drawn = "yes"; });
}

start();
