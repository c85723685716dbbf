"""Importance of the searched dimensions, one panel an objective: a dot for the share, a bar for its interval."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.panels import panels
from autonas.figures.texts import plain
from autonas.reporting.importance import Importance, importances
from autonas.reporting.report import Report

MOST_DIMENSIONS = 20
_ROW_PX = 22


def importance(report: Report, found: Sequence[Importance] | None = None) -> go.Figure | None:
    """Every objective whose importances can be told; None without any. `found`: what `importances` gave, if it is known.

    Dimensions are in one order, by their largest share; of more than `MOST_DIMENSIONS` the first.
    """
    told = [each for each in (importances(report) if found is None else found) if tells(each)]
    if not told:
        return None
    greatest: dict[str, float] = {}
    for each in told:
        for share in each.shares:
            greatest[share.name] = max(greatest.get(share.name, 0.0), share.value)
    names = sorted(greatest, key=lambda name: (-greatest[name], name))[:MOST_DIMENSIONS]
    place = {name: i for i, name in enumerate(names)}
    texts = [plain(name, 22) for name in names]
    up = theme.axis(
        "",
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=texts,
        range=[len(names) - 0.5, -0.5],
    )
    across = theme.axis("share explained", unit="share", range=[-0.02, 1.04], nticks=3)
    bare = {**up, "showticklabels": False}
    return panels(
        [[_dots(each, place)] for each in told],
        [each.objective.title for each in told],
        [across] * len(told),
        [bare if i % 2 else up for i in range(len(told))],
        row_height=max(90, _ROW_PX * len(names)),
        gap=0.06,
    )


def tells(found: Importance) -> bool:
    """Whether there is anything to draw: shares of something that is explained."""
    return bool(found.shares) and found.explained is not None and found.explained > 0.0


def _dots(found: Importance, place: dict[str, int]) -> go.Scatter:
    shares = [share for share in found.shares if share.name in place]
    return go.Scatter(
        x=[round(share.value, 4) for share in shares],
        y=[place[share.name] for share in shares],
        mode="markers",
        marker={"color": theme.LIGHT["front"], "size": 8},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [round(share.high - share.value, 4) for share in shares],
            "arrayminus": [round(share.value - share.low, 4) for share in shares],
            "color": theme.LIGHT["front"],
            "thickness": 1.4,
            "width": 0,
        },
        text=[f"{plain(share.name)}: {share.value:.0%} ({share.low:.0%}–{share.high:.0%})" for share in shares],
        hovertemplate="%{text}<extra></extra>",
    )
