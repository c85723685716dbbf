// Hides and shows a study in every figure and table, by the boxes at the top of the page.
"use strict";
(() => {
  const boxes = [...document.querySelectorAll(".studies input")];
  for (const box of boxes) box.disabled = false;
  let shown = new Set(boxes.map((box) => box.value));
  autonas.visible = (name, data) => data.map((trace) => trace.meta?.kind === undefined ? trace.visible ?? true : shown.has(trace.meta.kind));
  function show() {
    shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    autonas.showKinds();
    for (const box of boxes) box.parentElement.classList.toggle("absent-study", !box.checked);
    for (const row of document.querySelectorAll("tr[data-study]")) row.hidden = !shown.has(row.dataset.study);
  }
  for (const box of boxes) box.addEventListener("change", show);
  // A trial that is pointed at is ringed wherever it stands.
  autonas.onFigures((what, trial) => {
    if (what === "hover" && trial !== null) autonas.mark("lit", trial, "ink");
    if (what === "leave") autonas.mark("lit", null);
  });
})();
