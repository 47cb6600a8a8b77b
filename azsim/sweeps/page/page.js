"use strict";
// The page of a sweep.  Points are numbered by their place in the columns of `data.points`; one of
// them is the chosen design, which the front, the parallel coordinates, the slices and the table
// mark.  A box drawn on the front selects points for the parallel coordinates and the table.

const data = JSON.parse(document.getElementById("data").textContent);
const charts = JSON.parse(document.getElementById("charts").textContent);
const points = data.points;
const count = points.number.length;
const columns = [
  ...data.axes.map((axis, n) => ({ ...axis, id: `a${n}`, isAxis: true })),
  ...data.objectives.map((objective, n) => ({ ...objective, id: `o${n}`, number: true })),
];
const axes = columns.filter((column) => column.isAxis);
const objectives = columns.filter((column) => !column.isAxis);
const KINDS = ["infeasible", "dominated", "on the front"];
const MOST_LINES = 500;
const MOST_ROWS = 1000;
const MOST_OPTIONS = 60;
const NO_LABELS = 9;
const REACH_PX = 12;
const FRONT_AHEAD_PX = 3;

const state = { chosen: null, brushed: null, views: {}, order: null };
const element = (id) => document.getElementById(id);
const value = (column, point) => points[column.id][point];
const isThere = (number) => number !== null && number !== undefined;

// ------------------------------------------------------------------------------- numbers

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
const PREFIXED = new Set(["s", "B", "B/s", "Hz", "MAC", "J", "W"]);

function digits(number, significant = 4) {
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e15 || size < 1e-4) return number.toPrecision(significant).replace(/\.?0+e/, "e");
  if (size >= 10 ** significant) return Math.round(number).toLocaleString("en-US");
  return Number(number.toPrecision(significant)).toLocaleString("en-US", { maximumSignificantDigits: significant });
}

function withUnit(number, unit) {
  if (!isThere(number)) return "–";
  if (typeof number !== "number") return String(number);
  if (!unit) return digits(number);
  if (!PREFIXED.has(unit) || number === 0) return `${digits(number)} ${unit}`;
  const [size, prefix] = PREFIXES.find(([least]) => Math.abs(number) >= least * 0.99995) ?? [1e-9, "n"];
  return `${digits(number / size)} ${prefix}${unit}`;
}

