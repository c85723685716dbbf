// All that a page's figures and tables show as one CSV, for pages without a table of trials. Cells of tables stay as they are told.
"use strict";
(() => {
  const button = document.getElementById("all-data");
  // A line of a figure's CSV may go on behind a line break within quotes.
  const lines = (text) => text.match(/(?:"(?:[^"]|"")*"|[^"\r\n])+/g) || [];
  const told = (element) => element.textContent.trim().replace(/\s+/g, " ");

  // A cell a line: its row's head as series, its column's as x, what it says as y.
  function cells(table) {
    const name = `table: ${table.closest("[aria-label]")?.getAttribute("aria-label") ?? ""}`;
    const heads = [...table.querySelectorAll("thead th")].map(told);
    return [...table.querySelectorAll("tbody tr")].flatMap((row, place) => {
      const [head, ...own] = [...row.children].map(told);
      return own.map((text, i) => [name, head, place + 1, "", heads[i + 1] ?? "", text, "", "", "", "", "column", "cell"]);
    });
  }

  function allData() {
    const names = [...document.querySelectorAll("[data-figure]")].map((element) => element.dataset.figure);
    const found = names.filter((name) => name in autonas.data.figures).map((name) => [name, lines(autonas.figureCsv(name))]);
    const head = ["figure", "series", "panel", "trial", "x", "y", "x_low", "x_high", "y_low", "y_high", "x is", "y is"];
    const drawn = found.flatMap(([name, [, ...points]]) => points.map((point) => `${autonas.csvOf([[name]]).trimEnd()},${point}\r\n`));
    const tables = [...document.querySelectorAll("main table")].flatMap(cells);
    return autonas.csvOf([head]) + drawn.join("") + (tables.length ? autonas.csvOf(tables) : "");
  }

  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => autonas.download(allData(), "text/csv", `${told(document.querySelector("h1")).replace(/[^\p{L}\p{N}.-]+/gu, "_") || "page"}.csv`));
})();
