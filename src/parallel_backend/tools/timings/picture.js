// Part of the page: the picture of the job slots, and what is chosen in it.

const chart = get("chart"), slots = get("slots"), jobs = get("jobs");
const GUTTER = 64, AXIS = 24;
const tall = data.rows <= 8 ? 26 : data.rows <= 32 ? 18 : data.rows <= 96 ? 11 : 5;
const waits = units.filter((unit) => unit.kind === "wait");
const lanes = data.rows + (waits.length ? 1 : 0);
const HIDDEN = new Set(["hook", "project", "command", "step", "wait"]);
const byRow = Array.from({ length: lanes }, () => []);
for (const unit of units) byRow[unit.row >= 0 ? unit.row : lanes - 1].push(unit);
let from = 0, to = data.length || 1, chosen = null, colors = {};

const width = () => slots.clientWidth - GUTTER;
const xOf = (time) => GUTTER + (time - from) / (to - from) * width();
const timeOf = (x) => from + (x - GUTTER) / width() * (to - from);

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["page", "card", "ink", "soft", "line", "grid", "focus", "compile",
    "reused", "link", "translation", "recorder", "serial", "program", "failed", "wait", "on",
    "on-light", "area"]) colors[name] = style.getPropertyValue("--" + name).trim();
}

function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = height + "px";
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.font = "11px system-ui, sans-serif";
  ctx.textBaseline = "middle";
  ctx.fillStyle = colors.card;
  ctx.fillRect(0, 0, canvas.clientWidth, height);
  return ctx;
}

const SHADES = { archive: "link", swig: "program" };
const fill = (unit) => unit.result === "failed" ? "failed" :
  unit.result === "reused" ? "reused" : SHADES[unit.kind] || unit.kind;

function hatch(ctx, x, y, w, h, color) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, w, h);
  ctx.clip();
  ctx.strokeStyle = color;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let at = x - h; at < x + w; at += 5) {
    ctx.moveTo(at, y + h);
    ctx.lineTo(at + h, y);
  }
  ctx.stroke();
  ctx.restore();
}

function label(ctx, text, x, y, w, h, color) {
  const left = Math.max(x, GUTTER);
  const room = Math.min(x + w, slots.clientWidth) - left - 8;
  if (room < 24 || h < 11) return;
  let shown = text;
  if (ctx.measureText(shown).width > room) {
    let end = Math.floor(shown.length * room / ctx.measureText(shown).width);
    shown = shown.slice(0, Math.max(1, end - 1)) + "…";
    if (end < 3) return;
  }
  ctx.fillStyle = color;
  ctx.fillText(shown, left + 4, y + h / 2 + 0.5);
}

function block(ctx, unit) {
  const x = xOf(unit.begin), w = Math.max(1, xOf(unit.end) - x);
  if (x > slots.clientWidth || x + w < GUTTER) return;
  const top = AXIS + unit.row * tall, h = tall - (tall > 8 ? 3 : 1);
  const color = fill(unit);
  ctx.fillStyle = colors[color];
  const inner = w > 4 ? w - 1 : w;  // a gap between neighbours that are wide enough
  ctx.fillRect(x, top, inner, h);
  if (unit.result === "failed" && w > 4) hatch(ctx, x, top, inner, h, colors.on);
  if (unit.result === "reused" && w > 4) hatch(ctx, x, top, inner, h, colors.compile);
  if (unit.result === "again" && w > 4) hatch(ctx, x, top, inner, h, colors.failed);
  const light = color === "reused" || color === "recorder";
  label(ctx, short(unit.name), x, top, w, h, light ? colors["on-light"] : colors.on);
}

function step(space) {
  const rough = (to - from) / Math.max(2, space / 90);
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
}

function grid(ctx, height) {
  const wide = step(width());
  const digits = Math.max(0, -Math.floor(Math.log10(wide) + 1e-9));
  ctx.strokeStyle = colors.grid;
  ctx.fillStyle = colors.soft;
  ctx.lineWidth = 1;
  for (let at = Math.ceil(from / wide) * wide; at <= to + 1e-9; at += wide) {
    const x = Math.round(xOf(at)) + 0.5;
    ctx.beginPath();
    ctx.moveTo(x, AXIS - 4);
    ctx.lineTo(x, height);
    ctx.stroke();
    const text = at.toFixed(digits) + " s";
    if (x + ctx.measureText(text).width < slots.clientWidth) ctx.fillText(text, x + 3, 9);
  }
}

