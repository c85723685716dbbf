"""What a study was spent on: a bar of time for each purpose."""

from __future__ import annotations

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.units import unit_of
from autonas.reporting.expenses import WAITING, Expense, expenses
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.reporting.report import Report

_COLORS = {
    "trials on the front": "front",
    "dominated trials": "final",
    "stopped trials": "faint",
    "failed jobs": "alarm",
    "trials that failed later": "alarm",
    "trained and then infeasible": "alarm",
    "declared repeats": "pick",
    "timing before training": "second",
    WAITING: "faint",
}


def cost(report: Report) -> go.Figure | None:
    """Time in jobs by purpose, all workers together; None where no job has left its time."""
    found = [expense for expense in expenses(report) if expense.seconds > 0]
    if not found:
        return None
    unit, name = unit_of(max(expense.seconds for expense in found))
    total = sum(expense.seconds for expense in found)
    bars = go.Bar(
        orientation="h",
        x=[round(expense.seconds / unit, 4) for expense in found],
        y=list(range(len(found))),
        marker={"color": [theme.LIGHT[_COLORS.get(expense.purpose, "soft")] for expense in found]},
        text=[f"{100 * expense.seconds / total:.0f} %" for expense in found],
        textposition="outside",
        textfont={"size": 11, "color": theme.LIGHT["soft"]},
        cliponaxis=False,
        hovertext=[_told(expense) for expense in found],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    return theme.figure(
        [bars],
        x=theme.axis(f"{name} in jobs", range=[0.0, max(e.seconds for e in found) / unit * 1.12]),
        y=theme.axis(
            "",
            tickmode="array",
            tickvals=list(range(len(found))),
            ticktext=[expense.purpose for expense in found],
            range=[len(found) - 0.4, -0.6],
        ),
        height=70 + 28 * len(found),
    )


def _told(expense: Expense) -> str:
    text = f"{expense.purpose}: {duration_text(expense.seconds)}"
    if expense.jobs:
        text += f", {expense.jobs} job{'' if expense.jobs == 1 else 's'}"
    if expense.tokens:
        text += f", {tokens_text(expense.tokens)} tokens, {scaled_text(expense.flops)}FLOP"
    return text
