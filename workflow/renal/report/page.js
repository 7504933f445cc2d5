"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

// -- tables: a click on a head sorts by its column, another one the other way -----------------------

const missing = (text) => text === "" || text === "-";

// The number that a cell begins with, as in "0.912 [0.90, 0.93]" or "< 0.0001"; else not a number.
const number = (text) => parseFloat(text.replace(/^< /, ""));

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, text: row.cells[column].textContent.trim() }));
  const known = rows.filter(({ text }) => !missing(text));
  const numeric = known.every(({ text }) => !Number.isNaN(number(text)));
  const compare = numeric
    ? (a, b) => number(a.text) - number(b.text)
    : (a, b) => a.text.localeCompare(b.text, "en", { numeric: true });
  known.sort((a, b) => direction * compare(a, b));
  // What is missing comes last either way.
  for (const { row } of [...known, ...rows.filter(({ text }) => missing(text))]) body.append(row);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, column, ascending ? 1 : -1);
    });
  });
}

// -- the viewer: a slice of the CT, and outlines that are switched on and off -----------------------

const canvas = document.getElementById("canvas");
const slider = document.getElementById("slice");
const chooser = document.getElementById("case");
const told = document.getElementById("told");
const sheets = new Map(); // case to its image, once it was looked at
const regions = Object.keys(data.regions);
let shown = data.cases[0];

const isOn = (kind, name) => document.getElementById(`${kind}-${name}`).checked;

function draw() {
  const sheet = sheets.get(shown.name);
  if (!sheet || !sheet.complete) return;
  const { width, height, columns, units } = shown;
  const slice = Number(slider.value);
  // Whole pixels of the canvas for each of the CT, about as many as a screen shows.
  const zoom = Math.max(1, Math.round(1024 / width));
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  const context = canvas.getContext("2d");
  const [left, top] = [(slice % columns) * width, Math.floor(slice / columns) * height];
  context.drawImage(sheet, left, top, width, height, 0, 0, canvas.width, canvas.height);
  context.setTransform(zoom / units, 0, 0, zoom / units, 0, 0);
  const pixel = units / zoom;
  const on = Object.keys(data.lines).filter((name) => isOn("line", name));
  for (const name of on) {
    const { colour, dash } = data.lines[name];
    context.strokeStyle = colour;
    context.setLineDash(dash.map((length) => 2 * length * pixel));
    regions.forEach((region, depth) => {
      const paths = shown.outlines[name][region];
      if (!paths || !isOn("region", region)) return;
      context.lineWidth = (2 + 1.5 * depth) * pixel;
      context.stroke(new Path2D(paths[slice]));
    });
  }
  const place = `${shown.slices[slice]} of the CT (${slice + 1} of ${shown.slices.length} shown)`;
  told.textContent = place;
  slider.setAttribute("aria-valuetext", place);
  const outlines = on.map((name) => data.lines[name].title).join(", ") || "none";
  canvas.setAttribute("aria-label", `${shown.name}, slice ${place}, outlines: ${outlines}`);
}

// The slice on which the truth's innermost region is longest, as a start.
function first() {
  const lengths = regions.map((region) => (shown.outlines[data.truth][region] || []).map((p) => p.length));
  const inner = lengths.reverse().find((all) => Math.max(0, ...all) > 0);
  return inner ? inner.indexOf(Math.max(...inner)) : Math.floor(shown.slices.length / 2);
}

function show(name) {
  shown = data.cases.find((entry) => entry.name === name);
  slider.max = shown.slices.length - 1;
  slider.value = first();
  for (const line of Object.keys(data.lines)) {
    document.getElementById(`dice-${line}`).textContent = shown.dice[line] || "";
  }
  if (!sheets.has(name)) {
    const sheet = new Image();
    sheet.addEventListener("load", draw);
    sheet.src = shown.sheet;
    sheets.set(name, sheet);
  }
  draw();
}

function scroll(to) {
  slider.value = to; // which the slider keeps within its ends
  draw();
}

// A box to tick, with a piece of its line where it has one; all text is text, never markup.
function addSwitch(kind, name, title, checked, line) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked });
  box.id = `${kind}-${name}`;
  box.addEventListener("change", draw);
  const label = document.createElement("label");
  label.htmlFor = box.id;
  label.append(box);
  if (line) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [key, value] of [["width", 36], ["height", 14], ["aria-hidden", true]]) {
      svg.setAttribute(key, value);
    }
    stroke.setAttribute("d", "M2 7h32");
    stroke.setAttribute("stroke", line.colour);
    stroke.setAttribute("stroke-width", 2.5);
    stroke.setAttribute("stroke-dasharray", line.dash.join(" "));
    svg.append(stroke);
    label.append(svg);
  }
  label.append(title);
  if (line) {
    const dice = Object.assign(document.createElement("div"), { className: "dice" });
    dice.id = `dice-${name}`;
    label.append(dice);
  }
  document.getElementById(`${kind}s`).append(label);
}

const KEYS = {
  ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1,
  PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity,
};

if (shown) {
  Object.entries(data.lines).forEach(([name, line], place) => {
    const title = name === data.truth ? line.title : `${line.title} (${name})`;
    addSwitch("line", name, title, place < 2, line);
  });
  for (const [name, title] of Object.entries(data.regions)) addSwitch("region", name, title, true);
  for (const { name, why } of data.cases) chooser.append(new Option(`${name}: ${why}`, name));
  chooser.addEventListener("change", () => show(chooser.value));
  slider.addEventListener("input", draw);
  // What is read out as the slider's own value need not be told once more.
  slider.addEventListener("focus", () => told.setAttribute("aria-live", "off"));
  slider.addEventListener("blur", () => told.removeAttribute("aria-live"));
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    scroll(Number(slider.value) + Math.sign(event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const last = Number(slider.max);
    scroll(Math.min(Math.max(Number(slider.value) + KEYS[event.key], 0), last));
  });
  show(shown.name);
}
