// Part of the page: what is said in words. All parts are one script, in one scope.

const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const make = (tag, text, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
};
const FIELDS = ["kind", "name", "project", "extension", "row", "begin", "length", "cpu", "peak",
  "isMost", "result", "error", "run", "why"];
const units = data.units.map((values, number) => {
  const unit = { number };
  FIELDS.forEach((field, at) => { unit[field] = values[at]; });
  unit.end = unit.begin + unit.length;
  return unit;
});
const isMany = data.projects.length > 1;
const RESULTS = { done: "done", reused: "reused", failed: "failed", cancelled: "cancelled",
  again: "ran in vain, and again" };
const KINDS = { compile: "compile", link: "link", translation: "translation",
  archive: "archive", swig: "SWIG", recorder: "recorder", program: "program", command: "command",
  hook: "hook", project: "project", step: "step", wait: "wait for a token" };

// --- words

const seconds = (value) => value === null ? "" : value.toFixed(value < 10 ? 3 : 2);
const clock = (value) => (value < 1 ? value.toFixed(2) : value.toFixed(1)) + "\u00a0s";
const percent = (value) => (100 * value).toFixed(value < 0.1 ? 1 : 0) + "\u00a0%";
const memory = (unit) => unit.peak === null ? "" :
  (unit.isMost ? "≤ " : "") + (unit.peak / 1048576).toFixed(unit.peak < 10485760 ? 1 : 0);
const count = (number, noun) => number + " " + noun + (number === 1 ? "" : "s");
const short = (name) => name.slice(name.lastIndexOf("/") + 1);

function sentence(unit) {
  const parts = [KINDS[unit.kind] + " " + unit.name];
  if (unit.extension) parts.push("of extension " + unit.extension);
  if (isMany) parts.push("in " + data.projects[unit.project]);
  parts.push(clock(unit.length) + ", from " + clock(unit.begin) + " to " + clock(unit.end));
  if (unit.row >= 0) parts.push("job slot " + (unit.row + 1));
  if (unit.cpu !== null) parts.push(seconds(unit.cpu) + " CPU seconds");
  if (unit.peak !== null) parts.push("peak memory " + memory(unit) + " MiB");
  if (unit.run) parts.push("ran " + unit.run);
  if (unit.why) parts.push((unit.kind === "recorder" ? "stopped: " : "") + unit.why);
  parts.push(RESULTS[unit.result]);
  if (unit.error) parts.push(unit.error);
  return parts.join("; ") + ".";
}

// --- the head, the limits, the path

document.title = "Timings of " + data.title;
get("title").textContent = data.title;
for (const [name, value] of data.told) {
  const pair = make("div");
  pair.append(make("dt", name), make("dd", value));
  get("told").append(pair);
}
for (const [kind, title, text, advice] of data.verdicts) {
  const item = make("li", undefined, kind);
  item.append(make("h3", title), make("p", text));
  if (advice) item.append(make("p", "What to do: " + advice, "advice"));
  get("limits").append(item);
}
if (!data.verdicts.length) get("limits").append(make("li", "Nothing in particular."));

const whole = data.path.reduce((sum, step) => sum + step[2], 0);
get("path-text").textContent = "What must follow each other takes " + clock(whole) + " of " +
  clock(data.length) + ": so long this build takes, however many job slots it has.";
const shares = [];
for (const [kind, text, length, number] of data.path) {
  const item = make("li");
  if (number >= 0) {
    const button = make("button", text);
    button.type = "button";
    button.addEventListener("click", () => { choose(units[number], true); });
    item.append(make("span", KINDS[kind] + " "), button);
  } else item.append(make("span", text));
  item.append(make("span", clock(length) + ", " + percent(length / (data.length || 1)), "time"));
  const share = make("span", undefined, "share");
  share.style.width = 100 * length / (data.length || 1) + "%";
  shares.push([share, kind]);
  item.append(share);
  get("path").append(item);
}

// --- how many slots were at work

const times = new Map();
let known = 0;
for (const [begin, end, number] of data.jobs) {
  times.set(number, (times.get(number) || 0) + end - begin);
  known += end - begin;
}
if (data.length - known > 1e-6) times.set(0, (times.get(0) || 0) + data.length - known);
const levels = [...times].sort((one, other) => other[0] - one[0]);
for (const [number, time] of levels) {
  const row = make("tr");
  const head = make("th", number);
  head.scope = "row";
  row.append(head, make("td", clock(time)), make("td", percent(time / (data.length || 1))));
  get("levels").tBodies[0].append(row);
}
get("level-details").open = levels.length <= 6;
const work = levels.reduce((sum, [number, time]) => sum + number * time, 0);
get("chart-text").textContent = count(units.length, "unit") + " in " + clock(data.length) +
  " on " + count(data.slots, "job slot") + ": on average " +
  (work / (data.length || 1)).toFixed(2) + " slots were at work." +
  (data.rows < data.slots ? " Slots " + (data.rows + 1) + " to " + data.slots +
    " were never used." : "");
