// The drawer of one trial: what it is, what it scored and how that was measured, what its neighbours offer, and what it writes.
"use strict";
(() => {
  const { make, at, valueText, intervalText, unitText, probabilityText, copyButton, scaled } = autonas;
  const columns = autonas.data.trials, extras = autonas.data.extras;
  const index = new Map(columns.number.map((number, i) => [String(number), i]));
  const lastRung = columns.number.reduce((last, _, i) => Math.max(last, at(columns.rung, i) ?? 0), 0);
  autonas.hasTrial = (trial) => index.has(trial);
  autonas.specOf = (trial) => at(columns.spec, index.get(trial)) || "no architecture";

  const KINDS = { knee: "the knee of the front", front: "on the front", final: "finished, dominated", stopped: "stopped", infeasible: "infeasible", failed: "failed", live: "running", complete: "complete, without a score for every objective", repeat: "a declared repeat" };

  function table(rows, heads) {
    const result = make("table"), body = make("tbody");
    if (heads) {
      const line = make("tr");
      for (const text of heads) { const head = make("th", text); head.scope = "col"; line.append(head); }
      const top = make("thead");
      top.append(line);
      result.append(top);
    }
    for (const [name, ...cells] of rows) {
      const row = make("tr"), head = make("th");
      head.scope = "row";
      head.append(...[name].flat());
      row.append(head, ...cells.map((cell) => { const made = make("td"); made.append(...[cell].flat()); return made; }));
      body.append(row);
    }
    result.append(body);
    return result;
  }

  autonas.details = (trial) => {
    const i = index.get(trial), kind = columns.kind[i];
    const tokens = at(columns.tokens, i), rung = at(columns.rung, i), probability = at(columns.probability, i), seeds = at(columns.seeds, i);
    const repeat = at(columns.repeat_of, i), isFront = kind === "front" || kind === "knee", comparable = isFront || kind === "final";
    const sentence = [
      repeat === null ? KINDS[kind] || kind : `a declared repeat of trial ${repeat}`,
      probability === null ? "" : `${isFront ? ", and stays there" : ", on the front"} with a probability of ${probabilityText(probability)}`,
      rung === null ? "; not scored" : `; scored at rung ${rung}, after ${scaled(tokens)} tokens`,
      seeds > 1 ? `, trained with ${seeds} seeds` : "",
    ].join("");
    const parts = [make("p", sentence)];
    const reason = at(columns.reason, i);
    if (reason) parts.push(make("p", extras.why?.[trial] || reason));
    if (isFront) {
      const line = make("p", "Train it in full: ", "command"), text = `${autonas.data.promote} --trial ${trial}`;
      line.append(make("code", text), copyButton(() => text));
      parts.push(line);
    }
    for (const { trial: promoted, steps, folder } of autonas.data.promotions) if (String(promoted) === trial) parts.push(make("p", `Promoted to a run of ${steps.toLocaleString("en")} steps: ${folder}`));
    if (comparable) {
      const mine = make("button", autonas.myPick() === trial ? "No longer my pick" : "Mark as my pick", "copy");
      mine.type = "button";
      mine.addEventListener("click", () => { autonas.choosePick(autonas.myPick() === trial ? null : trial); mine.textContent = autonas.myPick() === trial ? "No longer my pick" : "Mark as my pick"; });
      parts.push(mine);
    }
    for (const [severity, title, text] of extras.findings[trial] || []) {
      const line = make("p", null, severity);
      const told = `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
      line.append(make("strong", `${severity === "alarm" ? "Alarm" : "Note"}: ${title}. `), told);
      parts.push(line);
    }
    parts.push(...scores(trial, i, comparable), ...neighbours(trial), ...curve(trial), ...architecture(i), ...samples(trial), ...checks(trial));
    return parts;
  };

  function scores(trial, i, comparable) {
    const rows = [];
    for (const [name, { title, unit, ...column }] of Object.entries(columns.scores)) {
      const value = at(column.value, i);
      if (value === null) continue;
      const [low, high, n] = [at(column.low, i), at(column.high, i), at(column.n, i)];
      const note = columns.notes[at(column.note, i)];
      const how = [low === high ? "exact" : intervalText(low, high, unit), n === null ? "" : `n = ${n}`, note].filter(Boolean).join("; ");
      rows.push([[title, make("small", [unitText(unit), name].filter(Boolean).join(" · "))], valueText(value, unit, (high - low) / 2), make("span", how, "how")]);
    }
    if (!rows.length) return [];
    const merged = at(columns.repeat_of, i), unlike = merged !== null ? `Merged into trial ${merged}, which stands for both.` : at(columns.rung, i) < lastRung ? "Scored short of the last rung: not to be compared with the front." : "Not compared with the front.";
    const about = comparable ? [] : [make("p", unlike, "how")];
    return [make("h3", "Scores"), ...about, table(rows, ["score", "value", "95 % interval, and how measured"])];
  }

  function neighbours(trial) {
    const found = extras.neighbours[trial] || [];
    if (!found.length) return [];
    const list = make("ul", null, "neighbours");
    for (const [other, text] of found) {
      const item = make("li"), link = make("a", `Trial ${other}`, "trial front");
      link.href = `#trial-${other}`;
      link.dataset.trial = other;
      item.append(link, ` ${text}.`);
      list.append(item);
    }
    return [make("h3", "Nearest on the front"), list];
  }

  // The trial's own lines of the learning curves, beside the knee's.
  function curve(trial) {
    const figure = autonas.data.figures.curves;
    if (!figure) return [];
    const wanted = [trial];
    const traces = [];
    for (const trace of figure.data) {
      if (!trace.customdata) continue;
      const keep = trace.customdata.map((own) => own !== null && wanted.includes(String([own].flat()[0])));
      if (!keep.some(Boolean)) continue;
      const pick = (values) => Array.isArray(values) ? values.filter((_, k) => keep[k]) : values;
      traces.push({ ...trace, x: pick(trace.x), y: pick(trace.y), customdata: undefined, text: undefined, hovertext: pick(trace.hovertext), mode: trace.mode.replace("+text", ""), visible: true });
    }
    if (!traces.length) return [];
    const place = make("div", null, "small-plot");
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `Learning curve of trial ${trial}: training loss, and the validation loss of each rung, over tokens`);
    autonas.afterDrawer = () => autonas.plotInto(place, { data: traces, layout: { ...figure.layout, height: 220, shapes: [], annotations: [] } });
    return [make("h3", "Learning curve"), place];
  }

  function bars(title, parts, i, unit) {
    const values = Object.entries(parts).map(([name, column]) => [name, at(column, i)]).filter(([, value]) => value);
    const total = values.reduce((sum, [, value]) => sum + value, 0);
    if (!total) return [];
    const rows = values.map(([name, value]) => {
      const bar = make("span", null, "part-bar"), fill = make("span");
      fill.style.width = `${100 * value / total}%`;
      bar.append(fill);
      return [name.replace("_", " "), scaled(value), `${(100 * value / total).toFixed(0)} %`, bar];
    });
    return [make("h3", `${title}: ${scaled(total)} ${unit}`.trim()), table(rows)];
  }

  function architecture(i) {
    const own = Object.fromEntries(Object.entries(columns.dimensions).map(([name, column]) => [name, at(column, i)]));
    const parts = [make("h3", "Architecture")];
    if (at(columns.spec, i)) parts.push(diagram(own));
    else parts.push(make("p", "Its parameters describe no architecture.", "how"));
    parts.push(...bars("Parameters", columns.parts.params, i, ""), ...bars("FLOPs of a token's forward pass, mean over the context", columns.parts.flops, i, ""));
    const more = make("details");
    more.append(make("summary", "As in a space file"), table(Object.entries(own).filter(([, value]) => value !== null).map(([name, value]) => [name, String(value)])));
    const print = at(columns.fingerprint, i);
    if (print) more.append(make("p", `fingerprint ${print}`, "how"));
    parts.push(more);
    return parts;
  }

  // The model's blocks from the tokens down to the logits.
  function diagram(own) {
    const inner = Math.floor(own.width * own.ffn_multiplier), head = own.width / own.heads, gated = /glu$/.test(own.activation);
    const norm = own.norm === "rmsnorm" ? "RMSNorm" : "LayerNorm";
    const shared = own.kv_heads === own.heads ? "" : `, ${own.kv_heads} of keys and values`;
    const dropout = (share) => share ? `, dropout ${share}` : "";
    const heads = (count) => `${count} head${count === 1 ? "" : "s"}`;
    const block = make("ol", null, "diagram"), repeat = make("li", null, "repeat"), inside = make("ol");
    const box = (name, text, className) => { const made = make("li", null, className || ""); made.append(make("strong", name), " ", make("span", text)); return made; };
    inside.append(
      box(norm, ""),
      box("Attention", `${heads(own.heads)} of ${head}${shared}; ${own.position === "rope" ? "RoPE" : own.position === "alibi" ? "ALiBi" : "learned positions"}${dropout(own.attention_dropout)}`, "attention"),
      box("+", "residual", "sum"),
      box(norm, ""),
      box("Feed-forward", `${own.width} → ${inner}${gated ? " × 2, gated" : ""} → ${own.width}; ${{ gelu: "GELU", silu: "SiLU", geglu: "GEGLU", swiglu: "SwiGLU" }[own.activation] || own.activation}${dropout(own.residual_dropout)}`, "feed-forward"),
      box("+", "residual", "sum"),
    );
    repeat.append(make("strong", `${own.layers} layer${own.layers === 1 ? "" : "s"} of`), inside);
    block.append(
      box("Embedding", `${own.vocab_size.toLocaleString("en")} × ${own.width}${own.position === "learned" ? `, and ${own.context_length} positions` : ""}`, "embedding"),
      repeat,
      box(norm, ""),
      box("Head", own.tied_embeddings ? "the embedding's matrix again" : `${own.width} × ${own.vocab_size.toLocaleString("en")}`, "embedding"),
    );
    return block;
  }

  function samples(trial) {
    const found = [...document.querySelectorAll(`[data-samples="${CSS.escape(trial)}"] .sample`)];
    if (!found.length) return [];
    const bad = found.filter((sample) => sample.classList.contains("collapsed")), good = found.filter((sample) => !sample.classList.contains("collapsed"));
    return [make("h3", "Generations"), ...[...good.slice(0, 2), ...bad.slice(0, 2)].map((sample) => sample.cloneNode(true))];
  }

  function checks(trial) {
    const found = extras.checks[trial];
    return found ? [make("h3", "Checks that ran"), table(found.map(([name, text]) => [name, make("span", text, "how")]))] : [];
  }
})();
