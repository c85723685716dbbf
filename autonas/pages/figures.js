// Draws a page's figures when they come into sight, in the reader's colours, and marks trials in them.
// All text goes in as text, never as HTML.
"use strict";
const autonas = { data: JSON.parse(document.getElementById("data").textContent) };
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const { figures, palette } = autonas.data;
  const drawn = new Map(); // name -> its element, once drawn
  const listeners = [];
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"], scrollZoom: false };

  const inDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  // A figure is made for light paper; on dark paper each of its colours is another.
  const others = new Map(Object.entries(palette.light).map(([name, colour]) => [colour, palette.dark[name]]));
  function coloured(value) {
    if (!inDark()) return structuredClone(value);
    return JSON.parse(JSON.stringify(value).replace(/"(#[0-9a-f]{6})([0-9a-f]{2})?"/g, (whole, colour, alpha = "") => others.has(colour) ? `"${others.get(colour)}${alpha}"` : whole));
  }
  autonas.colour = (name) => palette[inDark() ? "dark" : "light"][name];

  function narrowed(layout, element) {
    if (element.clientWidth >= 480) return layout;
    for (const [key, axis] of Object.entries(layout)) if (/^[xy]axis/.test(key)) axis.nticks = Math.min(axis.nticks || 4, 4);
    return layout;
  }

  function draw(element) {
    const name = element.dataset.figure;
    if (drawn.has(name) || !(name in figures)) return;
    drawn.set(name, element);
    const { data, layout } = coloured(figures[name]);
    for (const [index, visible] of (autonas.visible?.(name, figures[name].data) || []).entries()) data[index].visible = visible;
    Plotly.newPlot(element, data, narrowed(layout, element), CONFIG).then(() => {
      element.on("plotly_hover", (event) => tell("hover", event, name));
      element.on("plotly_unhover", () => tell("leave", null, name));
      element.on("plotly_click", (event) => tell("click", event, name));
      element.on("plotly_relayout", (event) => { for (const listen of listeners) listen("relayout", event, name); });
      element.dataset.drawn = "";
      remark(name);
    });
  }

  function tell(what, event, name) {
    const point = event?.points?.[0];
    const trial = point?.customdata === undefined ? null : String([point.customdata].flat()[0]);
    for (const listen of listeners) listen(what, trial, name, event);
  }
  // listen(what, trial, name, event): "hover", "leave" and "click" on a trial (null: on no trial), "relayout" with its changes.
  autonas.onFigures = (listen) => listeners.push(listen);
  autonas.drawnFigures = drawn;

  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watch.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  for (const element of document.querySelectorAll(".plotly[data-figure]")) watch.observe(element);
  autonas.drawAll = () => { for (const element of document.querySelectorAll(".plotly[data-figure]")) draw(element); };
  addEventListener("beforeprint", autonas.drawAll);

  // Colours follow the system, and the page's own switch.
  function recolour() {
    for (const [name, element] of drawn) {
      const { data, layout } = coloured(figures[name]);
      data.forEach((trace, index) => { trace.visible = element.data[index].visible; });
      for (const [key, axis] of Object.entries(element.layout)) if (/^[xy]axis/.test(key) && axis.autorange === false) Object.assign(layout[key], { range: axis.range, autorange: false });
      Plotly.react(element, data, narrowed(layout, element), CONFIG).then(() => remark(name));
    }
    for (const listen of listeners) listen("theme");
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  const toggle = document.getElementById("theme");
  if (toggle) {
    toggle.hidden = false;
    const named = () => { toggle.textContent = inDark() ? "Light colours" : "Dark colours"; };
    named();
    toggle.addEventListener("click", () => { root.dataset.theme = inDark() ? "light" : "dark"; named(); recolour(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
  }

  // Marks over a figure: rings around the points of a trial, or its line drawn again. They are shapes, which Plotly draws anew in
  // a millisecond, where a trace would take the whole figure.
  const places = new Map(); // name -> trial -> [{xref, yref, points}]
  function placesOf(name) {
    if (places.has(name)) return places.get(name);
    const found = new Map();
    for (const trace of figures[name].data) {
      if (!trace.customdata || !trace.x || !trace.y || trace.orientation === "h" || trace.meta === "unmarked") continue;
      const xref = trace.xaxis || "x", yref = trace.yaxis || "y", isLine = (trace.mode || "").includes("lines");
      let line = null, before = null;
      trace.x.forEach((x, i) => {
        const trial = trace.customdata[i] === null || trace.customdata[i] === undefined ? null : String([trace.customdata[i]].flat()[0]);
        if (trial === null || trial === "null" || x === null || trace.y[i] === null) { line = null; before = null; return; }
        if (!found.has(trial)) found.set(trial, []);
        if (!isLine || line === null || before !== trial) { line = { xref, yref, isLine, points: [], hidden: trace.meta?.kind }; found.get(trial).push(line); }
        line.points.push([x, trace.y[i]]);
        before = trial;
      });
    }
    places.set(name, found);
    return found;
  }
  const marks = new Map(); // role -> {trial, colour, symbol}
  function shapesOf(name) {
    const shapes = [...(figures[name].layout.shapes || [])].map(coloured), own = placesOf(name);
    for (const { trial, colour, size } of marks.values()) {
      for (const { xref, yref, isLine, points } of own.get(String(trial)) || []) {
        const line = { color: autonas.colour(colour), width: 2.2 };
        if (isLine && points.length > 1) shapes.push({ type: "path", path: `M${points.map((point) => point.join(",")).join("L")}`, xref, yref, line, layer: "above" });
        else for (const [x, y] of points) shapes.push({ type: "circle", xref, yref, xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, x0: -size, x1: size, y0: -size, y1: size, line, layer: "above" });
      }
    }
    return shapes;
  }
  function remark(name) {
    const element = drawn.get(name);
    if (element && "drawn" in element.dataset) Plotly.relayout(element, { shapes: shapesOf(name) });
  }
  // Mark a trial in all figures under a role ("lit", "pick", "chosen"), or nothing (null).
  autonas.mark = (role, trial, colour, size = 9) => {
    if ((marks.get(role)?.trial ?? null) === trial) return;
    if (trial === null) marks.delete(role); else marks.set(role, { trial, colour, size });
    for (const name of drawn.keys()) remark(name);
  };

  // Show or hide the traces of a kind of trial (a trace's meta says which) in all figures.
  autonas.showKinds = (shown) => {
    autonas.visible = (name, data) => data.map((trace) => trace.meta?.kind === undefined ? trace.visible ?? true : shown.has(trace.meta.kind));
    for (const [name, element] of drawn) Plotly.restyle(element, { visible: autonas.visible(name, figures[name].data) });
  };
})();
