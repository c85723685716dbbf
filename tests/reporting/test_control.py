"""Random search scaled up: exact where it is seen, and right as often as it says where it is not."""

from __future__ import annotations

import dataclasses
import datetime
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autonas.evaluation.intervals import t_quantile
from autonas.reporting import control, volume
from autonas.reporting.front import build_report
from autonas.reporting.history import moment
from autonas.reporting.progress import control_text
from autonas.reporting.timeline import timeline
from autonas.trial import TrialRecord
from tests.reporting.studies import make_study, make_waiting_study, with_controls


@settings(max_examples=40, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 8))))
def test_what_some_of_them_find_is_the_mean_over_all_choices(found: np.ndarray) -> None:
    shares = control.rarefied(found)
    for size in range(len(found) + 1):
        every = [found[list(some)].any(axis=0).mean() for some in itertools.combinations(range(len(found)), size)]
        assert shares[size] == pytest.approx(np.mean(every))


@settings(max_examples=40, deadline=None)
@given(arrays(bool, st.tuples(st.integers(3, 9), st.integers(4, 30))), st.floats(1, 100))
def test_more_trials_never_find_less(found: np.ndarray, count: float) -> None:
    known = control.rarefied(found)
    shares = [control.expected(known, k) for k in (1.0, count, count + 1, 2 * count, 200.0)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(sorted(shares[:1]) + shares[1:])) and shares[-1] <= 1
    assert control.expected(known, len(found)) == pytest.approx(found.any(axis=0).mean())


def test_leaving_out_one_is_leaving_out_one() -> None:
    found = np.random.default_rng(0).random((7, 40)) < 0.3
    for i, shares in enumerate(control.rarefied_without(found)):
        np.testing.assert_allclose(shares, control.rarefied(np.delete(found, i, axis=0)))
    assert len(control.rarefied_without(np.zeros((120, 5), dtype=bool))) == 40, "in groups of three"


@pytest.mark.parametrize(("count", "times"), [(6, 8), (12, 3), (12, 8), (30, 8)])
def test_scaled_up_it_holds_what_came_four_times_of_five(count: int, times: int) -> None:
    """Random points at a closed-form front: the loss falls with size, and quality spreads it."""

    def random_points(rng: np.random.Generator, number: int) -> np.ndarray:
        size, quality = rng.random(number), rng.random((number, 2))
        return np.stack([0.7 * (1 - size) ** 1.5 + 0.5 * ((quality - 0.4) ** 2).sum(axis=1), size], axis=1)

    points = volume.lattice(2, 1024) * volume.REFERENCE
    rng = np.random.default_rng(0)
    truth = np.mean([volume.found_points(random_points(rng, count * times), points).any(axis=0).mean() for _ in range(60)])
    held = errors = 0.0
    for _ in range(40):
        found = volume.found_points(random_points(rng, count), points)
        value = control.expected(control.rarefied(found), count * times)
        without = np.array([control.expected(one, count * times) for one in control.rarefied_without(found)])
        reach = t_quantile(count - 1) * control.jackknife_error(without)
        held += value - reach <= truth <= value + reach
        errors += value / truth - 1
    assert held / 40 >= 0.8
    assert abs(errors / 40) < 0.1


def test_a_study_with_random_trials_is_compared_with_them() -> None:
    study = with_controls(make_study(trials=40, survivors=40, infeasible=0, failures=0))
    report = build_report(study)
    found = report.control
    assert found is not None and found.value is not None and found.low is not None and found.high is not None
    assert found.trials == 20 and found.own is not None
    assert 0 < found.own <= found.low <= found.value <= found.high
    spent, heights = zip(*found.curve, strict=True)
    assert list(spent) == sorted(spent) and list(heights) == sorted(heights)
    assert spent[-1] == pytest.approx(report.train_seconds) and heights[-1] == pytest.approx(found.value)
    assert np.interp(found.train_s, spent, heights) == pytest.approx(found.own, rel=0.05)


def test_all_trials_random_reach_what_the_study_reached() -> None:
    """Nothing to scale up: the same trials, the same training."""
    study = with_controls(make_study(trials=24, survivors=24, infeasible=0, failures=0, repeats=0), every=1)
    report = build_report(study)
    assert report.control is not None
    assert report.control.value == pytest.approx(report.hypervolume[-1].value, abs=0.02)


