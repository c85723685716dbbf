// Tables sort by a click on a column's head: numbers as numbers, what is missing last.
"use strict";
(() => {
  for (const sortable of document.querySelectorAll("table.sortable")) {
    for (const head of sortable.tHead.rows[0].cells) {
      if (!("sort" in head.dataset)) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(sortable, head));
    }
  }

  function sortBy(sortable, head) {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const cell of sortable.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const key = (row) => {
      const text = (row.cells[head.cellIndex].dataset.value || "").replace("−", "-");
      return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
    };
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return typeof x === "number" && typeof y === "number" ? sign * (x - y) : sign * String(x).localeCompare(String(y));
    };
    const body = sortable.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  }
})();
