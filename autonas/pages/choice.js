// Which one to take: the trial that promotion/select.py would pick for these limits and weights, and how sure that is.
"use strict";
(() => {
  const form = document.getElementById("choice");
  const choice = autonas.data.choice;
  if (!form || !choice) return;
  const { make, valueText, intervalText, unitText, probabilityText, copyButton } = autonas;
  const objectives = autonas.data.objectives, count = choice.trials.length, width = objectives.length;
  const columns = autonas.data.trials, index = new Map(columns.number.map((number, i) => [number, i]));
  const scoreOf = (trial, name, part = "value") => autonas.at(columns.scores[name][part], index.get(trial));
  const answer = document.getElementById("recommended");
  form.hidden = false;

  // The limits that make a difference: the front's own values, rounded up so that the trial at the limit is within it.
  const up = (value) => {
    if (value <= 0) return value;
    const unit = 10 ** (Math.floor(Math.log10(value)) - 4);
    return Number((Math.ceil(value / unit - 1e-9) * unit).toPrecision(6));
  };
  const steps = objectives.map(({ name }) => [...new Set(choice.trials.map((trial) => up(scoreOf(trial, name))))].sort((a, b) => a - b));
  const controls = objectives.map(({ name }, k) => {
    const limit = form.elements[`limit-${name}`], weight = form.elements[`weight-${name}`];
    limit.max = steps[k].length;
    limit.value = limit.defaultValue = steps[k].length;
    return { limit, weight };
  });

  function wanted() {
    return {
      by: form.elements.by.value,
      limits: controls.map(({ limit }, k) => Number(limit.value) < steps[k].length ? steps[k][Number(limit.value)] : null),
      weights: controls.map(({ weight }) => Number(weight.value)),
    };
  }

  // Distances (count) of rows of `values` (count, width) from the best of everything there, each objective scaled over them.
  function distances(values, weights) {
    const found = new Float64Array(count);
    for (let k = 0; k < width; k++) {
      let low = Infinity, high = -Infinity;
      for (let f = 0; f < count; f++) { const v = values[f * width + k]; if (v < low) low = v; if (v > high) high = v; }
      const reach = high > low ? high - low : 1;
      for (let f = 0; f < count; f++) found[f] += weights[k] * ((values[f * width + k] - low) / reach) ** 2;
    }
    return found.map(Math.sqrt);
  }

  // The places on the front within the limits, the best first; ties go to the lower number.
  function ordered(values, within, { by, weights }) {
    const far = distances(values, by === "knee" ? weights : weights.map(() => 1));
    const k = objectives.findIndex(({ name }) => name === by);
    const key = (f) => k < 0 ? [far[f], choice.trials[f]] : [values[f * width + k], far[f], choice.trials[f]];
    const compare = (a, b) => { const x = key(a), y = key(b); for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return x[i] - y[i]; return 0; };
    return [...within].sort(compare);
  }

  const compared = (value, k) => objectives[k].log ? Math.log(Math.max(value, 1e-12)) : value;
  const places = [...Array(count).keys()];
  const full = new Float64Array(choice.values);

  function choose(want) {
    const limits = want.limits.map((limit, k) => limit === null ? Infinity : compared(limit, k));
    const inside = places.filter((f) => want.limits.every((limit, k) => limit === null || scoreOf(choice.trials[f], objectives[k].name) <= limit));
    const order = ordered(full, inside, want);
    const shares = new Map();
    const values = full.slice(), drawn = choice.drawn.length;
    let none = 0;
    for (let b = 0; b < choice.num_draws; b++) {
      for (let f = 0; f < count; f++) for (let d = 0; d < drawn; d++) values[f * width + choice.drawn[d]] = choice.draws[(b * count + f) * drawn + d];
      const left = places.filter((f) => limits.every((limit, k) => values[f * width + k] <= limit));
      const best = ordered(values, left, want)[0];
      if (best === undefined) none++;
      else shares.set(best, (shares.get(best) || 0) + 1);
    }
    return { order, shares, none, limits: want.limits };
  }

  function command(want) {
    const parts = [autonas.data.promote];
    if (want.by !== "knee") parts.push("--select", want.by);
    objectives.forEach(({ name }, k) => {
      if (want.limits[k] !== null) parts.push("--limit", `${name}=${want.limits[k]}`);
      if (want.by === "knee" && want.weights[k] !== 1) parts.push("--weight", `${name}=${want.weights[k]}`);
    });
    return parts.join(" ");
  }

  function show() {
    const want = wanted();
    objectives.forEach(({ name, unit }, k) => {
      const limit = want.limits[k];
      const text = limit === null ? "any" : `${valueText(limit, unit)} ${unitText(unit)}`.trim();
      form.elements[`limit-${name}`].setAttribute("aria-valuetext", limit === null ? "no limit" : `at most ${text}`);
      document.getElementById(`limit-${name}-told`).textContent = limit === null ? "any" : `≤ ${text}`;
      document.getElementById(`weight-${name}-told`).textContent = `× ${want.weights[k]}`;
      form.elements[`weight-${name}`].disabled = want.by !== "knee";
    });
    const flat = want.by === "knee" && !want.weights.some(Boolean);
    const { order, shares, none } = choose(want);
    if (flat || !order.length) {
      answer.replaceChildren(make("p", flat ? "Every weight is 0, so that nothing tells the trials apart: leave one above 0." : "No trial of the front is within these limits. Raise one of them, or search with it as a limit of the space file."));
      autonas.recommend?.(null);
      return;
    }
    const picked = choice.trials[order[0]];
    const head = make("p", null, "picked");
    const link = make("a", `Trial ${picked}`, "trial pick");
    link.href = `#trial-${picked}`;
    link.dataset.trial = picked;
    head.append(link, make("span", autonas.at(columns.spec, index.get(picked)), "spec"));
    const list = make("dl", null, "scores");
    for (const { name, title, unit } of objectives) {
      const [value, low, high] = ["value", "low", "high"].map((part) => scoreOf(picked, name, part));
      const item = make("div");
      item.append(make("dt", title), make("dd", `${valueText(value, unit, (high - low) / 2)} ${unitText(unit)}`.trim()));
      const interval = intervalText(low, high, unit);
      if (interval) item.lastChild.append(" ", make("small", interval));
      list.append(item);
    }
    const parts = [head, list];
    if (choice.num_draws) {
      const own = (shares.get(order[0]) || 0) / choice.num_draws;
      const rivals = [...shares].filter(([f]) => f !== order[0]).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([f, times]) => `trial ${choice.trials[f]} (${probabilityText(times / choice.num_draws)})`);
      const others = rivals.length ? ` Else most often ${rivals.join(", ")}.` : "";
      const gone = none ? ` In ${probabilityText(none / choice.num_draws)} of the draws nothing would be within the limits.` : "";
      parts.push(make("p", `The pick in ${probabilityText(own)} of ${choice.num_draws} draws of what the true scores may be.${others}${gone}`, "sure"));
    }
    parts.push(make("p", order.length < count ? `${order.length} of ${count} on the front are within the limits.` : `All ${count} on the front were candidates.`, "sure"));
    const line = make("p", null, "command"), code = make("code", command(want));
    line.append(code, copyButton(() => command(want)));
    parts.push(line);
    answer.replaceChildren(...parts);
    autonas.recommend?.(picked);
  }

  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  autonas.choose = choose;
  autonas.wanted = wanted;
  autonas.showChoice = show;
})();
