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
  let keptTrials = null; // by brushes; null: all
  const config = () => ({
    displaylogo: false, responsive: true, displayModeBar: "hover", scrollZoom: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage", { name: "data", title: "Download its data as CSV", icon: Plotly.Icons.disk, click: (element) => autonas.download(autonas.figureCsv(element.dataset.figure), "text/csv", `${element.dataset.figure}.csv`) }]],
  });

  // Texts as lines of CSV. A leading = + - @ of a text would be a formula to a spreadsheet.
  function quoted(value) {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }
  autonas.csvOf = (rows) => rows.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
  autonas.download = (text, type, file) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  // The axis of a layout that a trace names "x", "y2", ….
  autonas.axisOf = (layout, ref) => layout[ref.replace(/^([xy])/, "$1axis")];
  // What a figure draws: a line for each point, with its series, trial, place and interval.
  autonas.figureCsv = (name) => {
    const { data, layout } = figures[name];
    // A trial at an edge, on an axis over the panel's own, has no value there.
    const under = (ref) => autonas.axisOf(layout, ref)?.overlaying ?? ref, title = (ref) => autonas.axisOf(layout, ref)?.title?.text || ref;
    const rows = [["series", "panel", "trial", "x", "y", "x_low", "x_high", "y_low", "y_high", "x is", "y is"]];
    data.forEach((trace, index) => {
      const x = trace.x || [], y = trace.y || [], xref = trace.xaxis || "x", yref = trace.yaxis || "y";
      const reach = (bars, value, i, sign) => bars?.array ? value + sign * (sign < 0 ? bars.arrayminus ?? bars.array : bars.array)[i] : "";
      for (let i = 0; i < Math.max(x.length, y.length); i++) {
        if (x[i] === null || y[i] === null) continue;
        const own = [trace.customdata?.[i]].flat()[0];
        rows.push([trace.name || `series ${index + 1}`, under(xref).slice(1) || "1", own ?? "", under(xref) === xref ? x[i] : "", under(yref) === yref ? y[i] : "", reach(trace.error_x, x[i], i, -1), reach(trace.error_x, x[i], i, 1), reach(trace.error_y, y[i], i, -1), reach(trace.error_y, y[i], i, 1), title(under(xref)), title(under(yref))]);
      }
    });
    return autonas.csvOf(rows);
  };

  const inDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  // A figure is made for light paper; on dark paper each of its colours is another.
  const others = new Map(Object.entries(palette.light).map(([name, colour]) => [colour, palette.dark[name]]));
  function coloured(value) {
    if (!inDark()) return structuredClone(value);
    return JSON.parse(JSON.stringify(value).replace(/"(#[0-9a-f]{6})([0-9a-f]{2})?"/g, (whole, colour, alpha = "") => others.has(colour) ? `"${others.get(colour)}${alpha}"` : whole));
  }
  autonas.coloured = coloured;
  autonas.colour = (name) => palette[inDark() ? "dark" : "light"][name];

  function narrowed(layout, element) {
    // With a finger, a drag scrolls the page.
    layout.dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
    if (element.clientWidth >= 480) return layout;
    for (const [key, axis] of Object.entries(layout)) if (/^[xy]axis/.test(key)) axis.nticks = Math.min(axis.nticks || 4, 4);
    return layout;
  }

  // Plotly is packed in the page. The content security policy lets exactly this script in, and no other.
  async function unpack() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
    const unpacked = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
    const script = document.createElement("script");
    script.textContent = await unpacked.text();
    document.head.append(script);
    if (!globalThis.Plotly) throw new Error("its script did not run");
  }
  const ready = Object.keys(figures).length ? unpack() : Promise.resolve();
  autonas.ready = ready;
  ready.catch((error) => {
    for (const element of document.querySelectorAll(".plotly[data-figure]")) element.textContent = `This browser cannot draw the figures (${error.message}). The tables have their numbers; a browser of 2023 or later draws them.`;
  });

  // An element as high as its figure will be: when a window's width changes Plotly forgets the height and asks the element.
  function sized(element, figure) {
    if (figure) element.style.height = `${figure.layout.height}px`;
  }

  const asked = new Set();
  async function draw(element) {
    const name = element.dataset.figure;
    if (asked.has(name) || !(name in figures)) return;
    asked.add(name);
    await ready;
    drawn.set(name, element);
    const { data, layout } = coloured(figures[name]);
    element.classList.toggle("panelled", "xaxis2" in layout && !layout.xaxis2.overlaying); // wider than a phone, which can scroll it
    for (const [index, visible] of (autonas.visible?.(name, figures[name].data) || []).entries()) data[index].visible = visible;
    Plotly.newPlot(element, data, narrowed(layout, element), config()).then(() => {
      element.on("plotly_hover", (event) => tell("hover", event, name));
      element.on("plotly_unhover", () => tell("leave", null, name));
      element.on("plotly_click", (event) => tell("click", event, name));
      element.on("plotly_relayout", (event) => {
        // Ticks that were chosen for the whole of an axis do not suit a part of it.
        for (const axis of ["xaxis", "yaxis"]) {
          if (!figures[name].layout[axis]?.tickvals) continue;
          const mode = event[`${axis}.range[0]`] !== undefined ? "auto" : event[`${axis}.autorange`] ? "array" : null;
          if (mode && element.layout[axis].tickmode !== mode) Plotly.relayout(element, { [`${axis}.tickmode`]: mode });
        }
        for (const listen of listeners) listen("relayout", null, name, event);
        if (Object.keys(event).some((key) => /^[xy]axis\d*\.(auto)?range|^autosize$/.test(key))) autonas.remark?.(name);
      });
      element.dataset.drawn = "";
      // Its buttons can be reached; what it draws, its label and a table tell in words.
      element.setAttribute("role", "figure");
      for (const drawing of element.querySelectorAll(".main-svg")) drawing.setAttribute("aria-hidden", "true");
      redone(name);
    });
  }

  // What lies over a figure that was drawn anew: marks, and which trials are dimmed.
  function redone(name) {
    autonas.remark?.(name);
    if (keptTrials !== null) dimmed(name);
  }

  function tell(what, event, name) {
    const point = event?.points?.[0];
    const number = [point?.customdata].flat()[0];
    const trial = number === undefined || number === null ? null : String(number);
    for (const listen of listeners) listen(what, trial, name, event);
  }
  // listen(what, trial, name, event): "hover", "leave" and "click" on a trial (null: on no trial), "relayout" with its changes.
  autonas.onFigures = (listen) => listeners.push(listen);
  autonas.drawnFigures = drawn;

  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watch.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  for (const element of document.querySelectorAll(".plotly[data-figure]")) { sized(element, figures[element.dataset.figure]); watch.observe(element); }
  autonas.drawAll = () => { for (const element of document.querySelectorAll(".plotly[data-figure]")) draw(element); };
  addEventListener("beforeprint", autonas.drawAll);

  // Colours follow the system, and the page's own switch.
  function recolour() {
    for (const [name, element] of drawn) {
      const { data, layout } = coloured(figures[name]);
      data.forEach((trace, index) => { trace.visible = element.data[index].visible; });
      // A zoom is put back after the whole was drawn: otherwise it would be taken for the whole.
      const zoomed = {}, { dragmode } = element.layout;
      for (const [key, axis] of Object.entries(element.layout)) if (/^[xy]axis/.test(key) && axis.autorange === false) Object.assign(zoomed, { [`${key}.range`]: [...axis.range], ...(axis.tickmode ? { [`${key}.tickmode`]: axis.tickmode } : {}) });
      const put = () => Object.keys(zoomed).length ? Plotly.relayout(element, zoomed) : null;
      Plotly.react(element, data, { ...narrowed(layout, element), dragmode }, config()).then(put).then(() => redone(name));
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

  // Show or hide the traces of a kind of trial (a trace's meta says which); which figures do so, `autonas.visible` says.
  autonas.showKinds = () => {
    for (const [name, element] of drawn) {
      Plotly.restyle(element, { visible: autonas.visible(name, figures[name].data) });
      autonas.remark?.(name);
    }
  };

  // Dim all trials but these in figures of points; null: none is dimmed.
  autonas.dim = (kept) => {
    keptTrials = kept;
    for (const name of drawn.keys()) dimmed(name);
  };

  function dimmed(name) {
    const element = drawn.get(name), traces = figures[name].data;
    const own = traces.map((trace, index) => index).filter((index) => traces[index].customdata && (traces[index].mode || "").startsWith("markers"));
    if (!own.length || !("drawn" in element.dataset)) return;
    const chosen = own.map((index) => keptTrials === null ? null : traces[index].customdata.map((trial, i) => keptTrials.has(String([trial].flat()[0])) ? i : -1).filter((i) => i >= 0));
    const bars = {};
    for (const [error, side] of ["error_x", "error_y"].flatMap((error) => [[error, "array"], [error, "arrayminus"]])) {
      // Bars have no style of their own for points that are not selected: those are left without one.
      if (own.some((index) => traces[index][error]?.[side])) bars[`${error}.${side}`] = own.map((index, k) => traces[index][error]?.[side]?.map((reach, i) => chosen[k] === null || chosen[k].includes(i) ? reach : null));
    }
    Plotly.restyle(element, { selectedpoints: chosen, unselected: { marker: { opacity: 0.12 }, textfont: { color: "rgba(0,0,0,0)" } }, ...bars }, own);
  }

  // A small figure that is none of the page's own, such as a part of one.
  autonas.plotInto = (element, figure) => {
    const { data, layout } = coloured(figure);
    sized(element, figure);
    return ready.then(() => Plotly.newPlot(element, data, narrowed(layout, element), { ...config(), displayModeBar: false }));
  };
})();