const shown = (column, point) => withUnit(value(column, point), column.unit);
const percent = (share) => `${digits(100 * share, 3)} %`;
const titled = (column) => (column.unit ? `${column.name} [${column.unit}]` : column.name);
const directed = (column) => (column.goal ? `${titled(column)}, ${column.goal === "maximize" ? "more" : "less"} is better` : titled(column));
const plural = (number, noun) => `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;

// ----------------------------------------------------------------------------------- DOM

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, entry] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), entry);
    else if (entry !== undefined && entry !== false) node.setAttribute(key, entry);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([key, text]) => make("option", { value: key }, text)));
  if (chosen !== undefined) select.value = chosen;
}

function fillTable(table, head, rows) {
  table.replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

// ---------------------------------------------------------------------------------- Vega

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function filled(part, values) {
  if (typeof part === "string") {
    const name = part.match(/^\[(\w+)\]$/)?.[1];
    return name && name in values ? values[name] : part;
  }
  if (Array.isArray(part)) return part.flatMap((entry) => filled(entry, values));
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(Object.entries(part).map(([key, entry]) => [key, filled(entry, values)]));
}

function eachEncoding(spec, field, change) {
  for (const layer of spec.layer ?? []) {
    for (const channel of Object.values(layer.encoding ?? {})) {
      if (channel.field === field) change(channel);
    }
  }
}

function setScale(spec, fields, column) {
  for (const field of fields) {
    eachEncoding(spec, field, (channel) => {
      if (!column.number) {
        channel.type = "nominal";
        delete channel.scale;
        return;
      }
      channel.axis = { format: PREFIXED.has(column.unit) || range(column)[1] >= 1e4 ? "~s" : "~g" };
      if (column.log) channel.scale = { type: "log", nice: false, padding: channel.scale?.padding };
    });
  }
}

function vegaConfig() {
  const text = colour("text"), dim = colour("dim"), line = colour("line");
  return {
    background: null,
    font: "system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: dim, titleColor: text, gridColor: line, domainColor: line, tickColor: line,
      labelFontSize: 12, titleFontSize: 13, titleFontWeight: 500, tickCount: 6,
    },
    legend: { labelColor: dim, titleColor: text, labelFontSize: 12, titleFontSize: 12 },
    range: { category: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#f0e442", "#7f7f7f"] },
  };
}

function chooseByClick(view) {
  view.addEventListener("click", (event, item) => {
    if (isThere(item?.datum?.i)) choose(item.datum.i);
  });
}

async function draw(name, id, spec, sets) {
  const full = {
    ...spec,
    datasets: sets,
    config: vegaConfig(),
    autosize: { type: "fit-x", contains: "padding" },
  };
  const old = state.views[id];
  const result = await vegaEmbed(element(id), full, {
    actions: { export: true, source: false, compiled: false, editor: false },
    renderer: "canvas", ast: false, tooltip: tip, downloadFileName: `${data.name}_${name}`,
  });
  old?.finalize();
  state.views[id] = result.view;
  return result.view;
}

function tip(handler, event, item, content) {
  const box = element("tip");
  const point = item?.datum?.i;
  if (!isThere(content) || !isThere(point)) {
    box.hidden = true;
    return;
  }
  showTip(event, point);
}

function showTip(event, point) {
  const box = element("tip");
  const rows = columns
    .filter((column) => isThere(value(column, point)))
    .map((column) => make("tr", {}, make("td", {}, column.name), make("td", {}, shown(column, point))));
  const head = `point ${points.number[point]}, ${KINDS[points.kind[point]]}`;
  box.replaceChildren(make("b", {}, head), make("table", {}, ...rows));
  box.hidden = false;
  const left = event.clientX + 16 + box.offsetWidth > innerWidth ? event.clientX - 16 - box.offsetWidth : event.clientX + 16;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.offsetHeight - 8))}px`;
}

// --------------------------------------------------------------------------------- front

function visiblePoints(x, y) {
  const show = element("front-show").value;
  const least = { all: 0, feasible: 1, front: 2 }[show];
  const found = [];
  for (let i = 0; i < count; i++) {
    if (points.kind[i] >= least && isThere(value(x, i)) && isThere(value(y, i))) found.push(i);
  }
  return found;
}

// Feasible points that no other beats in these two objectives, from left to right.
function staircase(x, y) {
  if (!x.goal || !y.goal) return [];
  const sign = (column) => (column.goal === "maximize" ? -1 : 1);
  const loss = (column, i) => sign(column) * value(column, i);
  const able = [];
  for (let i = 0; i < count; i++) {
    if (points.kind[i] > 0 && isThere(value(x, i)) && isThere(value(y, i))) able.push(i);
  }
  able.sort((a, b) => loss(x, a) - loss(x, b) || loss(y, a) - loss(y, b));
  let best = Infinity;
  const corners = able.filter((i) => {
    const better = loss(y, i) < best;
    if (better) best = loss(y, i);
    return better;
  });
  return corners.sort((a, b) => value(x, a) - value(x, b));
}

