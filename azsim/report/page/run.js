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

/** Sorts a table by a column, numbers by their value; once more turns the order round. */
function sort(table, column, header) {
  const rows = [...table.tBodies[0].rows];
  const value = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.className === "number" ? -Infinity : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" ? Math.sign(b - a) || 0 : a.localeCompare(b));
  const turned = header.dataset.sorted === "yes" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) delete other.dataset.sorted;
  header.dataset.sorted = turned === 1 ? "yes" : "turned";
  rows.sort((a, b) => turned * compare(value(a), value(b)));
  table.tBodies[0].append(...rows);
}

function start() {
  if (location.hash === "#dark" || location.hash === "#light") {
    document.documentElement.dataset.theme = location.hash.slice(1);
  }
  for (const table of document.querySelectorAll("table")) {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      header.classList.add("sortable");
      header.addEventListener("click", () => sort(table, column, header));
    });
  }
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw().then(() => { document.body.dataset.drawn = "yes"; });
}

start();
