"""Scales and labels: where things lie."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from autonas.reporting.labels import spread
from autonas.reporting.scales import Scale, log_ticks

SIZES = st.floats(1e-4, 1e9)


@given(st.lists(SIZES, min_size=1, max_size=9), st.booleans())
def test_a_scale_keeps_order_and_stays_inside(values: list[float], log: bool) -> None:
    scale = Scale.over(values, 300.0, 20.0, log=log)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)
    assert all(20.0 <= place <= 300.0 for place in places)


@given(st.lists(SIZES, min_size=1, max_size=9), st.booleans(), st.sampled_from(["", "parameters", "nats/token"]))
def test_ticks_are_inside_rising_and_told_apart(values: list[float], log: bool, unit: str) -> None:
    scale = Scale.over(values, 0.0, 500.0, log=log)
    ticks = scale.ticks(unit)
    assert 1 <= len(ticks) <= 9
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)
    assert all(0 <= tick.at <= 500 for tick in ticks)
    if (scale.high - scale.low) / scale.high > 0.02:
        assert len({tick.text for tick in ticks}) == len(ticks)


@given(st.lists(st.floats(0, 200), max_size=10))
def test_spread_labels_keep_their_order_and_their_distance(heights: list[float]) -> None:
    moved = spread(heights, 12.0, 0.0, 200.0)
    ordered = [moved[i] for i in sorted(range(len(heights)), key=lambda i: heights[i])]
    assert all(b - a >= 11.7 for a, b in itertools.pairwise(ordered))
    assert all(-0.1 <= height <= 200.1 for height in moved)


@given(st.lists(SIZES, min_size=1, max_size=9), st.sampled_from(["", "parameters", "ms/token"]))
def test_ticks_of_a_logarithmic_axis_are_few_rising_and_told_apart(values: list[float], unit: str) -> None:
    ticks = log_ticks(values, unit)
    assert 1 <= len(ticks) <= 9 and [value for value, _ in ticks] == sorted({value for value, _ in ticks})
    if max(values) > 1.1 * min(values):
        assert len({text for _, text in ticks}) == len(ticks)
