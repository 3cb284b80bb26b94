"use strict";

const collator = new Intl.Collator(undefined, { numeric: true });
const MIN_ROWS_TO_FILTER = 13;

function compare(left, right) {
  const numbers = [Number(left), Number(right)];
  return numbers.some(Number.isNaN) ? collator.compare(left, right) : numbers[0] - numbers[1];
}

/* Rows without a value come last, whichever way the others go. */
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.sort ?? "";
  const rows = [...body.rows].sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left === "" || right === "") return (left === "") - (right === "");
    return direction * compare(left, right);
  });
  body.append(...rows);
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if ("fixed" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.ariaLabel = `Sort by ${head.textContent}`;
    head.append(button);
    head.addEventListener("click", () => {
      const direction = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach((other) => { other.ariaSort = null; });
      head.ariaSort = direction === 1 ? "ascending" : "descending";
      sort(table, column, direction);
    });
  });
}

const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < MIN_ROWS_TO_FILTER) return;
  const texts = new Map(rows.map((row) => [row, folded(row.textContent)]));
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  label.className = "filter";
  label.append("Filter ", input, " ", count);
  table.closest(".table").prepend(label);
  input.addEventListener("input", () => {
    const words = folded(input.value).split(/\s+/);
    for (const row of rows) {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
    }
    const n = rows.filter((row) => !row.hidden).length;
    count.value = n === rows.length ? "" : `${n} of ${rows.length} rows`;
  });
}

for (const table of document.querySelectorAll("main table")) {
  makeSortable(table);
  makeFilterable(table);
}

/* Clip and passage are compared one after the other. */
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) {
    if (audio !== event.target) audio.pause();
  }
}, true);
