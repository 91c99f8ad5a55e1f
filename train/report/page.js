// The table of texts: 50 rows at a time, sorted by a column, filtered by words, labels and split.
const data = JSON.parse(document.getElementById("rows").textContent);
const STEP = 50, FOLD = 280; // rows per "More"; letters of a text before it is folded
const [search, split, label, predicted, mistakes, doubtful, count, more] =
  ["search", "split", "label", "predicted", "mistakes", "doubtful", "count", "more"].map(id => document.getElementById(id));
const body = document.querySelector("#texts tbody");
const buttons = [...document.querySelectorAll("#texts th button")];
// A row: text, given label, model's label, probability, loss, split, row, confident mistake, length.
const rows = data.rows.map(([text, y, p, probability, loss, s, row, sure, length]) =>
  [text, data.labels[y], data.labels[p], probability, loss, data.splits[s], row, sure, length]);
let order = { column: 4, down: true }, matches = [], shown = STEP;

for (const [select, names] of [[split, data.splits], [label, data.labels], [predicted, data.labels]])
  for (const name of names) select.append(new Option(name, name));

function cell(row, value, className, name) {
  const td = row.insertCell();
  td.textContent = value;
  if (className) td.className = className;
  if (name) td.dataset.name = name;
  return td;
}

function textCell(row, text, length) {
  const td = cell(row, text.length > FOLD ? text.slice(0, FOLD) + "… " : text, "text");
  if (text.length <= FOLD) return;
  const button = document.createElement("button");
  button.className = "link more";
  button.textContent = `show all ${length.toLocaleString("en")} letters`;
  button.onclick = () => { td.textContent = text + (length > text.length ? "… (the rest is in predictions.csv)" : ""); };
  td.append(button);
}

function draw() {
  body.replaceChildren();
  for (const [text, y, p, probability, loss, s, n, , length] of matches.slice(0, shown)) {
    const row = body.insertRow();
    row.dataset.label = y;
    textCell(row, text, length);
    cell(row, y, "", "given");
    cell(row, p, p === y ? "" : "wrong", "model");
    cell(row, probability === null ? "nan" : probability.toFixed(3), "n", "probability");
    cell(row, loss === null ? "nan" : loss.toFixed(3), "n", "loss");
    cell(row, s, "soft");
    cell(row, n, "n soft", "row");
  }
  more.hidden = matches.length <= shown;
  more.textContent = `More (${Math.min(shown, matches.length).toLocaleString("en")} of ${matches.length.toLocaleString("en")} shown)`;
  count.textContent = `${matches.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} texts`;
}

function filter() {
  const words = search.value.toLowerCase();
  matches = rows.filter(([text, y, p, , , s, , sure]) => text.toLowerCase().includes(words)
    && (!split.value || s === split.value) && (!label.value || y === label.value)
    && (!predicted.value || p === predicted.value)
    && (!mistakes.checked || y !== p) && (!doubtful.checked || sure));
  const { column, down } = order;
  // null stands for NaN (JSON has none) and counts as the largest loss; equal cells keep their order.
  const key = row => row[column] === null ? Infinity : row[column];
  matches.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
  for (const button of buttons)
    button.parentElement.setAttribute("aria-sort", +button.dataset.column !== column ? "none" : down ? "descending" : "ascending");
  for (const c of document.querySelectorAll(".confusion .cell"))
    c.classList.toggle("on", split.value === c.dataset.split && label.value === c.dataset.true && predicted.value === c.dataset.predicted);
  shown = STEP;
  draw();
}

function show(values) { // filter to these, and go there
  search.value = ""; mistakes.checked = false;
  split.value = values.split ?? ""; label.value = values.label ?? ""; predicted.value = values.predicted ?? "";
  doubtful.checked = Boolean(values.doubtful);
  filter();
  document.getElementById("list").scrollIntoView();
}

for (const control of [search, split, label, predicted, mistakes, doubtful]) control.addEventListener("input", filter);
more.onclick = () => { shown += STEP; draw(); };
document.getElementById("clear").onclick = () => { search.value = ""; for (const s of [split, label, predicted]) s.value = ""; mistakes.checked = doubtful.checked = false; filter(); };
for (const button of buttons) button.onclick = () => {
  const column = +button.dataset.column;
  // Numbers begin with the largest, words with the first of the alphabet; a second click turns it.
  order = { column, down: column === order.column ? !order.down : column === 3 || column === 4 };
  filter();
};
for (const link of document.querySelectorAll("[data-show]"))
  link.onclick = () => show({ split: link.dataset.split, label: link.dataset.label, predicted: link.dataset.answer, doubtful: link.dataset.doubtful });
for (const c of document.querySelectorAll(".confusion .cell")) {
  const go = () => show({ split: c.dataset.split, label: c.dataset.true, predicted: c.dataset.predicted });
  c.addEventListener("click", go);
  c.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } });
}
filter(); // a reloaded page keeps what was typed
