"""Small multiples: panels that do not overlap, each with its own axes."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go
import pytest

from autonas.figures import theme
from autonas.figures.panels import panels
from tests.figures.drawings import drawn


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_no_two_panels_overlap_and_each_has_its_trace(count: int) -> None:
    axes = [theme.axis("a")] * count
    drawing = drawn(panels([[go.Scatter(x=[i], y=[i])] for i in range(count)], ["t"] * count, axes, axes))
    layout, places = drawing["layout"], []
    for i in range(count):
        name = "" if i == 0 else str(i + 1)
        assert (drawing["data"][i]["xaxis"], drawing["data"][i]["yaxis"]) == (f"x{name}", f"y{name}")
        across, up = layout[f"xaxis{name}"], layout[f"yaxis{name}"]
        assert (across["anchor"], up["anchor"]) == (f"y{name}", f"x{name}")
        assert all(0 <= end <= 1 for end in (*across["domain"], *up["domain"]))
        places.append((*across["domain"], *up["domain"]))
    for one, other in itertools.combinations(places, 2):
        apart = one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
        assert apart
