// Part of the page: the table of units; and the start.

const COLUMNS = [
  ["name", "Unit"], ["kind", "Kind"], ["extension", "Extension"],
  ...(isMany ? [["project", "Project"]] : []),
  ["begin", "Start, s", true], ["length", "Time, s", true], ["cpu", "CPU, s", true],
  ["peak", "Peak, MiB", true], ["row", "Slot", true], ["result", "Result"],
];
const FIRST = 200;
let sorted = "length", isUp = false, most = FIRST;

const cells = {
  kind: (unit) => KINDS[unit.kind], project: (unit) => data.projects[unit.project],
  begin: (unit) => seconds(unit.begin), length: (unit) => seconds(unit.length),
  cpu: (unit) => seconds(unit.cpu), peak: memory,
  row: (unit) => unit.row >= 0 ? unit.row + 1 : "", result: (unit) => RESULTS[unit.result],
};

function lineOf(unit) {
  if (unit.line) return unit.line;
  const line = unit.line = make("tr");
  for (const [field, , isNumber] of COLUMNS) {
    if (field === "name") {
      const cell = make("td", undefined, "name"), button = make("button", unit.name);
      button.type = "button";
      button.addEventListener("click", () => choose(unit, true));
      cell.append(button);
      line.append(cell);
    } else {
      const text = cells[field] ? cells[field](unit) : unit[field];
      line.append(make("td", text, isNumber ? "number" :
        field === "result" && unit.result === "failed" ? "failed" : ""));
    }
  }
  if (unit === chosen) line.classList.add("chosen");
  return line;
}

function compare(one, other) {
  const a = one[sorted], b = other[sorted];
  if (a === null || b === null) return (a === null) - (b === null);  // unknown: last either way
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return isUp ? order : -order;
}

function fillTable() {
  const words = get("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = get("kind").value;
  const found = units.filter((unit) => (!kind || unit.kind === kind || unit.result === kind ||
    (kind === "built" && !HIDDEN.has(unit.kind))) &&
    words.every((word) => (unit.name + " " + unit.extension + " " +
      (isMany ? data.projects[unit.project] : "")).toLowerCase().includes(word)));
  found.sort(compare);
  const shown = found.slice(0, most);
  get("units").tBodies[0].replaceChildren(...shown.map(lineOf));
  get("count").textContent = shown.length < found.length ?
    shown.length + " of " + found.length + " units shown" : count(found.length, "unit");
  get("more").hidden = shown.length === found.length;
  get("more").textContent = "Show all " + found.length;
  for (const head of get("units").tHead.rows[0].cells) {
    if (head.dataset.field !== sorted) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  }
}

const heads = make("tr");
for (const [field, text, isNumber] of COLUMNS) {
  const head = make("th", undefined, isNumber ? "number" : ""), button = make("button", text);
  head.scope = "col";
  head.dataset.field = field;
  button.type = "button";
  button.addEventListener("click", () => {
    isUp = sorted === field ? !isUp : !isNumber;
    sorted = field;
    fillTable();
  });
  head.append(button);
  heads.append(head);
}
get("units").tHead.append(heads);
const option = (value, text) => {
  const made = make("option", text);
  made.value = value;
  return made;
};
get("kind").append(option("built", "what was built"), option("", "all"));
for (const kind of Object.keys(KINDS)) {
  if (units.some((unit) => unit.kind === kind)) get("kind").append(option(kind, KINDS[kind]));
}
for (const result of ["reused", "failed", "cancelled"]) {
  if (units.some((unit) => unit.result === result)) {
    get("kind").append(option(result, RESULTS[result]));
  }
}
get("words").addEventListener("input", () => { most = FIRST; fillTable(); });
get("kind").addEventListener("change", () => { most = FIRST; fillTable(); });
get("filter").addEventListener("submit", (event) => event.preventDefault());
get("more").addEventListener("click", () => { most = Infinity; fillTable(); });

function begin() {
  readColors();
  legend();
  drawSlots();
  drawJobs();
}
fillTable();
begin();
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", begin);
