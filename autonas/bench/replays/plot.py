"""The curves of `autonas bench search` as a picture: what share of the hypervolume each searcher has, by compute."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autonas.bench.replays.contest import ORACLE
from autonas.errors import RequestError, resource_error

FORMATS = (".svg", ".png", ".pdf")
# The first searcher in a colour of its own, peers in others that the colour-blind tell apart (Okabe & Ito), baselines grey.
_OURS = "#d55e00"
_PEERS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
_PLAIN = {"random": ("0.45", "--"), "size": ("0.6", ":")}


def check(path: str | Path) -> None:
    """Before an hour of replays: whether a picture can be drawn, to this file.

    Raises:
        RequestError: matplotlib is not installed, or the name has another ending.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise RequestError(f"--plot {path}: the name must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if importlib.util.find_spec("matplotlib") is None:
        raise RequestError("--plot needs matplotlib: pip install 'autonas[plots]'")


def draw(found: Mapping[str, Any], path: str | Path) -> None:
    """Draw what the bench found, its `conditions`, to a file. Medians over seeds, with their bootstrap intervals.

    Raises:
        RequestError: see `check`; or the file cannot be written.
    """
    check(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    regime, curves = list(found["curves"].items())[-1]
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    budgets = curves["budgets"]
    others = iter(_PEERS * 3)
    for place, (name, curve) in enumerate((n, c) for n, c in curves.items() if n not in ("budgets", ORACLE)):
        colour, dashes = _PLAIN.get(name, (_OURS if place == 0 else next(others), "-"))
        known = [i for i, value in enumerate(curve["median"]) if value is not None]
        if not known:
            continue
        at = [budgets[i] for i in known]
        width = 1.4 if place else 2.4
        axes.plot(at, [curve["median"][i] for i in known], dashes, color=colour, label=name, linewidth=width)
        low, high = ([curve[end][i] for i in known] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(budgets, curves[ORACLE], color="black", linewidth=1.0, linestyle=(0, (1, 1)), label=ORACLE)
    axes.axhline(0.95, color="0.85", linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    table = found["table"]
    unit = "trainings begun" if regime == "trainings" else f"training compute spent ({table['cost_unit']})"
    seeds = sorted(set(found["seeds"].values()))
    axes.set_xlabel(unit)
    axes.set_ylabel("share of the table's hypervolume")
    axes.set_ylim(bottom=_bottom(curves), top=1.01)
    counted = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    axes.set_title(f"{table['name']}, {table['rows']:,} rows; medians of {counted} seeds, 95 % intervals", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    try:
        # Without a date or random names, so that the same findings give the same file.
        with rc_context({"svg.hashsalt": "autonas", "svg.fonttype": "none"}):
            figure.savefig(path, metadata={"Date": None} if Path(path).suffix.lower() == ".svg" else None, dpi=150)
    except OSError as error:
        raise resource_error(error, path) from None


def _bottom(curves: Mapping[str, Any]) -> float:
    """Where the axis begins: a little below what most searchers have after a third of the budgets, as a logarithm."""
    third = len(curves["budgets"]) // 4
    values = [c["median"][third] for name, c in curves.items() if name not in ("budgets", ORACLE)]
    return max(0.0, min((v for v in values if v is not None), default=0.0) - 0.05)
