// Brushes on the parallel coordinates: drag along an axis, or move one by the arrow keys, and only trials within stay in sight.
"use strict";
(() => {
  const plot = document.querySelector("svg.parallel");
  if (!plot) return;
  const SVG = "http://www.w3.org/2000/svg";
  const { top, bottom } = plot.dataset, low = Number(top), high = Number(bottom), STEP = (high - low) / 20;
  const lines = [...plot.querySelectorAll(".mark[data-trial]")].map((mark) => ({
    trial: mark.dataset.trial,
    mark,
    // "M44 100L90 20…": the heights by x; a trial without a value on an axis has no point there.
    heights: new Map(mark.querySelector(".line").getAttribute("d").slice(1).split(/[LM]/).map((place) => place.split(" ").map(Number))),
  }));
  const brushes = new Map(); // axis -> [from, to], heights
  const told = document.getElementById("brushed");
  let filtering = false;

  for (const axis of plot.querySelectorAll(".brushable")) {
    const x = Number(axis.dataset.x), title = axis.dataset.title;
    const area = document.createElementNS(SVG, "rect"), shown = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ class: "brush-area", x: x - 12, y: low - 6, width: 24, height: high - low + 12 })) area.setAttribute(name, value);
    shown.setAttribute("class", "brush");
    axis.append(shown, area);
    axis.setAttribute("tabindex", "0");
    axis.setAttribute("role", "slider");
    axis.setAttribute("aria-orientation", "vertical");
    axis.setAttribute("aria-valuemin", "0");
    axis.setAttribute("aria-valuemax", "100");
    axis.setAttribute("aria-label", `${title}: drag to keep trials within a range; arrow keys move it, with Shift they resize it, Delete removes it`);

    const ticks = axis.dataset.ticks.split("|").map((tick) => ({ at: Number(tick.split(":", 1)[0]), text: tick.slice(tick.indexOf(":") + 1) }));
    // The range in the axis's own words: the ticks within, or those around it.
    function wordsOf(from, to) {
      const inside = ticks.filter(({ at }) => at >= from - 0.5 && at <= to + 0.5).sort((a, b) => b.at - a.at);
      if (inside.length) return inside.length === 1 ? `about ${inside[0].text}` : `${inside[0].text} to ${inside.at(-1).text}`;
      const near = [...ticks].sort((a, b) => Math.abs(a.at - (from + to) / 2) - Math.abs(b.at - (from + to) / 2)).slice(0, 2);
      return `between ${near.map(({ text }) => text).join(" and ")}`;
    }
    const height = (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      return Math.min(Math.max(place.y, low), high);
    };
    function put(range) {
      if (range === null) brushes.delete(axis); else brushes.set(axis, range);
      const [from, to] = range || [0, 0];
      for (const [name, value] of Object.entries({ x: x - 5, y: from, width: 10, height: Math.max(to - from, 0) })) shown.setAttribute(name, value);
      const middle = range ? 100 * (high - (from + to) / 2) / (high - low) : 50;
      axis.setAttribute("aria-valuenow", middle.toFixed(0));
      axis.setAttribute("aria-valuetext", range ? wordsOf(from, to) : "everything");
      apply();
    }
    let start = null, former = null;
    area.addEventListener("pointerdown", (event) => { start = height(event); former = brushes.get(axis) || null; area.setPointerCapture(event.pointerId); event.preventDefault(); axis.focus({ preventScroll: true }); });
    area.addEventListener("pointermove", (event) => { if (start !== null) { const end = height(event); if (Math.abs(end - start) > 3) put([Math.min(start, end), Math.max(start, end)]); } });
    area.addEventListener("pointerup", (event) => { if (start !== null && Math.abs(height(event) - start) <= 3) put(null); start = null; });
    area.addEventListener("pointercancel", () => { if (start !== null) put(former); start = null; });
    area.addEventListener("click", (event) => event.stopPropagation());
    axis.addEventListener("keydown", (event) => {
      const sign = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (event.key === "Delete" || event.key === "Backspace" || event.key === "Escape") { put(null); event.stopPropagation(); return; }
      if (sign === undefined) return;
      event.preventDefault();
      const [from, to] = brushes.get(axis) || [low + (high - low) / 2, high];
      if (event.shiftKey) put([Math.min(Math.max(from + sign * STEP, low), to - STEP), to]);
      else { const move = Math.min(Math.max(sign * STEP, low - from), high - to); put(brushes.has(axis) ? [from + move, to + move] : [from, to]); }
    });
    put(null);
  }

  autonas.brush = apply;
  function apply() {
    if (!brushes.size) {
      if (filtering) autonas.filter?.(null);
      filtering = false;
      if (told) told.textContent = "";
      return;
    }
    filtering = true;
    const kept = new Set();
    for (const { trial, heights } of lines) {
      const inside = [...brushes].every(([axis, [from, to]]) => {
        const y = heights.get(Number(axis.dataset.x));
        return y !== undefined && y >= from - 0.5 && y <= to + 0.5;
      });
      if (inside) kept.add(trial);
    }
    autonas.filter?.(kept);
    const seen = lines.filter(({ mark }) => !mark.classList.contains("unshown"));
    if (told) told.textContent = `${seen.filter(({ trial }) => kept.has(trial)).length} of the ${seen.length} trials shown are within the brushed ranges. Delete on an axis, or a click on it, removes its range.`;
  }
})();