function drawSlots() {
  const height = AXIS + lanes * tall + 4;
  const ctx = prepare(slots, height);
  grid(ctx, height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(GUTTER, 0, width(), height);
  ctx.clip();
  for (const [row, begin, end] of data.serial) {
    const x = xOf(begin), w = xOf(end) - x;
    ctx.fillStyle = colors.serial;
    ctx.fillRect(x, AXIS + row * tall, Math.max(w, 0.5), tall - (tall > 8 ? 3 : 1));
    if (w > 40) label(ctx, inner(row, begin, end), x, AXIS + row * tall, w, tall - 3, colors.on);
  }
  for (const kind of ["recorder", "translation", "compile", "program", "swig", "archive", "link"]) {
    for (const unit of units) if (unit.kind === kind) block(ctx, unit);
  }
  ctx.fillStyle = colors.soft;
  if (tall > 8) {
    for (const unit of units) {
      if (unit.kind === "hook") {
        const x = xOf(unit.begin);
        ctx.fillRect(x, AXIS + (unit.row + 1) * tall - 2, Math.max(1, xOf(unit.end) - x), 1);
      }
    }
  }
  for (const unit of waits) {
    const x = xOf(unit.begin), w = Math.max(1, xOf(unit.end) - x);
    ctx.fillStyle = colors.wait;
    ctx.fillRect(x, AXIS + (data.rows + 0.25) * tall, w, Math.ceil(tall / 2) - 1);
  }
  if (chosen) outline(ctx, chosen);
  ctx.restore();
  ctx.fillStyle = colors.soft;
  const each = Math.ceil(11 / tall);
  for (let row = 0; row < data.rows; row += each) {
    ctx.fillText("slot " + (row + 1), 4, AXIS + row * tall + Math.max(tall, 8) / 2);
  }
  if (waits.length) ctx.fillText("waiting", 4, AXIS + data.rows * tall + tall / 2);
}

function inner(row, begin, end) {
  let best = null;
  const middle = (begin + end) / 2;
  for (const unit of byRow[row]) {
    if (unit.begin > middle) break;
    if (unit.end >= middle && (!best || unit.length <= best.length)) best = unit;
  }
  return best ? (best.kind === "hook" || best.kind === "project" ? "setup.py" : best.name) : "";
}

function outline(ctx, unit) {
  const x = xOf(unit.begin), w = Math.max(3, xOf(unit.end) - x);
  const row = unit.row >= 0 ? unit.row : lanes - 1;
  ctx.lineWidth = 3;
  ctx.strokeStyle = colors.card;
  ctx.strokeRect(x - 1, AXIS + row * tall - 1, w + 1, tall - 1);
  ctx.lineWidth = 2;
  ctx.strokeStyle = colors.ink;
  ctx.strokeRect(x - 1, AXIS + row * tall - 1, w + 1, tall - 1);
  ctx.lineWidth = 1;
}

function drawJobs() {
  const height = 96, bottom = height - 8, top = 14;
  const ctx = prepare(jobs, height);
  const most = Math.max(data.slots, ...levels.map(([number]) => number), 1);
  const yOf = (number) => bottom - (bottom - top) * number / most;
  // Of many changes within one pixel the average is what can be seen.
  const pixels = Math.max(1, Math.floor(width()));
  const sums = new Float64Array(pixels);
  for (const [begin, end, number] of data.jobs) {
    const a = Math.max(0, (begin - from) / (to - from) * pixels);
    const b = Math.min(pixels, (end - from) / (to - from) * pixels);
    for (let at = Math.floor(a); at < b; at += 1) {
      sums[at] += number * (Math.min(b, at + 1) - Math.max(a, at));
    }
  }
  ctx.fillStyle = colors.area;
  for (let at = 0; at < pixels; at += 1) {
    const y = yOf(sums[at]);
    ctx.fillRect(GUTTER + at, y, 1.02, bottom - y);
  }
  ctx.strokeStyle = colors.soft;
  ctx.setLineDash([3, 3]);
  ctx.beginPath();
  ctx.moveTo(GUTTER, Math.round(yOf(data.slots)) - 0.5);
  ctx.lineTo(slots.clientWidth, Math.round(yOf(data.slots)) - 0.5);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.moveTo(GUTTER, bottom + 0.5);
  ctx.lineTo(slots.clientWidth, bottom + 0.5);
  ctx.stroke();
  ctx.fillStyle = colors.soft;
  ctx.fillText(count(data.slots, "job"), 4, yOf(data.slots));
  ctx.fillText("0", 4, bottom - 2);
}

function legend() {
  const shown = [["compile", "compile"], ["reused", "reused (cache hit)"], ["link", "link, archive"],
    ["translation", "translation"], ["recorder", "finding out what will run"],
    ["program", "another program"], ["serial", "setup.py and setuptools"],
    ["failed", "failed"], ["again", "ran in vain, and again"], ["wait", "wait for a job token"]];
  const there = new Set(["serial", ...units.map(fill), ...units.map((unit) => unit.result)]);
  get("legend").replaceChildren();
  for (const [kind, text] of shown) {
    if (!there.has(kind)) continue;
    const item = make("li"), sample = make("canvas");
    sample.width = 36;
    sample.height = 24;
    const ctx = sample.getContext("2d");
    ctx.fillStyle = colors[kind === "again" ? "compile" : kind];
    ctx.fillRect(0, 0, 36, 24);
    const lines = { failed: "on", reused: "compile", again: "failed" }[kind];
    if (lines) hatch(ctx, 0, 0, 36, 24, colors[lines]);
    sample.setAttribute("aria-hidden", "true");
    item.append(sample, make("span", text));
    get("legend").append(item);
  }
  for (const [share, kind] of shares) share.style.background = colors[SHADES[kind] || kind];
}

let asked = false;
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; drawSlots(); drawJobs(); });
}

