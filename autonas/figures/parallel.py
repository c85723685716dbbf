"""Parallel coordinates for notebooks, by Plotly's own trace; a page draws its own (reporting/parallel.py says why)."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.reporting.report import Report
from autonas.reporting.scales import log_ticks


def parallel(report: Report) -> go.Figure:
    """Final trials over the dimensions in which they differ and the objectives; drag along an axis to keep a range.

    Raises:
        ValueError: fewer than two trials have finished.
    """
    standings = report.standings
    if len(standings) < 2:
        raise ValueError(f"{len(standings)} of {report.study.name!r}'s trials have finished; parallel coordinates need two")
    specs = [standing.trial.spec.to_dict() for standing in standings]
    names = [name for name in specs[0] if len({str(spec.get(name)) for spec in specs}) > 1]
    axes = [_dimension(name.replace("_", " "), [spec.get(name) for spec in specs]) for name in names]
    for objective in report.objectives:
        values = [standing.trial.scores[objective.name].value for standing in standings]
        axes.append(_objective(objective.title, values, objective.unit, objective.logarithmic))
    colours = [2 if standing.is_knee else 1 if standing.on_front else 0 for standing in standings]
    scale = [[0.0, theme.LIGHT["faint"]], [0.5, theme.LIGHT["front"]], [1.0, theme.LIGHT["knee"]]]
    lines = go.Parcoords(dimensions=axes, line={"color": colours, "colorscale": scale, "cmin": 0, "cmax": 2})
    made = go.Figure([lines], layout=theme.base_layout(420))
    made.update_layout(margin={"l": 60, "r": 60, "t": 60, "b": 30})
    return made


def _dimension(title: str, values: list[Any]) -> dict[str, Any]:
    """An axis of numbers, or of levels where some are none."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        distinct = sorted(set(values))
        return {"label": title, "values": values, **({"tickvals": distinct} if len(distinct) <= 8 else {})}
    levels = sorted({str(value) for value in values})
    places = {level: place for place, level in enumerate(levels)}
    return {"label": title, "values": [places[str(v)] for v in values], "tickvals": list(places.values()), "ticktext": levels}


def _objective(title: str, values: list[float], unit: str, is_log: bool) -> dict[str, Any]:
    if not is_log or min(values) <= 0:
        return {"label": title, "values": values, "tickformat": ".0%" if unit == "share" else ".3~g"}
    ticks = log_ticks(values, unit)
    return {
        "label": title,
        "values": [math.log10(value) for value in values],
        "tickvals": [math.log10(value) for value, _ in ticks],
        "ticktext": [text for _, text in ticks],
    }
