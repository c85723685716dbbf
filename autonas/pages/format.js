// Numbers as people read them, the same as reporting/quantities.py writes them; elements; and the trials' columns.
"use strict";
(() => {
  const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

  function scaled(value) {
    for (const [factor, prefix] of PREFIXES) {
      if (Math.abs(value) >= factor * 0.9995) {
        const size = Math.abs(value / factor);
        return `${(value / factor).toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0)} ${prefix}`;
      }
    }
    return String(Number(value.toPrecision(3)));
  }

  // A value without its unit's name, with the digits that `error`, half its interval, warrants.
  function valueText(value, unit, error = 0) {
    if (unit === "share") return `${(100 * value).toFixed(error >= 0.005 || value === 0 || value === 1 ? 0 : 1)} %`;
    if (["parameters", "FLOP/token", "bytes"].includes(unit)) return scaled(value) + (unit === "bytes" ? "B" : "");
    const size = error > 0 ? Math.max(1 - Math.floor(Math.log10(error)), 0) : value ? Math.max(2 - Math.floor(Math.log10(Math.abs(value))), 0) : 1;
    return value.toFixed(Math.min(size, 4));
  }

  function intervalText(low, high, unit) {
    if (low === high) return "";
    const error = (high - low) / 2;
    const first = valueText(low, unit, error);
    return `${unit === "share" ? first.replace(" %", "") : first}–${valueText(high, unit, error)}`;
  }

  const unitText = (unit) => ["share", "parameters", "bytes"].includes(unit) ? "" : unit;
  const probabilityText = (share) => share > 0.995 ? "> 99 %" : share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`;

  function make(name, text, className) {
    const element = document.createElement(name);
    if (text !== undefined && text !== null) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  // A column is an array, or the one value that all trials have.
  const at = (column, index) => Array.isArray(column) ? column[index] : column;

  function copyButton(text, label = "Copy") {
    const button = make("button", label, "copy");
    button.type = "button";
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(text()); } catch { fallback(text()); }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 1500);
    });
    return button;
  }
  function fallback(text) { // a page from a file may not have the clipboard
    const field = make("textarea", text);
    document.body.append(field);
    const before = document.activeElement;
    field.select();
    document.execCommand("copy");
    field.remove();
    before?.focus();
  }

  Object.assign(autonas, { scaled, valueText, intervalText, unitText, probabilityText, make, at, copyButton });
})();
