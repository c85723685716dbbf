"""Objectives against each other: every trial that has a value in both, intervals for those on the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autonas.figures import theme
from autonas.objective import Objective
from autonas.reporting.marks import KINDS, SHOWN_AT_FIRST, Mark, marks, thinned
from autonas.reporting.quantities import interval_text, score_text
from autonas.reporting.report import Report
from autonas.reporting.scales import log_ticks
from autonas.trial import Score

MOST_LABELS = 16


def pairs(report: Report) -> list[tuple[Objective, Objective]]:
    """(across, up) for the lower triangle of a scatter matrix, row by row."""
    objectives = report.objectives
    return [(objectives[column], objectives[row]) for row in range(1, len(objectives)) for column in range(row)]


def scatter(report: Report, across: Objective, up: Objective, found: Sequence[Mark] | None = None) -> go.Figure:
    """One objective against another. Kinds of trials that are no candidates are there and hidden at first."""
    drawn = thinned(marks(report))[0] if found is None else found
    return theme.figure(traces(drawn, across, up), x=_axis(across, drawn), y=_axis(up, drawn), height=280)


def scatter_matrix(report: Report) -> go.Figure:
    """All pairs of objectives in one figure, for notebooks: the lower triangle of a scatter matrix.

    Raises:
        ValueError: the study has one objective, which there is nothing to draw against.
    """
    if len(report.objectives) < 2:
        raise ValueError(f"{report.study.name!r} has one objective, and a scatter matrix needs two")
    drawn = thinned(marks(report))[0]
    size = len(report.objectives) - 1
    shape: list[list[dict[str, Any] | None]] = [
        [{} if column <= row else None for column in range(size)] for row in range(size)
    ]
    made = make_subplots(rows=size, cols=size, specs=shape, horizontal_spacing=0.09, vertical_spacing=0.09)
    for index, (across, up) in enumerate(pairs(report)):
        row, column = next((r, index - r * (r + 1) // 2) for r in range(size) if index < (r + 1) * (r + 2) // 2)
        made.add_traces(traces(drawn, across, up), rows=row + 1, cols=column + 1)
        made.update_xaxes(_axis(across, drawn), row=row + 1, col=column + 1)
        made.update_yaxes(_axis(up, drawn), row=row + 1, col=column + 1)
    made.update_layout(theme.base_layout(280 * size + 40, dragmode="zoom"))
    return made


def traces(found: Sequence[Mark], across: Objective, up: Objective) -> list[go.Scatter]:
    """One trace for each kind of trial; `meta.kind` names it."""
    made = []
    for kind in KINDS:
        own = [mark for mark in found if mark.kind == kind and across.name in mark.scores and up.name in mark.scores]
        if not own and kind not in SHOWN_AT_FIRST:
            continue
        colour, symbol, size = theme.MARKS[kind]
        on_front = kind in ("front", "knee")
        named = on_front and sum(mark.kind in ("front", "knee") for mark in found) <= MOST_LABELS
        x, y = [mark.scores[across.name] for mark in own], [mark.scores[up.name] for mark in own]
        made.append(
            go.Scatter(
                x=[score.value for score in x],
                y=[score.value for score in y],
                mode="markers+text" if named else "markers",
                text=[str(mark.number) for mark in own] if named else None,
                textposition="top center",
                textfont={"size": 11, "color": theme.LIGHT["ink"]},
                marker={"color": theme.LIGHT[colour], "symbol": symbol, "size": size, "line": _outline(kind)},
                error_x=_bars(x, colour) if on_front else None,
                error_y=_bars(y, colour) if on_front else None,
                customdata=[[mark.number] for mark in own],
                hovertext=[_hover(mark, across, up) for mark in own] if on_front else None,
                hovertemplate="%{hovertext}<extra></extra>" if on_front else _template(kind, across, up),
                name=kind,
                meta={"kind": kind},
                visible=kind in SHOWN_AT_FIRST,
                cliponaxis=False,
            )
        )
    return made


def _outline(kind: str) -> dict[str, Any]:
    if kind in ("front", "knee"):
        return {"color": theme.LIGHT["paper"], "width": 1}
    return {"color": theme.LIGHT[theme.MARKS[kind][0]], "width": 1.4}


def _bars(scores: Sequence[Score], colour: str) -> dict[str, Any] | None:
    """95 % intervals; None where all are exact."""
    if all(score.low == score.high for score in scores):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [score.high - score.value for score in scores],
        "arrayminus": [score.value - score.low for score in scores],
        "color": theme.rgba(colour, 0.45),
        "thickness": 1,
        "width": 0,
    }


def _axis(objective: Objective, found: Sequence[Mark]) -> dict[str, Any]:
    unit = "" if objective.unit in ("share", "parameters") else f", {objective.unit}"
    more: dict[str, Any] = {}
    known = [
        mark.scores[objective.name].value for mark in found if objective.name in mark.scores and mark.kind in SHOWN_AT_FIRST
    ]
    if objective.before_training and known:
        ticks = log_ticks(known, objective.unit)
        more = {"tickmode": "array", "tickvals": [value for value, _ in ticks], "ticktext": [text for _, text in ticks]}
    return theme.axis(objective.title + unit, unit=objective.unit, log=objective.before_training, **more)


def _hover(mark: Mark, across: Objective, up: Objective) -> str:
    """Lines of our own making: no text from outside is among them, which Plotly would read as HTML."""
    lines = [f"<b>Trial {mark.number}</b>{f' ({mark.where})' if mark.where else ''}"]
    for objective in (across, up):
        score = mark.scores[objective.name]
        interval = interval_text(score)
        unit = "" if score.unit in ("share", "parameters", "bytes") else f" {score.unit}"
        lines.append(f"{objective.title}: {score_text(score)}{f' ({interval})' if interval else ''}{unit}")
    return "<br>".join([*lines, mark.text])


def _template(kind: str, across: Objective, up: Objective) -> str:
    """The same for the many, without intervals and architecture: a text for each would be most of a page's bytes."""
    extra = "" if kind == "final" else f"{kind}: not comparable"
    formats = {"share": ".1%", **dict.fromkeys(theme.SCALED_UNITS, ".4~s")}
    lines = [f"{o.title}: %{{{axis}:{formats.get(o.unit, '.4~g')}}}" for o, axis in ((across, "x"), (up, "y"))]
    values = "<br>".join(lines)
    return f"<b>Trial %{{customdata[0]}}</b><br>{values}<extra>{extra}</extra>"
