"""Small multiples: several panels in one figure, each with axes of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from autonas.figures import theme

_ROW, _GAP_X, _GAP_PX = 230, 0.14, 84  # pixels a row, share of the width between columns, pixels between rows


def panels(
    traces: Sequence[Sequence[Any]],
    titles: Sequence[str],
    x: Sequence[dict[str, Any]],
    y: Sequence[dict[str, Any]],
    *,
    columns: int = 2,
    row_height: int = _ROW,
    gap: float = _GAP_X,
) -> go.Figure:
    """Panels row by row: of each its traces, its title (Plotly's HTML: escape what is foreign) and its two axes."""
    count = len(traces)
    columns = min(columns, count)
    rows = -(-count // columns)
    height = rows * (row_height + _GAP_PX)
    wide = (1 - gap * (columns - 1)) / columns
    apart = _GAP_PX / height
    tall = (1 - apart * (rows - 1)) / rows
    layout: dict[str, Any] = {}
    annotations = []
    for place, (title, across, up) in enumerate(zip(titles, x, y, strict=True)):
        row, column = divmod(place, columns)
        left, top = column * (wide + gap), 1 - row * (tall + apart)
        name = "" if place == 0 else str(place + 1)
        layout[f"xaxis{name}"] = {**across, "domain": [left, left + wide], "anchor": f"y{name}"}
        layout[f"yaxis{name}"] = {**up, "domain": [max(top - tall, 0.0), top], "anchor": f"x{name}"}
        annotations.append(
            {
                "text": title,
                "x": left,
                "y": top,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "yshift": 4,
                "showarrow": False,
                "align": "left",
                "font": {"size": 12, "color": theme.LIGHT["ink"]},
            }
        )
    made = go.Figure(layout=theme.base_layout(height, annotations=annotations, **layout))
    made.update_layout(margin={"l": 8, "r": 12, "t": 40, "b": 8})
    for place, own in enumerate(traces):
        name = "" if place == 0 else str(place + 1)
        for trace in own:
            trace.update(xaxis=f"x{name}", yaxis=f"y{name}")
            made.add_trace(trace)
    return made
