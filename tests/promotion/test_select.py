"""Which trial of a front is picked: what must hold whatever the scores, and that the reason has the numbers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas import pareto
from autonas.errors import StudyError
from autonas.promotion.select import Pick, Preference, choose, choose_several
from autonas.reporting.front import build_report
from autonas.reporting.report import Report
from autonas.trial import Score
from tests.reporting.studies import OBJECTIVES, make_study

Rows = Sequence[Sequence[float]]


@functools.cache
def real() -> Report:
    return build_report(make_study(survivors=7))


def compared(rows: Rows) -> Rows:
    """Sizes and times as logarithms."""
    return [[loss, math.log(params), math.log(latency), collapse] for loss, params, latency, collapse in rows]


def report_of(rows: Rows) -> Report:
    """A report whose final trials 0, 1, … have these scores: loss, parameters, latency, collapse rate."""
    base = real()
    template = base.standings[0]
    on_front = pareto.non_dominated(rows)
    knee = pareto.knee(compared(rows))
    standings = []
    for number, row in enumerate(rows):
        scores = {
            objective.name: Score.exact(float(value), objective.unit)
            for objective, value in zip(base.objectives, row, strict=True)
        }
        trial = dataclasses.replace(template.trial, number=number, scores=scores)
        standings.append(
            dataclasses.replace(template, trial=trial, on_front=bool(on_front[number]), probability=0.5, is_knee=number == knee)
        )
    ordered = sorted(standings, key=lambda s: (not s.on_front, s.trial.scores["val_loss"].value, s.number))
    return dataclasses.replace(base, standings=tuple(ordered))


values = st.sampled_from([1.0, 1.5, 2.0, 3.0, 5.0, 8.0])
tables = st.lists(st.tuples(values, values, values, st.sampled_from([0.0, 0.1, 0.3])), min_size=1, max_size=12)
preferences = st.builds(
    Preference,
    select=st.sampled_from(["knee", *OBJECTIVES]),
    limits=st.dictionaries(st.sampled_from(["params", "latency"]), values, max_size=2),
)


def try_choose(report: Report, preference: Preference) -> Pick | None:
    try:
        return choose(report, preference)
    except StudyError:
        return None


@settings(deadline=None)  # the first example builds the report
@given(tables, preferences)
def test_what_is_picked_is_dominated_by_nothing_and_within_every_limit(rows: Rows, preference: Preference) -> None:
    report = report_of(rows)
    pick = try_choose(report, preference)
    within = [
        int(number)
        for number in np.flatnonzero(pareto.non_dominated(rows))
        if all(rows[int(number)][OBJECTIVES.index(name)] <= most for name, most in preference.limits.items())
    ]
    if pick is None:
        assert not within
        return
    assert pick.trial in within
    assert pick.num_within == len(within)
    if preference.select != "knee":
        column = OBJECTIVES.index(preference.select)
        assert rows[pick.trial][column] == min(rows[number][column] for number in within)


@given(tables)
def test_the_knee_is_the_one_that_the_front_shows(rows: Rows) -> None:
    report = report_of(rows)
    assert report.knee is not None
    assert choose(report, Preference()).trial == report.knee.number


def test_the_knee_of_a_real_study_is_the_one_that_its_report_marks() -> None:
    marked = real().knee
    assert marked is not None
    assert choose(real(), Preference()).trial == marked.number


@given(tables, preferences, st.tuples(*[st.sampled_from([0.25, 1.0, 4.0, 1024.0])] * 4))
def test_the_unit_of_an_objective_does_not_matter(rows: Rows, preference: Preference, factors: tuple[float, ...]) -> None:
    scaled = [[value * factor for value, factor in zip(row, factors, strict=True)] for row in rows]
    limits = {name: most * factors[OBJECTIVES.index(name)] for name, most in preference.limits.items()}
    first = try_choose(report_of(rows), preference)
    second = try_choose(report_of(scaled), dataclasses.replace(preference, limits=limits))
    assert (first and first.trial) == (second and second.trial)


@settings(deadline=None)  # a loaded machine is no fault
@given(tables, preferences)
def test_equal_weights_change_nothing(rows: Rows, preference: Preference) -> None:
    knee = dataclasses.replace(preference, select="knee")
    doubled = dataclasses.replace(knee, weights=dict.fromkeys(OBJECTIVES, 2.0))
    first, second = try_choose(report_of(rows), knee), try_choose(report_of(rows), doubled)
    assert (first and first.trial) == (second and second.trial)


@given(tables)
def test_a_limit_that_nothing_breaks_changes_nothing(rows: Rows) -> None:
    assert choose(report_of(rows), Preference(limits={"params": 8.0})).trial == choose(report_of(rows), Preference()).trial


@given(tables, st.sampled_from(OBJECTIVES))
def test_a_weight_on_one_alone_picks_the_best_in_it(rows: Rows, name: str) -> None:
    weights = {other: 0.0 for other in OBJECTIVES if other != name}
    report = report_of(rows)
    pick = choose(report, Preference(weights=weights))
    column = OBJECTIVES.index(name)
    assert rows[pick.trial][column] == min(rows[standing.number][column] for standing in report.front)
    assert pick.method == "weights"


@given(tables, st.sampled_from(OBJECTIVES))
def test_more_weight_on_an_objective_never_picks_a_worse_one_in_it(rows: Rows, name: str) -> None:
    report, column = report_of(rows), OBJECTIVES.index(name)
    light, heavy = (choose(report, Preference(weights={name: weight})).trial for weight in (1.0, 9.0))
    assert rows[heavy][column] <= rows[light][column]


def test_a_knee_among_fewer_trials_is_told_as_that() -> None:
    rows = [(1.0, 16.0, 1.0, 0.0), (2.0, 2.0, 1.0, 0.0), (3.0, 1.0, 1.0, 0.0)]
    assert "Trial 1 is the knee: " in choose(report_of(rows), Preference()).reason
    assert "Trial 2 is the knee within the limits: " in choose(report_of(rows), Preference(limits={"params": 1.5})).reason


def test_the_distance_is_the_documented_one() -> None:
    # Scaled to [0, 1] over the front, parameters as logarithms: (0, 1), (0.5, 0.25), (1, 0); the middle one is at
    # sqrt(2 * 0.25 + 0.0625) when loss counts twice, the first at 1.
    rows = [(1.0, 16.0, 1.0, 0.0), (2.0, 2.0, 1.0, 0.0), (3.0, 1.0, 1.0, 0.0)]
    pick = choose(report_of(rows), Preference(weights={"val_loss": 2.0}))
    assert pick.trial == 1
    assert "at a distance of 0.75 (next, trial 0: 1.00)" in pick.reason
    assert "val_loss × 2" in pick.reason
    assert choose(report_of(rows), Preference(weights={"val_loss": 9.0})).trial == 0


def test_the_reason_says_what_neighbours_would_gain_and_pay() -> None:
    rows = [(2.0, 400.0, 1.0, 0.1), (2.1, 200.0, 1.0, 0.1), (2.5, 100.0, 1.0, 0.05)]
    pick = choose(report_of(rows), Preference(trial=1))
    first, last = pick.alternatives
    assert (first.trial, last.trial) == (0, 2)
    assert "0.10 ± " in first.text
    assert first.text.endswith("nats less val_loss at 2 times the parameters")
    assert last.text.startswith("has 0.5 times the parameters and 5 points less collapse_rate at 0.40 ± ")
    assert f"Trial 2 {last.text}." in pick.reason


def test_almost_the_same_size_is_told_by_its_difference() -> None:
    rows = [(2.0, 100_200.0, 1.0, 0.2), (2.1, 100_000.0, 1.0, 0.1)]
    (other,) = choose(report_of(rows), Preference(trial=1)).alternatives
    assert other.text.endswith("nats less val_loss at 0.2 % more params and 10 points more collapse_rate")


def test_a_real_front_has_a_reason_with_intervals_and_probability() -> None:
    report = real()
    pick = choose(report, Preference())
    assert report.knee is not None
    assert pick.trial == report.knee.number
    assert pick.probability == report.knee.probability
    assert f"Trial {pick.trial} is the knee" in pick.reason
    assert "–" in pick.reason, "an interval"
    assert "on the front with a probability of" in pick.reason
    assert all(f"Trial {other.trial} has" in pick.reason for other in pick.alternatives)


def test_limits_that_leave_nothing_name_the_nearest() -> None:
    rows = [(1.0, 4e6, 1.0, 0.0), (2.0, 2e6, 2.0, 0.0)]
    with pytest.raises(StudyError, match=r"nearest is trial 1 with params 2\.00 M \(at most 1\.00 M\)"):
        choose(report_of(rows), Preference(limits={"params": 1e6}))
    with pytest.raises(StudyError, match="none of the 2 trials"):
        choose(report_of(rows), Preference(limits={"collapse_rate": 0.0, "val_loss": 0.0}))


def test_limits_are_in_the_reason_and_do_not_move_the_scale() -> None:
    rows = [(1.0, 9.0, 1.0, 0.0), (2.0, 3.0, 1.0, 0.0), (2.1, 2.0, 1.0, 0.0), (3.0, 1.0, 1.0, 0.0)]
    pick = choose(report_of(rows), Preference(limits={"params": 3.0}))
    assert pick.trial == choose(report_of(rows), Preference()).trial
    assert "The limits (params at most 3) leave 3 of 4 on the front." in pick.reason


@pytest.mark.parametrize(
    ("preference", "complaint"),
    [
        (Preference(select="speed"), "choose knee or an objective of the study: val_loss, params"),
        (Preference(weights={"memory": 2.0}), "--weight memory: is no objective of the study"),
        (Preference(weights={"params": -1.0}), "a weight is a number of at least 0"),
        (Preference(weights=dict.fromkeys(OBJECTIVES, 0.0)), "every objective has weight 0"),
        (Preference(select="params", weights={"params": 2.0}), "--weight belongs to the knee"),
        (Preference(limits={"prefill_latency": 1.0}), "--limit prefill_latency: no such score"),
        (Preference(trial=999), r"--trial 999: the study 'quickstart' has \d+ trials. On the front are"),
    ],
)
def test_what_cannot_be_is_said(preference: Preference, complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        choose(real(), preference)


def test_a_trial_that_may_not_be_picked_is_told_why() -> None:
    report = real()
    trials = report.study.trials
    repeat = next(t for t in trials if t.repeat_of is not None)
    with pytest.raises(StudyError, match=f"repeats trial {repeat.repeat_of} with other seeds"):
        choose(report, Preference(trial=repeat.number))
    for state in ("infeasible", "failed", "stopped"):
        number = next(t.number for t in trials if t.state == state)
        with pytest.raises(StudyError, match=f"--trial {number}: is {state}"):
            choose(report, Preference(trial=number))
    on_front = {standing.number for standing in report.front}
    beaten = [t.number for t in trials if t.state == "complete" and t.repeat_of is None and t.number not in on_front]
    for number in beaten:
        with pytest.raises(StudyError, match="is not on the front"):
            choose(report, Preference(trial=number))


def test_a_trial_asked_for_by_number_may_break_a_limit_and_is_told_so() -> None:
    rows = [(1.0, 4.0, 1.0, 0.0), (2.0, 2.0, 2.0, 0.0)]
    pick = choose(report_of(rows), Preference(trial=0, limits={"params": 1.0}))
    assert pick.trial == 0
    assert "It is itself beyond the limit on params." in pick.reason


def test_an_empty_front_has_a_message() -> None:
    with pytest.raises(StudyError, match="has no front yet"):
        choose(dataclasses.replace(real(), standings=()), Preference())


def test_one_alone_is_picked_whatever_is_asked() -> None:
    pick = choose(report_of([(1.0, 1.0, 1.0, 0.0)]), Preference())
    assert pick.alternatives == ()
    assert "alone on the front" in pick.reason


# The next best


@settings(deadline=None)
@given(tables, preferences, st.integers(1, 5))
def test_candidates_are_what_would_be_picked_one_after_the_other(rows: Rows, preference: Preference, count: int) -> None:
    """The first is the pick; each is on the front, within the limits and better by the preference than those left out."""
    report = report_of(rows)
    if try_choose(report, preference) is None:
        return
    picks = choose_several(report, preference, count)
    everybody = choose_several(report, preference, len(rows))
    assert picks == everybody[:count] and picks[0] == choose(report, preference)
    assert len({pick.trial for pick in everybody}) == len(everybody) == picks[0].num_within
    if preference.select != "knee":
        column = OBJECTIVES.index(preference.select)
        values = [rows[pick.trial][column] for pick in everybody]
        assert values == sorted(values)


def test_a_candidates_reason_says_its_place() -> None:
    rows = [(1.0, 8.0, 1.0, 0.0), (2.0, 2.0, 1.0, 0.0), (8.0, 1.0, 1.0, 0.0)]
    first, second, _ = choose_several(report_of(rows), Preference(), 3)
    assert f"Trial {second.trial} is number 2 by the knee: near to the best of every objective" in second.reason
    assert f"(the knee, trial {first.trial}: " in second.reason
    _, other = choose_several(report_of(rows), Preference(select="params"), 2)
    assert "Trial 1 is number 2 in params, after trial 2." in other.reason


def test_beside_a_named_trial_are_the_best_by_the_knee() -> None:
    rows = [(1.0, 8.0, 1.0, 0.0), (2.0, 2.0, 1.0, 0.0), (8.0, 1.0, 1.0, 0.0)]
    named, rival = choose_several(report_of(rows), Preference(trial=2), 2)
    assert (named.trial, named.method, rival.trial) == (2, "trial", choose(report_of(rows), Preference()).trial)