async function drawFront() {
  const x = columns.find((column) => column.id === element("front-x").value);
  const y = columns.find((column) => column.id === element("front-y").value);
  if (!x || !y) return;
  const by = columns.find((column) => column.id === element("front-colour").value);
  const row = (i) => ({ i, x: value(x, i), y: value(y, i), c: by ? value(by, i) ?? "not there" : KINDS[points.kind[i]] });
  const seen = visiblePoints(x, y);
  const pair = data.knees.filter((knee) => knee.objectives.length === objectives.length
    || (knee.objectives.includes(x.name) && knee.objectives.includes(y.name)));
  const labels = new Map();
  for (const knee of pair) {
    const label = knee.objectives.length === objectives.length ? "knee" : "knee of these two";
    labels.set(knee.point, labels.has(knee.point) ? labels.get(knee.point) : label);
  }
  const spec = filled(charts.front, {
    x: directed(x), y: directed(y), colour: by ? titled(by) : null,
    accent: colour("accent"), strong: colour("strong"), chosen: colour("chosen"),
  });
  setScale(spec, ["x"], x);
  setScale(spec, ["y"], y);
  colourScale(spec, by);
  // Between two corners the front has the figure of the left one if less of x is better.
  spec.layer[1].mark.interpolate = x.goal === "maximize" ? "step-before" : "step-after";
  const view = await draw("front", "front", spec, {
    behind: seen.filter((i) => points.kind[i] < 2).map(row),
    front: seen.filter((i) => points.kind[i] === 2).map(row),
    stairs: staircase(x, y).map((i, order) => ({ x: value(x, i), y: value(y, i), order })),
    knees: [...labels].map(([i, label]) => ({ ...row(i), label })),
    chosen: isThere(state.chosen) ? [row(state.chosen)] : [],
  });
  state.chosenRow = row;
  view.addSignalListener("brush", debounced((name, box) => brush(box, x, y)));
  pointAtNearest(view, seen, x, y);
  if (state.brushed) brush({}, x, y);
}

// Points are small: the nearest within reach is meant, one on the front rather than one behind it.
function pointAtNearest(view, seen, x, y) {
  const [left, top] = [0, 1].map((n) => view.origin()[n] + view.padding()[n ? "top" : "left"]);
  const at = seen.map((i) => [i, left + view.scale("x")(value(x, i)), top + view.scale("y")(value(y, i))]);
  const nearest = (event) => {
    const canvas = element("front").querySelector("canvas").getBoundingClientRect();
    let found = null, least = REACH_PX;
    for (const [i, px, py] of at) {
      const distance = Math.hypot(event.clientX - canvas.left - px, event.clientY - canvas.top - py)
        - (points.kind[i] === 2 ? FRONT_AHEAD_PX : 0);
      if (distance < least) [found, least] = [i, distance];
    }
    return found;
  };
  view.addEventListener("pointermove", (event) => {
    const point = event.buttons ? null : nearest(event);
    if (isThere(point)) showTip(event, point);
    else element("tip").hidden = true;
  });
  view.addEventListener("pointerout", () => { element("tip").hidden = true; });
  let pressed = null;
  view.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; });
  view.addEventListener("click", (event) => {
    const isDrag = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 4;
    const point = isDrag ? null : nearest(event);
    if (isThere(point)) choose(point);
  });
}

function colourScale(spec, by) {
  eachEncoding(spec, "c", (channel) => {
    if (!by) {
      channel.scale = { domain: KINDS, range: ["infeasible", "muted", "accent"].map(colour) };
    } else if (by.number && by.levels?.length > NO_LABELS) {
      channel.type = "quantitative";
      if (by.log) channel.scale = { ...channel.scale, type: "log" };
    } else if (!by.isAxis) {
      channel.type = "quantitative";
    } else if (by.number) {
      channel.type = "ordinal";
    } else {
      delete channel.scale;
    }
  });
}

function debounced(action, wait = 120) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), wait);
  };
}

function brush(box, x, y) {
  const inside = (range, number) => !range || (number >= Math.min(...range) && number <= Math.max(...range));
  const drawn = [box.x, box.y].some((side) => side && side[0] !== side[1]);
  state.brushed = drawn
    ? visiblePoints(x, y).filter((i) => inside(box.x, value(x, i)) && inside(box.y, value(y, i)))
    : null;
  element("designs-which").value = drawn ? "brush" : "front";
  drawParallel();
  drawDesigns();
}

function choose(point) {
  state.chosen = point;
  const row = state.chosenRow?.(point);
  if (row) state.views.front?.data("chosen", [row]).runAsync();
  describeChosen();
  fillStarts();
  fillOthers(true);
  drawParallel();
  drawSlices();
  for (const line of element("designs").querySelectorAll("tr[data-point]")) {
    line.classList.toggle("is-chosen", Number(line.dataset.point) === point);
  }
}

