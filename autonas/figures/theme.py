"""How all figures look: colours by what a mark means, on light and on dark paper, and the frame around a drawing.

The colours are told apart by people who are blind to some (checked by simulation in tests/figures/test_theme.py), and whatever
they tell is told by a symbol or a dash, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

# A figure is made for light paper; a page turns each of these colours into that of the same name on dark paper.
LIGHT: Final = {
    "paper": "#fffffb",
    "ink": "#1c1c1a",
    "soft": "#5c5b55",
    "rule": "#d8d6cb",
    "grid": "#eceae1",
    "front": "#0a5c9c",
    "knee": "#b3430a",
    "pick": "#7a2a83",
    "final": "#85837b",
    "faint": "#b9b7ae",
    "alarm": "#9c1c1c",
    "second": "#2c7a4b",
}
DARK: Final = {
    "paper": "#14161a",
    "ink": "#e9e7e1",
    "soft": "#a8a69e",
    "rule": "#383b41",
    "grid": "#23262c",
    "front": "#6fb7f0",
    "knee": "#f3a257",
    "pick": "#d79be3",
    "final": "#8b8d91",
    "faint": "#565960",
    "alarm": "#ff9b8f",
    "second": "#7fcf9f",
}
# What becomes of a trial, as a mark: (colour, symbol, size). Open symbols are not on the front.
MARKS: Final = {
    "knee": ("knee", "diamond", 11),
    "front": ("front", "circle", 8),
    "final": ("final", "circle-open", 7),
    "stopped": ("faint", "triangle-down-open", 7),
    "infeasible": ("alarm", "x-thin-open", 7),
    "failed": ("alarm", "cross-thin-open", 8),
    "live": ("soft", "circle-dot", 7),
}
# Series that are no trials, in the order in which they are needed: studies that are compared, arms, workers.
SERIES: Final = ("front", "knee", "second", "pick", "soft", "final")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
# Powers, sizes and tokens with metric prefixes; everything else with as many digits as the step needs.
SCALED_UNITS: Final = ("parameters", "bytes", "FLOP/token", "tokens")


def rgba(name: str, alpha: float) -> str:
    """A colour of light paper, seen through: an eight-digit hex that a page can turn into the dark one."""
    return f"{LIGHT[name]}{round(255 * alpha):02x}"


def axis(title: str, *, unit: str = "", log: bool = False, **more: Any) -> dict[str, Any]:
    """An axis in our style; `unit` sets how its ticks are written ("share" is shown in per cent)."""
    made: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 12, "color": LIGHT["ink"]}, "standoff": 8},
        "type": "log" if log else "linear",
        "gridcolor": LIGHT["grid"],
        "linecolor": LIGHT["faint"],
        "tickcolor": LIGHT["faint"],
        "tickfont": {"size": 11, "color": LIGHT["soft"]},
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "automargin": True,
        "nticks": 6,
    }
    if log:
        made["dtick"] = "D2"  # 1, 2 and 5 of every decade
    if unit == "share":
        made["tickformat"] = ".0%"
    elif unit in SCALED_UNITS:
        made["tickformat"] = "~s"
    return {**made, **more}


def figure(traces: Sequence[Any], *, x: dict[str, Any], y: dict[str, Any], height: int = 340, **layout: Any) -> go.Figure:
    """Traces in one frame, in our style: no legend, no title, room for the axes' own labels."""
    made = go.Figure(layout=base_layout(height, xaxis=x, yaxis=y, **layout))
    made.add_traces(list(traces))
    return made


def base_layout(height: int, **layout: Any) -> dict[str, Any]:
    """What all figures have: paper, font, margins, hover labels. An empty template: Plotly's own would be
    embedded with each of them."""
    return {
        "template": go.layout.Template(),
        "paper_bgcolor": LIGHT["paper"],
        "plot_bgcolor": LIGHT["paper"],
        "font": {"family": FONT, "size": 12, "color": LIGHT["soft"]},
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "height": height,
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "hoverlabel": {
            "bgcolor": LIGHT["ink"],
            "bordercolor": LIGHT["ink"],
            "font": {"color": LIGHT["paper"], "size": 12, "family": FONT},
            "align": "left",
            "namelength": -1,
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": LIGHT["soft"], "activecolor": LIGHT["front"]},
        **layout,
    }
