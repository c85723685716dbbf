// Which one to take: the trial that promotion/select.py would pick for these limits and weights, and how sure that is.
"use strict";
(() => {
  const form = document.getElementById("choice");
  const choice = autonas.data.choice;
  if (!form || !choice) return;
  const { make, valueText, intervalText, unitText, probabilityText, copyButton } = autonas;
  const objectives = autonas.data.objectives, count = choice.trials.length, width = objectives.length;
  const columns = autonas.data.trials, index = new Map(columns.number.map((number, i) => [number, i]));
  const scoreOf = (trial, name, part = "value") => autonas.at(columns.scores[name][part], index.get(trial)); // as shown
  const answer = document.getElementById("recommended");
  form.hidden = false;

  const steps = choice.steps.map((texts) => texts.map(Number));
  const typed = objectives.map(() => null); // a limit that was written and not slid to
  const controls = objectives.map(({ name }, k) => {
    const limit = form.elements[`limit-${name}`], weight = form.elements[`weight-${name}`], most = form.elements[`most-${name}`];
    limit.max = steps[k].length;
    limit.value = limit.defaultValue = steps[k].length;
    limit.addEventListener("input", () => { typed[k] = null; });
    most.addEventListener("change", () => {
      const text = most.value.trim(), found = numberOf(text, objectives[k].unit);
      if (Number.isNaN(found)) {
        most.setAttribute("aria-invalid", "true");
        answer.replaceChildren(make("p", `“${text}” is no limit of ${objectives[k].title.toLowerCase()}. Write a number, such as ${{ parameters: "100k", bytes: "1M", share: "5 %" }[objectives[k].unit] || "1.5"}, or any.`));
        autonas.recommend?.(null);
        return;
      }
      typed[k] = found === null ? null : { value: found, text: String(found) };
      const place = found === null ? -1 : steps[k].findLastIndex((step) => step <= found);
      limit.value = found === null ? steps[k].length : Math.max(place, 0);
      show();
    });
    return { limit, weight, most };
  });

  // "100k", "1.2 M", "5 %", "4.3 ms/token" as numbers in the objective's unit; null for no limit, NaN for what is none.
  function numberOf(text, unit) {
    if (text === "" || text === "any") return null;
    const parts = /^[≤<]?\s*([\d.,]+(?:e[+-]?\d+)?)\s*([kKmMgG%]?)(?:[a-zA-Z].*)?$/.exec(text.replace(/(\d),(?=\d{3}\b)/g, "$1"));
    if (!parts) return NaN;
    if (unit === "share" && Number(parts[1]) > 1 && parts[2] !== "%") return NaN; // 20, where 20 % is meant or nothing
    const scale = { k: 1e3, K: 1e3, m: 1e6, M: 1e6, g: 1e9, G: 1e9, "%": 0.01 }[["parameters", "FLOP/token", "bytes", "share"].includes(unit) ? parts[2] : ""] ?? 1;
    return Number((Number(parts[1]) * scale).toPrecision(12));
  }

  function wanted() {
    return {
      by: form.elements.by.value,
      limits: controls.map(({ limit }, k) => typed[k] ? typed[k].value : Number(limit.value) < steps[k].length ? steps[k][Number(limit.value)] : null),
      texts: controls.map(({ limit }, k) => typed[k] ? typed[k].text : choice.steps[k][Number(limit.value)] ?? null),
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
  const full = new Float64Array(choice.values.flat());

  function choose(want) {
    // Limits are held against the scores to their last digit, as promote does; in draws, against what is drawn.
    const inside = places.filter((f) => want.limits.every((limit, k) => limit === null || choice.scores[f][k] <= limit));
    const exact = places.filter((f) => want.limits.every((limit, k) => limit === null || choice.drawn.includes(k) || choice.scores[f][k] <= limit));
    const limited = choice.drawn.map((k, d) => [d, want.limits[k] === null ? null : compared(want.limits[k], k)]).filter(([, limit]) => limit !== null);
    const order = ordered(full, inside, want);
    const shares = new Map();
    const values = full.slice(), drawn = choice.drawn.length;
    let none = 0;
    for (let b = 0; b < choice.num_draws; b++) {
      const draw = (f, d) => choice.draws[(b * count + f) * drawn + d];
      for (let f = 0; f < count; f++) for (let d = 0; d < drawn; d++) values[f * width + choice.drawn[d]] = draw(f, d);
      const left = exact.filter((f) => limited.every(([d, limit]) => draw(f, d) <= limit));
      const best = ordered(values, left, want)[0];
      if (best === undefined) none++;
      else shares.set(best, (shares.get(best) || 0) + 1);
    }
    const far = distances(full, want.by === "knee" ? want.weights : want.weights.map(() => 1));
    return { order, shares, none, far };
  }

  function command(want) {
    const parts = [autonas.data.promote];
    if (want.by !== "knee") parts.push("--select", want.by);
    objectives.forEach(({ name }, k) => {
      if (want.limits[k] !== null) parts.push("--limit", `${name}=${want.texts[k]}`);
      if (want.by === "knee" && want.weights[k] !== 1) parts.push("--weight", `${name}=${want.weights[k]}`);
    });
    return parts.join(" ");
  }

  function show() {
    const want = wanted();
    objectives.forEach(({ name, unit }, k) => {
      const limit = want.limits[k], most = form.elements[`most-${name}`];
      const text = limit === null ? "any" : ["parameters", "bytes", "FLOP/token"].includes(unit) ? limit.toLocaleString("en") : unit === "share" ? `${Number((100 * limit).toPrecision(5))} %` : String(limit);
      form.elements[`limit-${name}`].setAttribute("aria-valuetext", limit === null ? "no limit" : `at most ${text} ${unitText(unit)}`.trim());
      most.value = text;
      most.removeAttribute("aria-invalid");
      document.getElementById(`weight-${name}-told`).textContent = `× ${want.weights[k]}`;
      form.elements[`weight-${name}`].disabled = want.by !== "knee";
    });
    const flat = want.by === "knee" && !want.weights.some(Boolean);
    const found = choose(want), { order } = found;
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
    head.append(link, " ", make("span", autonas.at(columns.spec, index.get(picked)), "spec"));
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
    for (const text of reasons(want, found, picked)) parts.push(make("p", text, "sure"));
    const line = make("p", null, "command"), code = make("code", command(want));
    line.append(code, copyButton(() => command(want)));
    parts.push(line);
    const words = make("p", null, "command");
    words.append(copyButton(() => paragraph(want, found, picked), "Copy as a paragraph"));
    parts.push(words);
    answer.replaceChildren(...parts);
    autonas.recommend?.(picked);
  }

  // Why this one, how sure that is, and what the study's own second look said.
  function reasons(want, { order, shares, none, far }, picked) {
    const name = (f) => `trial ${choice.trials[f]}`, texts = [];
    const within = order.length < count ? `of the ${order.length} of ${count} on the front within the limits` : `of all ${count} on the front`;
    const next = order[1] === undefined ? "" : want.by === "knee" ? `; next, ${name(order[1])} at ${far[order[1]].toFixed(2)}` : `; next, ${name(order[1])}`;
    if (want.by === "knee") texts.push(`Nearest to the best of everything, ${within}: at a distance of ${far[order[0]].toFixed(2)}${next}.`);
    else texts.push(`The best ${objectives.find((each) => each.name === want.by).title.toLowerCase()}, ${within}${next}.`);
    if (choice.num_draws) {
      const share = (f) => (shares.get(f) || 0) / choice.num_draws, own = share(order[0]);
      const rivals = [...shares.keys()].filter((f) => f !== order[0]).sort((a, b) => share(b) - share(a)).slice(0, 3);
      const listed = rivals.map((f) => `${name(f)} ${probabilityText(share(f))}`).join(", ");
      const error = Math.ceil(196 * Math.sqrt(Math.max(own * (1 - own), 0.25 / choice.num_draws) / choice.num_draws));
      const near = rivals.length && share(rivals[0]) > own - 0.1 ? " They are near equals." : "";
      texts.push(`It is the pick in ${probabilityText(own)} (± ${error} points) of ${choice.num_draws} draws of what the true scores may be${listed ? `; ${listed}` : ""}.${near}`);
      if (none) texts.push(`In ${probabilityText(none / choice.num_draws)} of the draws nothing would be within the limits.`);
    }
    for (const [other, text] of (autonas.data.extras.neighbours[picked] || []).slice(0, 2)) texts.push(`Trial ${other} ${text}.`);
    for (const { trial, steps: length, probability, failed } of autonas.data.promotions) {
      const best = probability === null ? "" : `, the best with a probability of ${probabilityText(probability)} after a second look with new seeds`;
      texts.push(`Trial ${trial} was promoted to a run of ${length.toLocaleString("en")} steps${best}${failed ? "; that run failed" : ""}.`);
    }
    return texts;
  }

  function paragraph(want, found, picked) {
    const scores = objectives.map(({ name, title, unit }) => {
      const [value, low, high] = ["value", "low", "high"].map((part) => scoreOf(picked, name, part)), interval = intervalText(low, high, unit);
      return `${title.toLowerCase()} ${valueText(value, unit, (high - low) / 2)} ${unitText(unit)}`.trim() + (interval ? ` (95 %: ${interval})` : "");
    });
    const limits = objectives.map(({ name }, k) => want.limits[k] === null ? "" : `${name} at most ${want.texts[k]}`).filter(Boolean);
    return [`Study ${autonas.data.study}: trial ${picked} (${autonas.at(columns.spec, index.get(picked))}), with ${scores.join(", ")}.`, limits.length ? `Limits: ${limits.join(", ")}.` : "", ...reasons(want, found, picked), `Command: ${command(want)}`].filter(Boolean).join(" ");
  }

  form.addEventListener("input", (event) => { if (!event.target.name?.startsWith("most-")) show(); });
  form.addEventListener("reset", () => { typed.fill(null); setTimeout(show); });
  form.addEventListener("submit", (event) => event.preventDefault());
  autonas.choose = choose;
  autonas.wanted = wanted;
  autonas.showChoice = show;
})();
