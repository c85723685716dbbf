"""The drawing of the hypervolume: what lies where, and what is left out when it cannot be told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from autonas.reporting.front import build_report
from autonas.reporting.steps import steps
from tests.reporting.studies import make_study, with_controls


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


@pytest.mark.parametrize("survivors", [1, 6, 40, 150])
def test_everything_lies_within_the_axes(survivors: int) -> None:
    report = build_report(with_controls(make_study(trials=survivors, survivors=survivors, documents=6, samples=16)))
    drawing = steps(report)
    assert drawing is not None
    frame = drawing.frame
    assert 1 <= len(drawing.points) <= 62
    assert drawing.points[-1][0] == report.hypervolume[-1].trial
    for path in (drawing.path, drawing.band):
        across = [float(x) for x in re.findall(r"H(-?[\d.]+)", path)]
        up = [float(y) for y in re.findall(r"V(-?[\d.]+)", path)]
        assert all(frame.left <= x <= frame.right for x in across) and all(frame.top <= y <= frame.bottom for y in up)
    for _, x, y in drawing.points:
        assert frame.left <= x <= frame.right and frame.top <= y <= frame.bottom


def test_the_line_rises_and_lies_in_its_band() -> None:
    drawing = steps(build_report(make_study(trials=30, survivors=30)))
    assert drawing is not None
    heights = [y for _, _, y in drawing.points]
    assert heights == sorted(heights, reverse=True), "larger is further up"
    band = [float(y) for y in re.findall(r"V(-?[\d.]+)", drawing.band)]
    upper, lower = band[: len(heights)], band[len(heights) :][::-1]
    assert all(high <= y <= low for high, y, low in zip(upper, heights, lower, strict=True))


def test_random_search_is_drawn_beside_it_and_the_forecast_behind() -> None:
    report = build_report(with_controls(make_study(trials=40, survivors=40)))
    drawing = steps(report)
    assert drawing is not None and drawing.random is not None and drawing.ahead is not None
    seen, beyond = numbers(drawing.random.path), numbers(drawing.random.beyond)
    assert seen[-2:] == beyond[:2], "scaled up from where it ends"
    assert seen[::2] == sorted(seen[::2]) and beyond[::2] == sorted(beyond[::2])
    assert drawing.ahead.x > drawing.points[-1][1]
    assert drawing.ahead.y_high <= drawing.ahead.y <= drawing.ahead.y_low <= drawing.points[-1][2]
    assert abs(drawing.label[1] - drawing.random.label[1]) >= 13
    assert numbers(drawing.ahead.path)[:2] == [drawing.label[0], drawing.points[-1][2]], "from the end of the line"


def test_what_cannot_be_told_is_not_drawn() -> None:
    drawing = steps(build_report(make_study(survivors=5)))
    assert drawing is not None and drawing.random is None and drawing.ahead is None
    assert np.isfinite(numbers(drawing.path)).all()