// --- what is chosen

function choose(unit, isFar) {
  if (chosen && chosen.line) chosen.line.classList.remove("chosen");
  chosen = unit;
  get("details").textContent = sentence(unit);
  if (unit.line) unit.line.classList.add("chosen");
  const span = to - from;
  if (unit.begin > to || unit.end < from || (unit.length < span && (unit.begin < from ||
      unit.end > to))) look(unit.begin + unit.length / 2 - span / 2, span);
  if (isFar) {
    chart.scrollIntoView({ block: "center" });
    chart.focus({ preventScroll: true });
  }
  draw();
}

function look(begin, span) {
  const all = data.length || 1;
  const kept = Math.min(all, Math.max(all / 1e5, span));
  from = Math.min(Math.max(0, begin), all - kept);
  to = from + kept;
  draw();
}

function zoom(factor, around) {
  const middle = around !== undefined ? around : chosen && chosen.begin >= from &&
    chosen.end <= to ? chosen.begin + chosen.length / 2 : (from + to) / 2;
  look(middle - (middle - from) / factor, (to - from) / factor);
}

const rowOf = (unit) => unit.row >= 0 ? unit.row : lanes - 1;
const walk = byRow.map((row) => {
  const seen = row.filter((unit) => !HIDDEN.has(unit.kind));
  return seen.length ? seen : row;
});

function move(rows, along) {
  if (!chosen) {
    const first = walk.find((row) => row.length);
    if (first) choose(first[0]);
    return;
  }
  let at = rowOf(chosen);
  if (rows) {
    do at += rows; while (walk[at] && !walk[at].length);
    if (!walk[at]) return;
    const time = chosen.begin;
    choose(walk[at].reduce((best, unit) =>
      Math.abs(unit.begin - time) < Math.abs(best.begin - time) ? unit : best));
    return;
  }
  const row = walk[at], here = row.indexOf(chosen);
  const next = here >= 0 ? here + along :
    row.findIndex((unit) => unit.begin >= chosen.begin) + (along < 0 ? -1 : 0);
  if (row[next]) choose(row[next]);
}

chart.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const span = to - from;
  const row = walk[chosen ? rowOf(chosen) : 0] || [];
  const sideways = (sign) => event.shiftKey ? look(from + sign * span / 5, span) : move(0, sign);
  const keys = {
    ArrowRight: () => sideways(1), ArrowLeft: () => sideways(-1),
    ArrowDown: () => move(1, 0), ArrowUp: () => move(-1, 0),
    Home: () => row.length && choose(row[0]),
    End: () => row.length && choose(row[row.length - 1]),
    "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5),
    0: () => look(0, data.length || 1),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

function at(event) {
  const box = slots.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top - AXIS) / tall);
  const time = timeOf(event.clientX - box.left), near = 2 * (to - from) / width();
  let best = null;
  for (const unit of byRow[row] || []) {
    if (unit.begin - near <= time && unit.end + near >= time &&
        (!best || unit.length < best.length)) best = unit;
  }
  return best;
}
slots.addEventListener("click", (event) => {
  const unit = at(event);
  if (unit) choose(unit);
});
slots.addEventListener("mousemove", (event) => {
  const unit = at(event);
  slots.title = unit ? sentence(unit) : "";
});
slots.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.25 : 0.8, timeOf(event.clientX - slots.getBoundingClientRect().left));
}, { passive: false });
get("zoom-in").addEventListener("click", () => zoom(2));
get("zoom-out").addEventListener("click", () => zoom(0.5));
get("zoom-all").addEventListener("click", () => look(0, data.length || 1));
