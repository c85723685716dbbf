"""Objectives against each other: every trial once, with its values and intervals as they are."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest

from autonas.figures.scatter import pairs, scatter, scatter_matrix
from autonas.reporting.front import build_report
from autonas.reporting.marks import MOST_OF_A_KIND, marks, thinned
from tests.reporting.studies import make_study


def points(figure: Any) -> dict[int, tuple[str, float, float]]:
    """(kind, x, y) of each trial in a figure."""
    found = {}
    for trace in figure.data:
        for (number,), x, y in zip(trace.customdata, trace.x, trace.y, strict=True):
            assert number not in found
            found[number] = (trace.meta["kind"], x, y)
    return found


def on_edge(trace: Any) -> bool:
    return (trace.xaxis or "x", trace.yaxis or "y") != ("x", "y")


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_every_pair_of_objectives_is_drawn_once_with_every_final_trial(count: int) -> None:
    names = ("val_loss", "params", "latency", "collapse_rate", "memory")[:count]
    report = build_report(make_study(objectives=names, failures=2))
    assert len(pairs(report)) == math.comb(count, 2) == len(set(pairs(report)))
    kinds = {s.number: "knee" if s.is_knee else "front" if s.on_front else "final" for s in report.standings}
    for across, up in pairs(report):
        found = points(scatter(report, across, up))
        assert {number: kind for number, (kind, _, _) in found.items() if kind in ("knee", "front", "final")} == kinds
        for standing in report.standings:
            scores = standing.trial.scores
            assert found[standing.number][1:] == (scores[across.name].value, scores[up.name].value)


def test_trials_short_of_the_last_rung_are_there_hidden_and_say_that_they_are_no_candidates() -> None:
    study = make_study()
    report = build_report(study)
    figure = scatter(report, *pairs(report)[0])
    stopped = next(trace for trace in figure.data if trace.meta["kind"] == "stopped")
    assert stopped.visible is False and "not comparable" in stopped.hovertemplate
    assert {number for (number,) in stopped.customdata} == {t.number for t in study.trials if t.state == "stopped"}


def test_who_has_only_one_of_two_scores_stands_at_the_edge_beside_it() -> None:
    study = make_study(infeasible=6, failures=2)
    report = build_report(study)
    others = [mark for mark in marks(report) if mark.kind not in ("front", "knee", "final")]
    seen = set()
    for across, up in pairs(report):
        figure = scatter(report, across, up)
        told = points(figure)  # each at most once
        for mark in others:
            x, y = mark.scores.get(across.name), mark.scores.get(up.name)
            wanted = (mark.kind, 1 if x is None else x.value, 1 if y is None else y.value) if x or y else None
            assert told.get(mark.number) == wanted
        for trace in figure.data:
            refs = trace.xaxis or "x", trace.yaxis or "y"
            at_edge = [letter for letter, ref in zip("xy", refs, strict=True) if ref != letter]
            assert len(at_edge) <= 1
            for letter in at_edge:
                axis = figure.layout[f"{letter}axis2"]
                assert axis.range == (0, 1.01) and axis.fixedrange and axis.overlaying == letter and not axis.visible
                missing = {"x": across, "y": up}[letter]
                numbers = {number for (number,) in trace.customdata}
                assert all(missing.name not in mark.scores for mark in others if mark.number in numbers)
                assert trace.visible is False and f"{missing.title}: none" in trace.hovertemplate
                seen.add((letter, trace.meta["kind"]))
    assert {("x", "infeasible"), ("y", "infeasible")} <= seen


def test_there_are_no_edges_where_every_trial_has_both() -> None:
    report = build_report(make_study(infeasible=0, failures=0, objectives=("val_loss", "params")))
    figure = scatter(report, *pairs(report)[0])
    assert "xaxis2" not in figure.layout and "yaxis2" not in figure.layout


def test_intervals_are_the_scores_own() -> None:
    report = build_report(make_study())
    across, up = next((a, u) for a, u in pairs(report) if (a.name, u.name) == ("val_loss", "latency"))
    for trace in scatter(report, across, up).data:
        if trace.meta["kind"] not in ("front", "knee"):
            assert trace.error_x.array is None
            continue
        for i, (number,) in enumerate(trace.customdata):
            score = next(s for s in report.standings if s.number == number).trial.scores["val_loss"]
            assert trace.x[i] + trace.error_x.array[i] == pytest.approx(score.high)
            assert trace.x[i] - trace.error_x.arrayminus[i] == pytest.approx(score.low)


def test_an_exact_score_has_no_interval() -> None:
    report = build_report(make_study(objectives=("params", "memory")))
    assert all(trace.error_x.array is None for trace in scatter(report, *pairs(report)[0]).data)


def test_the_matrix_of_a_notebook_has_what_the_panels_have() -> None:
    report = build_report(make_study())
    matrix, panels = scatter_matrix(report), [scatter(report, *pair) for pair in pairs(report)]
    assert sum(len(t.x) for t in matrix.data) == sum(len(t.x) for panel in panels for t in panel.data if not on_edge(t))
    assert len({trace.xaxis for trace in matrix.data}) == len(panels)
    with pytest.raises(ValueError, match="one objective"):
        scatter_matrix(build_report(make_study(objectives=("val_loss",))))


def test_of_very_many_the_front_stays_whole_and_the_rest_is_thinned_evenly() -> None:
    found = marks(build_report(make_study(trials=60, survivors=20)))
    stopped = next(mark for mark in found if mark.kind == "stopped")
    front = [mark for mark in found if mark.kind in ("front", "knee")]
    many = [dataclasses.replace(stopped, number=1000 + i) for i in range(5 * MOST_OF_A_KIND)]
    kept, cut = thinned([*found, *many])
    total = sum(mark.kind == "stopped" for mark in found) + len(many)
    assert cut == {"stopped": total} and sum(mark.kind == "stopped" for mark in kept) == MOST_OF_A_KIND
    assert [mark for mark in kept if mark.kind in ("front", "knee")] == sorted(front, key=lambda m: m.kind == "knee")
    numbers = [mark.number for mark in kept if mark.number >= 1000]
    gaps = [b - a for a, b in itertools.pairwise(numbers)]
    assert max(gaps) - min(gaps) <= 1