def test_random_trials_that_were_stopped_count_with_their_cost() -> None:
    study = make_study(trials=30, survivors=12, infeasible=0, failures=0, repeats=0)
    every = build_report(with_controls(study, every=1)).control
    finished = tuple(dataclasses.replace(t, sampler_state={"control": t.state == "complete"}) for t in study.trials)
    lucky = build_report(dataclasses.replace(study, trials=finished)).control
    assert every is not None and lucky is not None and every.value is not None and lucky.value is not None
    assert (every.stopped, every.unfinished, lucky.stopped) == (18, 0, 0)
    assert every.trials == 30 and lucky.trials == 12 and every.train_s > lucky.train_s
    assert every.value < lucky.value, "leaving out what was stopped would flatter random search"


def test_with_as_many_tokens_it_is_the_same_curve_by_another_measure() -> None:
    """Where every trial takes as many seconds as tokens, both say the same; where none tells its tokens, one says nothing."""
    study = with_controls(make_waiting_study(trials=40, survivors=16))
    trials = tuple(
        dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, new_tokens=round(o.seconds * 1000)) for o in t.rungs))
        for t in study.trials
    )
    report = build_report(dataclasses.replace(study, trials=trials))
    found = report.control
    assert found is not None and found.by_tokens is not None and found.value is not None
    tokens = found.by_tokens
    assert tokens.spent == pytest.approx(1000 * found.train_s, rel=1e-4)
    for ours, theirs in zip(tokens.curve, found.curve, strict=True):
        assert ours == pytest.approx((1000 * theirs[0], theirs[1]), rel=1e-4)
    assert (tokens.value, tokens.low, tokens.high) == pytest.approx((found.value, found.low, found.high), rel=1e-4)
    assert tokens.curve[-1][0] == pytest.approx(report.train_tokens)
    silent = build_report(with_controls(make_study(trials=20, survivors=20))).control
    assert silent is not None and silent.value is not None and silent.by_tokens is None


def test_over_the_time_it_is_that_of_workers_who_never_wait() -> None:
    """So at every moment it has had at least as much training as the study, and cannot be set too low by its waiting."""
    study = with_controls(make_waiting_study(trials=40, survivors=16))
    report, lanes = build_report(study), timeline(study)
    found = report.control
    assert lanes is not None and found is not None and found.by_elapsed is not None and found.value is not None
    soonest = found.by_elapsed
    assert soonest.spent == pytest.approx(found.train_s / lanes.places)
    assert soonest.curve[-1][0] == pytest.approx(report.hypervolume[-1].elapsed_s)
    assert soonest.curve[-1][0] * lanes.places >= report.train_seconds and soonest.value >= found.value
    with_each = dict(found.curve)
    for elapsed, value in soonest.curve[:12]:  # as far as it was seen: the same trials, sooner
        assert with_each[next(s for s in with_each if s == pytest.approx(elapsed * lanes.places))] == pytest.approx(value)
    assert f"in the time until the last trial finished, never idle, {soonest.value:.3f}" in control_text(report)


def test_over_the_time_it_is_not_told_where_the_study_paused() -> None:
    study = with_controls(make_waiting_study(trials=40, survivors=16))
    late = datetime.timedelta(hours=2)

    def later(trial: TrialRecord) -> TrialRecord:
        spans = [
            dataclasses.replace(o.span, began_at=(moment(o.span.began_at) + late).isoformat()) for o in trial.rungs if o.span
        ]
        return dataclasses.replace(
            trial, rungs=tuple(dataclasses.replace(o, span=span) for o, span in zip(trial.rungs, spans, strict=True))
        )

    paused = dataclasses.replace(study, trials=tuple(later(t) if t.number >= 20 else t for t in study.trials))
    found = build_report(paused).control
    assert found is not None and found.value is not None and found.by_elapsed is None


def test_too_few_random_trials_tell_nothing() -> None:
    study = make_study(trials=20, survivors=20, infeasible=0, failures=0)
    trials = tuple(dataclasses.replace(t, sampler_state={"control": True} if t.number < 4 else {}) for t in study.trials)
    found = build_report(dataclasses.replace(study, trials=trials)).control
    assert found is not None and found.trials == 4 and found.value is found.low is found.own is None


def test_a_random_search_has_no_control_but_itself() -> None:
    study = with_controls(make_study(trials=20, survivors=20))
    recipe = {**study.recipe, "budget": {**study.recipe["budget"], "sampler": "random"}}
    assert build_report(dataclasses.replace(study, recipe=recipe)).control is None
    assert build_report(make_study()).control is None
