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

  // Where points, rings and numbers lie in a panel, in pixels from its corner.
  function placing(name, visible) {
    const axisOf = (ref) => autonas.axisOf(autonas.drawnFigures.get(name)._fullLayout, ref);
    const place = ({ xref, yref }, [x, y]) => [axisOf(xref).d2p(x), axisOf(yref).d2p(y)];
    const shown = [...placesOf(name).values()].flat().filter(({ index }) => !visible || visible[index] !== false);
    return { width: axisOf("x")._length, height: axisOf("y")._length, place, points: shown.map((one) => place(one, one.points[0])), taken: [] };
  }

  // Where a number stands beside its point: within the panel, on no ring and no other number, on the side with the fewest points.
  function beside({ width, height, points, taken }, [px, py], text, away) {
    const half = 4 * text.length + 1, side = away + half - 4;
    let best = null;
    for (const [right, up] of [[0, away], [0, -away], [side, 0], [-side, 0]]) {
      const x = px + right, y = py - up;
      const isCut = Math.min(x - half, width - x - half) < 0 || Math.min(y, height - y) < 7;
      const isTaken = taken.some((other) => Math.abs(x - other.x) < half + other.half && Math.abs(y - other.y) < 7 + other.tall);
      const covered = points.filter(([across, along]) => Math.abs(across - x) < half + 3 && Math.abs(along - y) < 9).length;
      const hidden = (isCut ? 1e9 : 0) + (isTaken ? 1e6 : 0) + covered;
      if (!best || hidden < best.hidden) best = { right, up, x, y, half, tall: 7, hidden, isTaken };
    }
    return best;
  }

  const marks = new Map(); // role -> {trial, colour, size}; a size of 0 is a number without a ring
  function drawnOver(name) {
    const { layout } = figures[name], own = placesOf(name), isScatter = name.startsWith("scatter-");
    const shapes = [...(layout.shapes || [])].map(autonas.coloured);
    const visible = autonas.visible?.(name, figures[name].data), numbered = new Set();
    const toNumber = [];
    for (const { trial, colour, size } of [...marks.values()].sort((one, other) => other.size - one.size)) {
      for (const { xref, yref, index, isLine, points } of own.get(trial) || []) {
        if (visible && visible[index] === false) continue; // a ring around nothing would lie
        const line = { color: autonas.colour(colour), width: 2.2 };
        if (isLine && points.length > 1) { if (size) shapes.push({ type: "path", path: `M${points.map((point) => point.join(",")).join("L")}`, xref, yref, line, layer: "above" }); continue; }
        for (const [x, y] of points) {
          const anchor = { xref, yref, xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, layer: "above" };
          if (size) shapes.push({ type: "path", path: ring(size), line, ...anchor });
          if (!isScatter || numbered.has(trial)) continue;
          toNumber.push({ trial, colour, size, anchor });
          numbered.add(trial);
        }
      }
    }
    return { shapes: [...shapes, ...numbers(name, toNumber, visible)] };
  }

  // The numbers of trials as labels of shapes without a size; one without a ring is left out where it would lie on something.
  function numbers(name, wanted, visible) {
    if (!wanted.length) return [];
    const panel = placing(name, visible), shapes = [];
    const pixels = wanted.map(({ anchor }) => panel.place(anchor, [anchor.xanchor, anchor.yanchor]));
    for (const [i, { size }] of wanted.entries()) if (size) panel.taken.push({ x: pixels[i][0], y: pixels[i][1], half: size, tall: size });
    for (const [i, { trial, colour, size, anchor }] of wanted.entries()) {
      const place = beside(panel, pixels[i], trial, size ? size + 9 : 14);
      if (place.isTaken && !size) continue; // pointing at it tells its number
      panel.taken.push(place);
      const label = { text: trial, padding: 0, font: { size: 12, color: autonas.colour(size ? colour : "ink") } };
      const path = `M${place.right - 1},${place.up - 1}H${place.right + 1}V${place.up + 1}H${place.right - 1}Z`;
      shapes.push({ type: "path", path, line: { width: 0 }, label, ...anchor });
    }
    return shapes;
  }

  autonas.remark = (name) => {
    const element = autonas.drawnFigures.get(name);
    if (!element || !("drawn" in element.dataset)) return;
    // Plotly adds to these lists of each axis's shapes without emptying them, and then falls over shapes that are gone.
    for (const [key, axis] of Object.entries(element._fullLayout)) if (/^[xy]axis/.test(key)) axis._shapeIndices = [];
    Plotly.relayout(element, drawnOver(name));
  };
  // Mark a trial in all figures under a role ("lit", "pick", "mine", "numbered-…"), or nothing (null).
  autonas.mark = (role, trial, colour, size = 9) => {
    if ((marks.get(role)?.trial ?? null) === trial) return;
    if (trial === null) marks.delete(role); else marks.set(role, { trial: String(trial), colour, size });
    for (const name of autonas.drawnFigures.keys()) autonas.remark(name);
  };
})();