function describeChosen() {
  const point = state.chosen;
  if (!isThere(point)) {
    element("chosen").textContent = "Click a point, a line or a row of the table to choose a design.";
    return;
  }
  const texts = columns.filter((column) => isThere(value(column, point)))
    .map((column) => `${column.name} ${shown(column, point)}`);
  element("chosen").replaceChildren(
    make("b", {}, `Chosen: point ${points.number[point]}`), ` (${KINDS[points.kind[point]]}): ${texts.join(", ")}`,
  );
}

// ------------------------------------------------------------------ parallel coordinates

function height(column, raw) {
  if (!isThere(raw)) return null;
  if (!column.number) {
    const last = column.levels.length - 1;
    return last > 0 ? column.levels.indexOf(raw) / last : 0.5;
  }
  const [low, high] = range(column);
  const of = column.log ? Math.log : (number) => number;
  const share = high > low ? (of(raw) - of(low)) / (of(high) - of(low)) : 0.5;
  return column.goal === "minimize" ? 1 - share : share;
}

function range(column) {
  if (!column.range) {
    let low = Infinity, high = -Infinity;
    for (const number of points[column.id]) {
      if (typeof number === "number") {
        low = Math.min(low, number);
        high = Math.max(high, number);
      }
    }
    column.range = [low, high];
  }
  return column.range;
}

function axisLabels(column, name) {
  const at = (raw) => ({ d: name, v: height(column, raw), label: withUnit(raw, column.unit) });
  if (column.isAxis && column.levels.length <= NO_LABELS) return column.levels.map(at);
  const [low, high] = range(column);
  return low <= high ? [at(low), at(high)] : [];
}

// Spread over the whole of a list, always the same ones.
function some(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, n) => list[Math.floor((n * list.length) / most)]);
}

async function drawParallel() {
  const names = columns.map((column) => column.name);
  const all = Array.from({ length: count }, (_, i) => i).filter((i) => points.kind[i] >= 0);
  const front = some(all.filter((i) => points.kind[i] === 2), MOST_LINES);
  const others = state.brushed
    ? some(state.brushed.filter((i) => points.kind[i] < 2), MOST_LINES)
    : some(all.filter((i) => points.kind[i] < 2), MOST_LINES - Math.min(front.length, MOST_LINES - 100));
  const ahead = state.brushed ? some(state.brushed.filter((i) => points.kind[i] === 2), MOST_LINES) : front;
  const lines = [];
  const add = (i, kind, weight, width) => columns.forEach((column, o) => {
    const v = height(column, value(column, i));
    if (v !== null) lines.push({ i, d: names[o], o, v, kind, weight, width });
  });
  others.forEach((i) => add(i, KINDS[points.kind[i]], state.brushed ? 0.6 : 0.18, 1));
  ahead.forEach((i) => add(i, KINDS[2], ahead.length > 60 ? 0.45 : 0.8, 1.3));
  if (isThere(state.chosen)) add(state.chosen, "chosen", 1, 3);
  const spec = filled(charts.parallel, {
    dimensions: names, infeasible: colour("infeasible"), muted: colour("muted"),
    accent: colour("accent"), chosen: colour("chosen"), text: colour("text"), panel: colour("panel"),
  });
  chooseByClick(await draw("parallel", "parallel", spec, {
    lines, labels: columns.flatMap((column, n) => axisLabels(column, names[n])),
  }));
  const which = state.brushed
    ? `the ${plural(state.brushed.length, "point")} in the box drawn above`
    : "the front and an even sample of the others";
  element("parallel-note").textContent =
    `A line is a design: ${which}, at most ${MOST_LINES} lines of each; an objective's better end is on top. Click a line to choose it.`;
}

// -------------------------------------------------------------------------------- slices

const sliceAxis = () => axes.find((axis) => axis.id === element("slice-axis").value);

