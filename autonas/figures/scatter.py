"""Objectives against each other: every trial with a value in both, intervals for those on the front, and at the edges the
trials that were turned away, failed or were stopped before they had the other value."""

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
_MARGIN = {"l": 8, "r": 12, "t": 30, "b": 8}  # px; the tools of a panel stand above it, and hide none of its points


def pairs(report: Report) -> list[tuple[Objective, Objective]]:
    """(across, up) for the lower triangle of a scatter matrix, row by row."""
    objectives = report.objectives
    return [(objectives[column], objectives[row]) for row in range(1, len(objectives)) for column in range(row)]


def scatter(
    report: Report, across: Objective, up: Objective, found: Sequence[Mark] | None = None, *, named: bool = True
) -> go.Figure:
    """One objective against another. Kinds of trials that are no candidates are there and hidden at first.

    Trials of a small front are `named` by their numbers; a page numbers them itself, where they hide least.
    """
    drawn = thinned(marks(report))[0] if found is None else found
    at_edges = _at_edges(drawn, across, up)
    more = {"xaxis2": _edge("x"), "yaxis2": _edge("y")} if at_edges else {}
    shown = [*traces(drawn, across, up, named=named), *at_edges]
    return theme.figure(shown, x=_axis(across, drawn), y=_axis(up, drawn), height=298, margin=_MARGIN, **more)


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


def traces(found: Sequence[Mark], across: Objective, up: Objective, *, named: bool = True) -> list[go.Scatter]:
    """One trace for each kind of trial; `meta.kind` names it."""
    made = []
    named = named and sum(mark.kind in ("front", "knee") for mark in found) <= MOST_LABELS
    for kind in KINDS:
        own = [mark for mark in found if mark.kind == kind and across.name in mark.scores and up.name in mark.scores]
        if not own and kind not in SHOWN_AT_FIRST:
            continue
        colour = theme.MARKS[kind][0]
        on_front = kind in ("front", "knee")
        x, y = [mark.scores[across.name] for mark in own], [mark.scores[up.name] for mark in own]
        made.append(
            go.Scatter(
                x=[score.value for score in x],
                y=[score.value for score in y],
                mode="markers+text" if named and on_front else "markers",
                text=[str(mark.number) for mark in own] if named and on_front else None,
                textposition="top center",
                textfont={"size": 11, "color": theme.LIGHT["ink"]},
                marker=_marker(kind),
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


def _at_edges(found: Sequence[Mark], across: Objective, up: Objective) -> list[go.Scatter]:
    """Trials that are no candidates and have one of the two values: above it at the top, or beside it at the right."""
    made = []
    for known, missing in ((across, up), (up, across)):
        half = [mark for mark in found if known.name in mark.scores and missing.name not in mark.scores]
        for kind in KINDS:
            own = [mark for mark in half if mark.kind == kind]
            if not own or kind in SHOWN_AT_FIRST:
                continue
            values, end = [mark.scores[known.name].value for mark in own], [1] * len(own)
            made.append(
                go.Scatter(
                    **({"x": values, "y": end, "yaxis": "y2"} if known is across else {"x": end, "y": values, "xaxis": "x2"}),
                    mode="markers",
                    marker=_marker(kind),
                    customdata=[[mark.number] for mark in own],
                    hovertemplate=_template(kind, across, up, missing),
                    name=kind,
                    meta={"kind": kind},
                    visible=False,
                    cliponaxis=False,
                )
            )
    return made


def _edge(letter: str) -> dict[str, Any]:
    """The axis of a panel's edges: what stands at 1 has no value, and stays there at every zoom, within reach."""
    other = {"x": "y", "y": "x"}[letter]
    return {"overlaying": letter, "anchor": other, "range": [0, 1.01], "fixedrange": True, "visible": False}


def _marker(kind: str) -> dict[str, Any]:
    colour, symbol, size = theme.MARKS[kind]
    return {"color": theme.LIGHT[colour], "symbol": symbol, "size": size, "line": _outline(kind)}


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


def _template(kind: str, across: Objective, up: Objective, missing: Objective | None = None) -> str:
    """The same for the many, without intervals and architecture: a text for each would be most of a page's bytes."""
    extra = "" if kind == "final" else f"{kind}: not comparable"
    formats = {"share": ".1%", **dict.fromkeys(theme.SCALED_UNITS, ".4~s")}
    values = [
        f"{o.title}: " + ("none" if o is missing else f"%{{{axis}:{formats.get(o.unit, '.4~g')}}}")
        for o, axis in ((across, "x"), (up, "y"))
    ]
    return f"<b>Trial %{{customdata[0]}}</b><br>{'<br>'.join(values)}<extra>{extra}</extra>"
