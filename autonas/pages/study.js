// Links what the page shows of a trial: point at it anywhere and it is lit everywhere, click it and its details stay.
// All text goes in as text, never as HTML.
"use strict";
(() => {
  const root = document.documentElement, { make } = autonas;
  const inspector = document.getElementById("inspector"), tip = document.getElementById("tip");

  const elementsOf = (trial) => trial === null ? [] : document.querySelectorAll(`[data-trial="${CSS.escape(trial)}"]`);
  let lit = null, pinned = null, opener = null;

  function light(trial) {
    if (trial === lit) return;
    for (const element of elementsOf(lit)) element.classList.remove("lit");
    for (const element of elementsOf(trial)) element.classList.add("lit");
    lit = trial;
    root.classList.toggle("linking", trial !== null);
    autonas.mark("lit", trial, "ink", 9);
  }

  const trialOf = (target) => {
    const element = target instanceof Element ? target.closest("[data-trial]") : null;
    return element && autonas.hasTrial(element.dataset.trial) ? element.dataset.trial : null;
  };

  let inFigure = false; // the pointer is at a trial of a figure, which Plotly's own label tells
  document.addEventListener("pointermove", (event) => {
    if (inFigure) return;
    const trial = trialOf(event.target);
    light(trial === null ? pinned : trial);
    const onDrawing = trial !== null && event.target.closest("svg.parallel");
    tip.hidden = !onDrawing;
    if (!onDrawing) return;
    tip.textContent = `Trial ${trial}: ${autonas.specOf(trial)}`;
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const y = event.clientY + tip.offsetHeight + 24 > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16;
    tip.style.left = `${Math.max(x, 4)}px`;
    tip.style.top = `${y}px`;
  });
  root.addEventListener("pointerleave", () => { tip.hidden = true; light(pinned); });
  document.addEventListener("focusin", (event) => {
    if (inspector.contains(event.target)) return;
    const trial = trialOf(event.target);
    light(trial === null ? pinned : trial);
  });

  autonas.onFigures((what, trial, name, event) => {
    if (what === "hover" && trial !== null && autonas.hasTrial(trial)) { inFigure = true; light(trial); }
    if (what === "leave") { inFigure = false; light(pinned); }
    if (what === "click" && trial !== null && autonas.hasTrial(trial)) pin(trial);
    if (what === "relayout") together(name, event);
    if (what === "theme" && pinned !== null) fill(pinned);
  });

  // Zooming a panel of the scatter matrix zooms the same objective in the others.
  let zooming = false;
  function together(name, changes) {
    if (zooming || !name.startsWith("scatter-")) return;
    const [, across, up] = name.split("-");
    const wanted = {};
    for (const [axis, objective] of [["xaxis", across], ["yaxis", up]]) {
      if (changes[`${axis}.autorange`]) wanted[objective] = null;
      else if (changes[`${axis}.range[0]`] !== undefined) wanted[objective] = [changes[`${axis}.range[0]`], changes[`${axis}.range[1]`]];
    }
    if (!Object.keys(wanted).length) return;
    zooming = true;
    const all = [...autonas.drawnFigures].filter(([other]) => other !== name && other.startsWith("scatter-")).map(async ([other, element]) => {
      const [, x, y] = other.split("-"), update = {};
      for (const [axis, objective] of [["xaxis", x], ["yaxis", y]]) if (objective in wanted) Object.assign(update, wanted[objective] === null ? { [`${axis}.autorange`]: true } : { [`${axis}.range`]: wanted[objective] });
      return Object.keys(update).length ? Plotly.relayout(element, update) : null;
    });
    Promise.allSettled(all).then(() => { zooming = false; });
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("thead, summary, form, .plotly, button")) return;
    const trial = trialOf(event.target), link = event.target.closest("a"), within = inspector.contains(event.target);
    if (link && !link.classList.contains("trial")) return;
    if (trial === null) { if (!link && !within) unpin(); return; }
    if (within && !link) return;
    if (!link && window.getSelection && String(window.getSelection())) return; // somebody copies text
    event.preventDefault();
    pin(trial);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") unpin(); });

  function pin(trial) {
    if (pinned === null) opener = document.activeElement === document.body ? null : document.activeElement;
    pinned = trial;
    light(trial);
    tip.hidden = true;
    fill(trial);
    inspector.scrollTop = 0;
    inspector.focus({ preventScroll: true });
    history.replaceState(null, "", `#trial-${trial}`);
  }
  function fill(trial) {
    autonas.afterDrawer = null;
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", unpin);
    inspector.replaceChildren(close, make("h2", `Trial ${trial}`), ...autonas.details(trial));
    inspector.hidden = false;
    root.classList.add("inspecting");
    autonas.afterDrawer?.();
  }
  function unpin() {
    if (pinned === null) return;
    const back = opener?.isConnected && opener !== inspector ? opener : document.querySelector(`a.trial[href="#trial-${pinned}"]`);
    pinned = opener = null;
    inspector.hidden = true;
    inspector.replaceChildren();
    root.classList.remove("inspecting");
    back?.focus({ preventScroll: true });
    light(null);
    history.replaceState(null, "", location.pathname + location.search);
  }

  // The recommended trial is marked in every view.
  let recommended = null;
  autonas.recommend = (trial) => {
    for (const element of document.querySelectorAll(".recommended-trial")) element.classList.remove("recommended-trial");
    recommended = trial === null ? null : String(trial);
    for (const element of elementsOf(recommended)) element.classList.add("recommended-trial");
    autonas.mark("pick", recommended, "pick", 13);
  };

  // The reader's own pick.
  let mine = null;
  autonas.myPick = () => mine;
  autonas.choosePick = (trial) => {
    for (const element of document.querySelectorAll(".my-pick")) element.classList.remove("my-pick");
    mine = trial;
    for (const element of elementsOf(mine)) element.classList.add("my-pick");
    autonas.mark("mine", mine, "second", 17);
  };
  for (const [k, number] of autonas.data.numbered.entries()) autonas.mark(`numbered-${k}`, number, "ink", 0);

  // Which kinds of trial are in sight, and which of them pass the brushes.
  const kinds = document.getElementById("kinds");
  let kept = null;
  function shownKinds() {
    const shown = new Set([...kinds.querySelectorAll("input:checked")].map((input) => input.value));
    if (shown.has("front")) shown.add("knee");
    return shown;
  }
  function applyKinds() {
    const shown = shownKinds();
    for (const element of document.querySelectorAll("[data-kind]")) element.classList.toggle("unshown", !shown.has(element.dataset.kind));
    autonas.showKinds();
    autonas.brush?.();
  }
  if (kinds) {
    kinds.hidden = false;
    kinds.addEventListener("change", applyKinds);
    autonas.visible = (name, data) => data.map((trace) => trace.meta?.kind === undefined || !name.startsWith("scatter-") ? trace.visible ?? true : shownKinds().has(trace.meta.kind));
    applyKinds();
  }
  autonas.filter = (found) => {
    kept = found;
    for (const element of document.querySelectorAll(".front-table tr[data-trial], .all tr[data-trial], svg.parallel .mark[data-trial]")) element.classList.toggle("out", kept !== null && !kept.has(element.dataset.trial));
    autonas.dim(kept);
  };

  // Everything as CSV or JSON: what the page knows of each trial, one line each.
  function csv() {
    const columns = autonas.data.trials, { at } = autonas;
    const heads = ["number", "kind", "repeat_of", "rung", "tokens", "probability", "seeds", "fingerprint"];
    const cells = heads.map((name) => (i) => at(columns[name], i));
    for (const [name, column] of Object.entries(columns.dimensions)) { heads.push(name); cells.push((i) => at(column, i)); }
    for (const [name, column] of Object.entries(columns.scores)) for (const part of ["value", "low", "high"]) { heads.push(part === "value" ? name : `${name}_${part}`); cells.push((i) => at(column[part], i)); }
    heads.push("reason");
    cells.push((i) => at(columns.reason, i));
    return autonas.csvOf([heads, ...columns.number.map((_, i) => cells.map((cell) => cell(i)))]);
  }
  autonas.csv = csv;
  for (const button of document.querySelectorAll("[data-download]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const isCsv = button.dataset.download === "csv";
      const text = isCsv ? csv() : JSON.stringify({ study: autonas.data.study, objectives: autonas.data.objectives, trials: autonas.data.trials }, null, 1);
      autonas.download(text, isCsv ? "text/csv" : "application/json", `${autonas.data.file}.${button.dataset.download}`);
    });
  }

  autonas.showChoice?.();
  function follow() {
    const asked = /^#trial-(\d+)$/.exec(location.hash);
    if (asked && autonas.hasTrial(asked[1]) && asked[1] !== pinned) pin(asked[1]);
  }
  addEventListener("hashchange", follow);
  // After the browser has gone to the place itself, which takes the focus away.
  if (document.readyState === "complete") follow(); else addEventListener("load", () => setTimeout(follow));
})();
