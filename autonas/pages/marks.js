// Trials marked in all figures: a ring around a point with the trial's number, or its line drawn again. All of them are shapes,
// which Plotly draws anew in a millisecond; for an annotation or a trace it draws the whole figure.
"use strict";
(() => {
  const { figures } = autonas.data;
  const places = new Map(); // name -> trial -> [{xref, yref, trace, isLine, points}]
  function placesOf(name) {
    if (places.has(name)) return places.get(name);
    const found = new Map();
    for (const [index, trace] of figures[name].data.entries()) {
      if (!trace.customdata || !trace.x || !trace.y || trace.orientation === "h" || trace.meta === "unmarked") continue;
      const xref = trace.xaxis || "x", yref = trace.yaxis || "y", isLine = (trace.mode || "").includes("lines");
      let line = null, before = null;
      trace.x.forEach((x, i) => {
        const number = [trace.customdata[i]].flat()[0];
        if (number === null || number === undefined || x === null || trace.y[i] === null) { line = null; before = null; return; }
        const trial = String(number);
        if (!found.has(trial)) found.set(trial, []);
        if (!isLine || line === null || before !== trial) { line = { xref, yref, index, isLine, points: [] }; found.get(trial).push(line); }
        line.points.push([x, trace.y[i]]);
        before = trial;
      });
    }
    places.set(name, found);
    return found;
  }

  // A circle as a path: Plotly takes the negative ends of its own circles for zeros where an axis is logarithmic.
  function ring(radius) {
    const bend = 0.5523 * radius;
    return `M${radius},0C${radius},${bend} ${bend},${radius} 0,${radius}C${-bend},${radius} ${-radius},${bend} ${-radius},0C${-radius},${-bend} ${-bend},${-radius} 0,${-radius}C${bend},${-radius} ${radius},${-bend} ${radius},0Z`;
  }

  // Where a number stands beside its point, in pixels: within the panel, where no other number is (`taken`), on the side with the
  // fewest points.
  function beside(name, { x, y, text, away }, visible, taken) {
    const { xaxis, yaxis } = autonas.drawnFigures.get(name)?._fullLayout || {};
    if (!xaxis?.d2p || !yaxis?.d2p) return [0, away];
    const half = 4 * text.length + 1, side = away + half - 4, [px, py] = [xaxis.d2p(x), yaxis.d2p(y)];
    const cut = (box) => Math.min(box.x - half, xaxis._length - box.x - half) < 0 || Math.min(box.y, yaxis._length - box.y) < 7;
    const hidden = (box) => (cut(box) ? 1e9 : 0) + (taken.some((other) => Math.abs(box.x - other.x) < half + other.half && Math.abs(box.y - other.y) < 14) ? 1e6 : 0)
      + [...placesOf(name).values()].flat().filter(({ index, points: [[across, along]] }) => (!visible || visible[index] !== false)
        && Math.abs(xaxis.d2p(across) - box.x) < half + 3 && Math.abs(yaxis.d2p(along) - box.y) < 9).length;
    let best = null;
    for (const [right, up] of [[0, away], [0, -away], [side, 0], [-side, 0]]) {
      const box = { right, up, x: px + right, y: py - up, half };
      box.hidden = hidden(box);
      if (!best || box.hidden < best.hidden) best = box;
    }
    taken.push(best);
    return [best.right, best.up];
  }

  const marks = new Map(); // role -> {trial, colour, size}; a size of 0 is a number without a ring
  function drawnOver(name) {
    const { layout } = figures[name], own = placesOf(name), isScatter = name.startsWith("scatter-");
    const shapes = [...(layout.shapes || [])].map(autonas.coloured);
    const visible = autonas.visible?.(name, figures[name].data), numbered = new Set(), taken = [];
    for (const { trial, colour, size } of [...marks.values()].sort((one, other) => other.size - one.size)) {
      for (const { xref, yref, index, isLine, points } of own.get(String(trial)) || []) {
        if (visible && visible[index] === false) continue; // a ring around nothing would lie
        const line = { color: autonas.colour(colour), width: 2.2 };
        if (isLine && points.length > 1) { if (size) shapes.push({ type: "path", path: `M${points.map((point) => point.join(",")).join("L")}`, xref, yref, line, layer: "above" }); continue; }
        for (const [x, y] of points) {
          if (size) shapes.push({ type: "path", path: ring(size), xref, yref, xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, line, layer: "above" });
          if (!isScatter || numbered.has(trial)) continue;
          const text = String(trial), [xshift, yshift] = beside(name, { x, y, text, away: size ? size + 9 : 14 }, visible, taken);
          const label = { text, padding: 0, font: { size: 12, color: autonas.colour(size ? colour : "ink") } };
          const path = `M${xshift - 1},${yshift - 1}H${xshift + 1}V${yshift + 1}H${xshift - 1}Z`;
          shapes.push({ type: "path", path, xref, yref, xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, line: { width: 0 }, layer: "above", label });
          numbered.add(trial);
        }
      }
    }
    return { shapes };
  }
  autonas.remark = (name) => {
    const element = autonas.drawnFigures.get(name);
    if (!element || !("drawn" in element.dataset)) return;
    // Plotly adds to these lists of each axis's shapes without emptying them, and then falls over shapes that are gone.
    for (const [key, axis] of Object.entries(element._fullLayout)) if (/^[xy]axis/.test(key)) axis._shapeIndices = [];
    Plotly.relayout(element, drawnOver(name));
  };
  // Mark a trial in all figures under a role ("lit", "pick", "mine", "best-…"), or nothing (null).
  autonas.mark = (role, trial, colour, size = 9) => {
    if ((marks.get(role)?.trial ?? null) === trial) return;
    if (trial === null) marks.delete(role); else marks.set(role, { trial: String(trial), colour, size });
    for (const name of autonas.drawnFigures.keys()) autonas.remark(name);
  };
})();