function starts() {
  const found = [];
  if (isThere(state.chosen)) found.push([state.chosen, "the chosen design"]);
  for (const knee of data.knees) found.push([knee.point, `knee of ${knee.objectives.join(", ")}`]);
  for (const [name, point] of Object.entries(data.best)) found.push([point, `best ${name}`]);
  if (!found.length && count) found.push([0, `point ${points.number[0]}`]);
  return found;
}

function fillStarts() {
  const options = starts();
  fillSelect(element("slice-start"), options.map(([, text], n) => [n, text]), 0);
}

function fillOthers(fromStart) {
  const start = starts()[Number(element("slice-start").value) || 0]?.[0];
  const along = sliceAxis();
  const kept = Object.fromEntries([...element("slice-others").querySelectorAll("select")].map((s) => [s.dataset.axis, s.value]));
  element("slice-others").replaceChildren(...axes.filter((axis) => axis !== along).map((axis) => {
    const own = value(axis, start) ?? null;
    const several = [...axis.levels, ...(axis.always ? [] : [null])];
    const levels = several.length > MOST_OPTIONS
      ? [...new Set([own, ...data.front.map((i) => value(axis, i) ?? null)])].slice(0, MOST_OPTIONS)
      : several;
    const select = make("select", { "data-axis": axis.id, onchange: drawSlices });
    fillSelect(select, levels.map((level) => [JSON.stringify(level), isThere(level) ? withUnit(level, axis.unit) : "not there"]));
    select.value = !fromStart && axis.id in kept ? kept[axis.id] : JSON.stringify(own);
    return make("label", {}, `${axis.name} `, select);
  }));
}

function slicePoints() {
  const along = sliceAxis();
  const wanted = [...element("slice-others").querySelectorAll("select")]
    .map((select) => [axes.find((axis) => axis.id === select.dataset.axis), JSON.parse(select.value || "null")]);
  const found = [];
  for (let i = 0; i < count; i++) {
    if (isThere(value(along, i)) && wanted.every(([axis, level]) => (value(axis, i) ?? null) === level)) found.push(i);
  }
  return found.sort((a, b) => (value(along, a) > value(along, b) ? 1 : -1));
}

// Least, mean and most of an objective over all designs with a value of the axis; numbers of which
// there are many come in 24 bins.
function spans(along, objective) {
  const bins = new Map();
  const [low, high] = along.number ? range(along) : [0, 0];
  const isFine = along.number && along.levels.length > 40;
  const of = along.log ? Math.log : (number) => number;
  for (let i = 0; i < count; i++) {
    const raw = value(along, i), figure = value(objective, i);
    if (!isThere(raw) || !isThere(figure)) continue;
    let key = raw;
    if (isFine) {
      const bin = Math.min(23, Math.floor((24 * (of(raw) - of(low))) / (of(high) - of(low))));
      const middle = of(low) + ((bin + 0.5) / 24) * (of(high) - of(low));
      key = along.log ? Math.exp(middle) : middle;
    }
    const entry = bins.get(key) ?? { x: key, low: figure, high: figure, sum: 0, n: 0 };
    entry.low = Math.min(entry.low, figure);
    entry.high = Math.max(entry.high, figure);
    entry.sum += figure;
    entry.n += 1;
    bins.set(key, entry);
  }
  return [...bins.values()].map((entry) => ({ ...entry, mean: entry.sum / entry.n }));
}

