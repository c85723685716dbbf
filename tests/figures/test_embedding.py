"""Figures as JSON: the same numbers, short, and nothing that JSON does not know."""

from __future__ import annotations

import base64
import gzip
import json
import math

import numpy as np
import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st

from autonas.figures import theme
from autonas.figures.embedding import figure_json, packed_script, plotly_script


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20))
def test_numbers_keep_what_can_be_seen_and_gaps_are_null(values: list[float]) -> None:
    for given_as in (values, np.array(values)):
        made = figure_json(go.Figure([go.Scatter(x=given_as, y=given_as)]))["data"][0]
        for value, told in zip(values, made.get("x", []), strict=True):
            assert told is None if not math.isfinite(value) else math.isclose(told, value, rel_tol=1e-5, abs_tol=1e-300)
        json.dumps(made, allow_nan=False)


def test_nothing_is_in_an_encoding_that_only_plotly_reads() -> None:
    figure = theme.figure([go.Scatter(x=np.arange(9), y=np.linspace(0, 1, 9), customdata=np.arange(9)[:, None])], x={}, y={})
    made = figure_json(figure)
    assert (
        "bdata" not in json.dumps(made) and made["data"][0]["customdata"][3] == [3] and made["data"][0]["x"] == list(range(9))
    )


def test_plotly_is_the_librarys_and_unpacks_to_itself() -> None:
    assert gzip.decompress(base64.b64decode(packed_script())).decode() == plotly_script()
    assert len(packed_script()) < 0.45 * len(plotly_script()) and "plotly.js" in plotly_script()[:200]
