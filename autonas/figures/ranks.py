"""Losses at one rung against those at a later one: how far the order of trials was the same."""

from __future__ import annotations

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.panels import panels
from autonas.reporting.learning import ORDER, kinds_of
from autonas.reporting.progress import agreement_text, agreements
from autonas.reporting.report import Report

MOST_POINTS = 1500  # of a pair of rungs; of more trials every so many-th is drawn
_NAMES = {"knee": "knee", "front": "on the front", "final": "dominated", "stopped": "stopped", "live": "alive"}


def ranks(report: Report) -> go.Figure | None:
    """A panel for each pair of rungs whose ranks are compared; None where no trial was scored at two of them."""
    kinds = kinds_of(report)
    traces, titles, across, up = [], [], [], []
    for pair in agreements(report):
        both = _losses(report, pair.rung, pair.later)
        if not both:
            continue
        shown = both[:: -(-len(both) // MOST_POINTS)]
        traces.append(
            [
                _points(kind, own, pair.rung, pair.later)
                for kind in ORDER
                if (own := [place for place in shown if kinds[place[0]] == kind])
            ]
        )
        titles.append(f"rung {pair.rung} → {pair.later}: τ {agreement_text(pair)}")
        across.append(theme.axis(f"loss at rung {pair.rung}, nats", nticks=5))
        up.append(theme.axis(f"loss at rung {pair.later}", nticks=5))
    return panels(traces, titles, across, up) if traces else None


def _losses(report: Report, rung: int, later: int) -> list[tuple[int, float, float]]:
    """(trial, loss at the rung, loss at the later one) of trials scored at both that are no repeats."""
    found = []
    for trial in report.study.trials:
        if trial.repeat_of is None and len(trial.rungs) > later:
            first, second = (trial.rungs[at].scores.get("val_loss") for at in (rung, later))
            if first is not None and second is not None:
                found.append((trial.number, first.value, second.value))
    return found


def _points(kind: str, places: list[tuple[int, float, float]], rung: int, later: int) -> go.Scatter:
    name, symbol, size = theme.MARKS[kind]
    return go.Scatter(
        x=[round(first, 4) for _, first, _ in places],
        y=[round(second, 4) for _, _, second in places],
        mode="markers",
        marker={"color": theme.LIGHT[name], "symbol": symbol, "size": size},
        customdata=[number for number, _, _ in places],
        hovertemplate=f"trial %{{customdata}}, {_NAMES.get(kind, kind)}: %{{x:.3f}} at rung {rung}, %{{y:.3f}} at rung {later}"
        "<extra></extra>",
    )