async function drawSlices() {
  const along = sliceAxis();
  if (!along) return;
  const found = slicePoints();
  element("slices").replaceChildren(...objectives.map((objective) => make("div", { id: `slice-${objective.id}`, class: "chart" })));
  for (const objective of objectives) {
    const row = (i) => ({ i, x: value(along, i), y: value(objective, i) });
    const known = found.filter((i) => isThere(value(objective, i)));
    const spec = filled(charts.slice, {
      x: titled(along), y: titled(objective), accent: colour("accent"), muted: colour("muted"), chosen: colour("chosen"),
    });
    setScale(spec, ["x"], along);
    setScale(spec, ["y", "low", "mean"], objective);
    if (!along.number) eachEncoding(spec, "x", (channel) => { channel.sort = along.levels; channel.axis = { labelAngle: 0 }; });
    chooseByClick(await draw(`slice_${objective.name}`, `slice-${objective.id}`, spec, {
      every: spans(along, objective), one: known.map(row),
      chosen: known.includes(state.chosen) ? [row(state.chosen)] : [],
    }));
  }
  const fixed = axes.length > 1 ? "the other axes as chosen" : "no other axis";
  element("slice-note").textContent = found.length > 1
    ? `Line: ${plural(found.length, "design")} with ${fixed}. Grey: least, mean and most over all designs that are drawn.`
    : `No two designs differ in ${along.name} alone with these values, as in most samples that are no grid. Grey: least, mean and most over all designs that are drawn.`;
}

// -------------------------------------------------------------------------------- tables

function drawFigures() {
  const counts = data.counts;
  const total = counts.done + counts.infeasible + counts.failed;
  const entry = (text, label) => make("div", {}, make("b", {}, text), make("span", {}, label));
  const entries = [
    entry(total.toLocaleString("en-US"), `points: ${counts.done} done, ${counts.infeasible} infeasible, ${counts.failed} failed`),
    entry(data.front.length.toLocaleString("en-US"), "designs on the front"),
    entry(isThere(data.hypervolume.share) ? percent(data.hypervolume.share) : "–",
      "hypervolume, of the box between the reference and the best of each"),
  ];
  for (const objective of objectives) {
    const point = data.best[objective.name];
    if (isThere(point)) entries.push(entry(shown(objective, point), `best ${objective.name}: point ${points.number[point]}`));
  }
  element("figures").replaceChildren(...entries);
}

function drawEffects() {
  const byAxis = new Map(axes.map((axis) => [axis.name, new Map()]));
  for (const effect of data.effects) byAxis.get(effect.axis)?.set(effect.objective, effect);
  const most = (axis) => Math.max(0, ...[...byAxis.get(axis.name).values()].map((effect) => effect.share ?? 0));
  const head = [make("th", {}, "axis"), ...objectives.map((objective) => make("th", {}, objective.name))];
  const rows = [...axes].sort((a, b) => most(b) - most(a)).map((axis) => make("tr", {}, make("td", {}, axis.name),
    ...objectives.map((objective) => effectCell(byAxis.get(axis.name).get(objective.name), objective, axis))));
  fillTable(element("effects"), head, rows);
  const isGrid = data.effects.length && data.effects.every((effect) => effect.estimator === "grid");
  element("effects-note").textContent =
    "Share of an objective's variance that an axis explains by itself (main effect, first-order Sobol' index); "
    + "below it what the mean does from the lowest to the highest level (of names: from the lowest to the highest mean). "
    + (isGrid
      ? "Exact over the full grid; what is missing to 100 % is interaction of axes."
      : "Estimated from an incomplete or random sample: epsilon squared over levels, or over 8 bins of equally many points; in an adaptive sample shares may overlap.");
}

function effectCell(effect, objective, axis) {
  if (!effect || !isThere(effect.share)) return make("td", { class: "share" }, make("span", {}, "–"));
  const sign = effect.change > 0 ? "+" : effect.change < 0 ? "−" : "";
  const size = withUnit(Math.abs(effect.change ?? 0), objective.unit);
  const from = (text) => (axis.number && !text.includes(" to ") ? withUnit(Number(text), axis.unit) : text);
  return make("td", { class: "share" },
    make("i", { style: `width:${(100 * effect.share).toFixed(1)}%` }), make("span", {}, percent(effect.share)),
    make("small", {}, isThere(effect.change) ? `${sign}${size}: ${from(effect.low)} → ${from(effect.high)}` : ""));
}

function badges(point) {
  const found = [];
  for (const knee of data.knees.filter((entry) => entry.point === point)) {
    const isWhole = knee.objectives.length === objectives.length;
    found.push(make("span", { class: "badge knee" }, isWhole ? "knee" : `knee ${knee.objectives.join(" / ")}`));
  }
  for (const [name, best] of Object.entries(data.best)) {
    if (best === point) found.push(make("span", { class: "badge best" }, `best ${name}`));
  }
  return found;
}

