"""Scales, labels and drawings: where things lie."""

from __future__ import annotations

import dataclasses
import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from autonas.reporting.curves import curves
from autonas.reporting.front import build_report
from autonas.reporting.labels import place_labels, spread
from autonas.reporting.scales import Scale
from autonas.reporting.steps import steps
from autonas.trial import StudyRecord
from tests.reporting.studies import make_study

SIZES = st.floats(1e-4, 1e9)


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


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


@given(st.lists(st.tuples(st.integers(60, 300), st.integers(40, 200)), min_size=1, max_size=14, unique=True))
def test_labels_hide_neither_points_nor_each_other(points: list[tuple[int, int]]) -> None:
    anchors = [(float(x), float(y)) for x, y in points]
    texts = [str(i) for i in range(len(anchors))]
    areas = [
        (place[0] - 3.2 * len(text), place[1] - 9, place[0] + 3.2 * len(text), place[1])
        for text, place in zip(texts, place_labels(anchors, texts, anchors, (40, 20, 330, 240)), strict=True)
        if place is not None
    ]
    for one, other in itertools.combinations(areas, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for left, top, right, bottom in areas:
        assert not any(left < x < right and top < y < bottom for x, y in anchors)


@given(st.lists(st.floats(0, 200), max_size=10))
def test_spread_labels_keep_their_order_and_their_distance(heights: list[float]) -> None:
    moved = spread(heights, 12.0, 0.0, 200.0)
    ordered = [moved[i] for i in sorted(range(len(heights)), key=lambda i: heights[i])]
    assert all(b - a >= 11.7 for a, b in itertools.pairwise(ordered))
    assert all(-0.1 <= height <= 200.1 for height in moved)


def test_every_trained_trial_has_a_curve_that_ends_in_its_score() -> None:
    study = make_study()
    drawing = curves(build_report(study))
    assert drawing is not None
    trained = {trial.number for trial in study.trials if trial.rungs and trial.repeat_of is None}
    assert {curve.trial for curve in drawing.curves} == trained
    for curve in drawing.curves:
        assert len(curve.scores) == len(study.trials[curve.trial].rungs)
        assert set(curve.scores) <= set(coordinates(curve.forks))
        for x, y in coordinates(curve.path):
            assert drawing.frame.left <= x <= drawing.frame.right and drawing.frame.top <= y <= drawing.frame.bottom
    assert [baseline.name for baseline in drawing.baselines] == ["unigram", "bigram"] * 2


def test_a_curve_goes_from_its_trunk_and_not_from_a_former_fork() -> None:
    drawing = curves(build_report(make_study()))
    assert drawing is not None
    for curve in drawing.curves:
        across = [x for x, _ in coordinates(curve.path)]
        assert across == sorted(across)


def test_curves_without_points_still_show_their_scores() -> None:
    study = make_study()
    trials = tuple(
        dataclasses.replace(trial, rungs=tuple(dataclasses.replace(o, curve=()) for o in trial.rungs)) for trial in study.trials
    )
    drawing = curves(build_report(dataclasses.replace(study, trials=trials)))
    assert drawing is not None and all(curve.scores and not curve.path for curve in drawing.curves)


def test_nothing_is_drawn_of_an_empty_study() -> None:
    report = build_report(dataclasses.replace(make_study(), trials=()))
    assert curves(report) is None and steps(report) is None


def test_a_study_in_which_everything_is_equal_can_be_drawn() -> None:
    study = make_study(survivors=3, repeats=0)
    first = next(trial for trial in study.trials if trial.state == "complete")
    twins = tuple(dataclasses.replace(first, number=number) for number in range(3))
    same: StudyRecord = dataclasses.replace(study, trials=twins, timeline=tuple((n, study.timeline[0][1]) for n in range(3)))
    report = build_report(same)
    assert all(standing.on_front for standing in report.standings)
    assert curves(report) and steps(report)
