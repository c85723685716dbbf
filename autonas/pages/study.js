// Links what the page shows of a trial: point at it anywhere and it is lit everywhere, click it and its details stay.
// All text goes in as text, never as HTML.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const trials = JSON.parse(document.getElementById("data").textContent).trials;
  const inspector = document.getElementById("inspector");
  const tip = document.getElementById("tip");

  const shown = new Map(); // trial -> the elements that show it
  for (const element of document.querySelectorAll("[data-trial]")) {
    const trial = element.dataset.trial;
    if (!shown.has(trial)) shown.set(trial, []);
    shown.get(trial).push(element);
  }

  let lit = null, pinned = null, opener = null;

  function light(trial) {
    if (trial === lit) return;
    for (const element of shown.get(lit) || []) element.classList.remove("lit");
    for (const element of shown.get(trial) || []) element.classList.add("lit");
    lit = trial;
    root.classList.toggle("linking", trial !== null);
  }

  const trialOf = (target) => {
    const element = target instanceof Element ? target.closest("[data-trial]") : null;
    return element && element.dataset.trial in trials ? element.dataset.trial : null;
  };

  function pointAt(event) {
    const trial = trialOf(event.target);
    light(trial === null ? pinned : trial);
    const onDrawing = trial !== null && event.target.closest("svg.plot");
    tip.hidden = !onDrawing;
    if (!onDrawing) return;
    const entry = trials[trial];
    tip.textContent = `Trial ${trial}: ${entry.spec}`;
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const y = event.clientY + tip.offsetHeight + 24 > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16;
    tip.style.left = `${Math.max(x, 4)}px`;
    tip.style.top = `${y}px`;
  }
  document.addEventListener("pointermove", pointAt);
  root.addEventListener("pointerleave", () => { tip.hidden = true; light(pinned); });
  document.addEventListener("focusin", (event) => {
    if (inspector.contains(event.target)) return;
    const trial = trialOf(event.target);
    if (trial !== null) light(trial);
    else light(pinned);
  });

  document.addEventListener("click", (event) => {
    if (inspector.contains(event.target)) return;
    if (event.target.closest("thead, summary")) return;
    const trial = trialOf(event.target);
    const link = event.target.closest("a");
    if (link && !link.classList.contains("trial")) return;
    if (trial === null) { if (!link) unpin(); return; }
    if (window.getSelection && String(window.getSelection())) return; // somebody copies text
    event.preventDefault();
    opener = link;
    pin(trial);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") unpin(); });

  function pin(trial) {
    pinned = trial;
    light(trial);
    tip.hidden = true;
    inspector.replaceChildren(...details(trial));
    inspector.hidden = false;
    inspector.scrollTop = 0;
    if (opener) inspector.querySelector("button").focus();
  }
  function unpin() {
    if (pinned === null) return;
    pinned = null;
    inspector.hidden = true;
    inspector.replaceChildren();
    if (opener) opener.focus();
    opener = null;
    light(null);
  }

  function make(name, text, className) {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  function table(rows) {
    const result = make("table"), body = make("tbody");
    for (const [name, unit, ...cells] of rows) {
      const row = make("tr"), head = make("th", name);
      head.scope = "row";
      if (unit) head.append(make("small", unit));
      row.append(head, ...cells.map((cell) => make("td", cell)));
      body.append(row);
    }
    result.append(body);
    return result;
  }

  const KINDS = { knee: "the knee of the front", front: "on the front", final: "finished, dominated", stopped: "stopped", infeasible: "infeasible", failed: "failed", live: "running", complete: "complete" };

  function details(trial) {
    const entry = trials[trial];
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", unpin);
    const sure = entry.probability ? `, with probability ${entry.probability} on the front` : "";
    const parts = [close, make("h2", `Trial ${trial}`), make("p", `${KINDS[entry.kind] || entry.kind}${sure}; reached ${entry.reached}`)];
    if (entry.reason) parts.push(make("p", entry.reason));
    if (entry.command) {
      const command = make("p", "Train it in full: ");
      command.append(make("code", entry.command));
      parts.push(command);
    }
    if (entry.scores.length) parts.push(make("h3", "Scores"), table(entry.scores));
    const curve = curveOf(trial);
    if (curve) parts.push(make("h3", "Learning curve"), curve);
    const samples = [...document.querySelectorAll(`[data-samples="${CSS.escape(trial)}"] .sample`)].slice(0, 4);
    if (samples.length) parts.push(make("h3", "Generations"), ...samples.map((sample) => sample.cloneNode(true)));
    parts.push(make("h3", "Architecture"), table(entry.dimensions.map(([name, value]) => [name, "", value])));
    return parts;
  }

  function curveOf(trial) {
    const plot = document.querySelector("svg.curves");
    const own = plot && plot.querySelector(`.mark[data-trial="${CSS.escape(trial)}"]`);
    if (!own) return null;
    const copy = plot.cloneNode(false);
    copy.removeAttribute("aria-label");
    copy.setAttribute("aria-hidden", "true");
    const mark = own.cloneNode(true);
    mark.classList.add("lit");
    copy.append(plot.querySelector(".axes").cloneNode(true), ...[...plot.querySelectorAll(".baseline")].map((b) => b.cloneNode(true)), mark);
    return copy;
  }

  // Tables sort by a click on a column's head: numbers as numbers, what is missing last.
  for (const sortable of document.querySelectorAll("table.sortable")) {
    for (const head of sortable.tHead.rows[0].cells) {
      if (!("sort" in head.dataset)) continue;
      const button = make("button");
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