function listedDesigns() {
  const isBrush = element("designs-which").value === "brush" && state.brushed;
  const list = [...(isBrush ? state.brushed : data.front)];
  if (state.order) {
    const { column, turned } = state.order;
    const of = (i) => value(column, i);
    list.sort((a, b) => (isThere(of(a)) ? 0 : 1) - (isThere(of(b)) ? 0 : 1)
      || (of(a) > of(b) ? 1 : of(a) < of(b) ? -1 : 0) * (turned ? -1 : 1));
  }
  return list;
}

function drawDesigns() {
  const list = listedDesigns();
  const sorted = (column) => (state.order?.column === column ? (state.order.turned ? " ▼" : " ▲") : "");
  const sortBy = (column) => () => {
    state.order = { column, turned: state.order?.column === column && !state.order.turned };
    drawDesigns();
  };
  const order = [...objectives, ...axes];
  const head = [
    make("th", { class: "number" }, "point"),
    ...order.map((column) => make("th", {
      class: `sortable${column.number ? " number" : ""}`, onclick: sortBy(column), title: "sort",
    }, column.name + sorted(column))),
    make("th", {}, ""),
  ];
  const rows = list.slice(0, MOST_ROWS).map((i) => make("tr", {
    class: `pick${i === state.chosen ? " is-chosen" : ""}`, "data-point": i, tabindex: 0,
    onclick: () => choose(i), onkeydown: (event) => event.key === "Enter" && choose(i),
  },
  make("td", { class: "number" }, String(points.number[i])),
  ...order.map((column) => make("td", { class: column.number ? "number" : "" }, shown(column, i))),
  make("td", {}, ...badges(i))));
  fillTable(element("designs"), head, rows);
  const isBrush = element("designs-which").value === "brush";
  element("designs-title").textContent = isBrush ? "Designs in the box" : "Designs on the front";
  element("designs-note").textContent = isBrush && !state.brushed
    ? "Draw a box on the front to list what is in it; until then this is the front."
    : list.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${list.length}; azsim sweep export writes all.` : `${plural(list.length, "design")}.`;
}

function copyDesigns() {
  const order = [...objectives, ...axes];
  const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [["point", ...order.map(titled)], ...listedDesigns().map((i) => [points.number[i], ...order.map((column) => value(column, i) ?? "")])];
  navigator.clipboard?.writeText(lines.map((line) => line.map((entry) => cell(String(entry))).join(",")).join("\n") + "\n");
}

function drawTroubles() {
  element("troubles-section").hidden = !data.troubles.length;
  const head = ["state", "points", "first", "message"].map((text, n) => make("th", { class: n === 1 || n === 2 ? "number" : "" }, text));
  fillTable(element("troubles"), head, data.troubles.map((trouble) => make("tr", {},
    make("td", {}, trouble.state), make("td", { class: "number" }, trouble.points.toLocaleString("en-US")),
    make("td", { class: "number" }, String(trouble.number)), make("td", { class: "message" }, trouble.message))));
  element("troubles-note").textContent = "Messages that differ in numbers alone count together; the first is shown."
    + (data.more_troubles ? ` And ${plural(data.more_troubles, "other message")}.` : "");
}

function drawDefinitions() {
  const head = ["name", "what", "unit", "goal", "definition", "kind", "hypervolume from"].map((text) => make("th", {}, text));
  const cells = (texts) => make("tr", {}, ...texts.map((text) => make("td", {}, text)));
  const rows = [
    ...objectives.map((objective) => cells([
      objective.name, objective.key, objective.unit || "1", objective.goal, objective.meaning || "as written",
      objective.modelled ? "modelled" : "exact", withUnit(objective.reference, objective.unit)])),
    ...axes.map((axis) => cells([axis.name, axis.target, axis.unit, "axis",
      axis.levels.length > NO_LABELS && axis.number
        ? `${axis.levels.length} values from ${withUnit(axis.levels[0], axis.unit)} to ${withUnit(axis.levels.at(-1), axis.unit)}`
        : axis.levels.map((level) => withUnit(level, axis.unit)).join(", "), "", ""])),
  ];
  fillTable(element("definitions"), head, rows);
  const drawn = data.drawn;
  const texts = [
    data.exact,
    "A point is on the front if no feasible point is as good in every objective and better in one.",
    "Hypervolume: the volume that the front dominates, up to a reference point 1 % of the range behind the worst feasible figures; exact (WFG algorithm). Here " + `${digits(data.hypervolume.value ?? 0)} ${data.hypervolume.unit}.`,
    "Knee: the point of the front that is furthest before the plane through the front's extremes, each objective scaled to the front's range (Das 1999). Where there are more than two objectives, every pair has one of its own.",
  ];
  if (drawn.points < drawn.of) texts.push(`${drawn.points.toLocaleString("en-US")} of ${drawn.of.toLocaleString("en-US")} points are drawn: the whole front and a random sample of the others; all tables and figures but the grey spans of slices are of all points.`);
  if (drawn.shorter) texts.push(`${plural(drawn.shorter, "point")} ran on shorter input (a lower rung) and are only counted.`);
  if (drawn.incomplete) texts.push(`${plural(drawn.incomplete, "point")} ran to the end but lack a figure (such as the SQNR of an output without any error), and so are on no front; they are drawn as infeasible ones.`);
  element("explanations").replaceChildren(...texts.map((text) => make("li", {}, text)));
}

// --------------------------------------------------------------------------------- start

function theme() {
  const set = document.documentElement.dataset.theme;
  return set ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

async function drawCharts() {
  element("theme").textContent = theme() === "dark" ? "light" : "dark";
  await drawFront();
  await drawParallel();
  await drawSlices();
}

function start() {
  if (location.hash === "#dark" || location.hash === "#light") {
    document.documentElement.dataset.theme = location.hash.slice(1);
  }
  element("name").textContent = data.name;
  element("about").textContent = Object.entries(data.about).map(([key, text]) => `${key}: ${text}`).join("  ·  ");
  const choices = objectives.map((objective) => [objective.id, objective.name]);
  const all = [...choices, ...axes.filter((axis) => axis.number).map((axis) => [axis.id, axis.name])];
  fillSelect(element("front-x"), all, objectives[0]?.id);
  fillSelect(element("front-y"), all, (objectives[1] ?? all.map(([id]) => columns.find((c) => c.id === id)).find((c) => c.isAxis))?.id);
  fillSelect(element("front-colour"), [["", "front, dominated, infeasible"], ...columns.map((column) => [column.id, column.name])], "");
  fillSelect(element("slice-axis"), axes.map((axis) => [axis.id, axis.name]),
    axes.find((axis) => axis.name === data.effects[0]?.axis)?.id);
  const whole = data.knees.find((knee) => knee.objectives.length === objectives.length);
  state.chosen = whole?.point ?? data.front[0] ?? null;
  fillStarts();
  fillOthers(true);
  describeChosen();
  drawFigures();
  drawEffects();
  drawDesigns();
  drawTroubles();
  drawDefinitions();
  element("front-note").textContent = "Ringed in colour: designs that nobody beats in all objectives together; the line joins those that nobody beats in the two that are shown. Draw a box to select, click to choose.";
  for (const id of ["front-x", "front-y", "front-colour", "front-show"]) {
    element(id).addEventListener("change", () => { state.brushed = null; drawFront(); });
  }
  element("slice-axis").addEventListener("change", () => { fillOthers(true); drawSlices(); });
  element("slice-start").addEventListener("change", () => { fillOthers(true); drawSlices(); });
  element("designs-which").addEventListener("change", drawDesigns);
  element("designs-csv").addEventListener("click", copyDesigns);
  element("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    drawCharts();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  drawCharts().then(() => { document.body.dataset.drawn = "yes"; });
}

start();
