"""What tests of figures ask of any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from autonas.figures.theme import LIGHT

Drawing = dict[str, Any]
# Of the traces that Plotly draws as SVG; others need WebGL, which the page does without.
PLAIN = {"scatter", "bar"}


def drawn(figure: Any) -> Drawing:
    """A figure as the page gets it."""
    assert figure is not None
    made: Drawing = json.loads(figure.to_json())
    return made


def trials_of(drawing: Drawing) -> set[int]:
    """The trials that marks of the drawing show."""
    return {number for trace in drawing["data"] for number in trace.get("customdata") or () if number is not None}


def texts(value: Any) -> Iterator[str]:
    """Every text anywhere in a drawing."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def check(drawing: Drawing) -> None:
    """What holds of every figure: SVG traces alone, no template, colours that a page can turn, as many trials as points."""
    assert {trace["type"] for trace in drawing["data"]} <= PLAIN
    assert len(str(drawing["layout"]["template"])) < 100, "Plotly's own template is 7 kB in each figure"
    colours = set(LIGHT.values())
    for text in texts(drawing):
        if text.startswith("#"):
            assert text in colours or (len(text) == 9 and text[:7] in colours), text
    for trace in drawing["data"]:
        if "customdata" in trace:
            assert len(trace["customdata"]) == len(trace["x"]) == len(trace["y"])
        if "error_y" not in trace and trace.get("hoverinfo") != "skip":
            assert trace.get("hovertemplate", "").endswith("<extra></extra>")
