"""Kendall's τ between rungs: against counting pairs, its interval against simulated truth, and what selection hides."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.reporting import history
from autonas.reporting.agreement import agreement, kendall, kendall_interval, unrestricted
from autonas.trial import StudyRecord
from tests.reporting.studies import make_study, with_controls


def correlated(rng: np.random.Generator, count: int, r: float) -> tuple[np.ndarray, np.ndarray]:
    first = rng.standard_normal(count)
    return first, r * first + math.sqrt(1 - r * r) * rng.standard_normal(count)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12))
def test_it_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    score = untied_first = untied_second = 0.0
    for i, j in itertools.combinations(range(len(pairs)), 2):
        score += np.sign(first[i] - first[j]) * np.sign(second[i] - second[j])
        untied_first += first[i] != first[j]
        untied_second += second[i] != second[j]
    size = math.sqrt(untied_first * untied_second)
    assert kendall(first, second) == pytest.approx(score / size if size else 0.0)


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=15, unique=True))
def test_the_same_order_is_one_and_the_reverse_minus_one_whatever_the_scale(values: list[float]) -> None:
    first = np.array(values)
    assert kendall(first, np.argsort(np.argsort(first)).astype(np.float64) ** 3) == pytest.approx(1.0)
    assert kendall(first, -first) == pytest.approx(-1.0)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("count", [5, 8, 20])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int, r: float) -> None:
    rng = np.random.default_rng(count)
    truth, held = 2 / math.pi * math.asin(r), 0
    for _ in range(150):
        value, low, high = kendall_interval(*correlated(rng, count, r))
        assert -1 <= low <= value <= high <= 1
        held += low <= truth <= high
    assert held / 150 >= 0.9


def test_a_few_trials_in_perfect_order_are_not_certain() -> None:
    value, low, high = kendall_interval(np.arange(5.0), np.arange(5.0))
    assert value == high == 1.0 and low < 0.2


def test_correcting_for_selection_comes_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, seen, corrected = 2 / math.pi * math.asin(0.8), [], []
    for _ in range(60):
        first, second = correlated(rng, 90, 0.8)
        went_on = np.argsort(first)[:30]
        value = kendall(first[went_on], second[went_on])
        seen.append(value)
        corrected.append(unrestricted(value, float(first[went_on].std()), float(first.std())))
    assert np.mean(seen) < truth - 0.15
    assert abs(np.mean(corrected) - truth) < 0.06


@given(st.floats(-1, 1), st.floats(0.01, 2), st.floats(0.01, 2))
def test_a_correction_keeps_the_sign_and_only_strengthens(value: float, spread: float, spread_of_all: float) -> None:
    found = unrestricted(value, spread, spread_of_all)
    assert abs(found) >= abs(value) - 1e-9 and abs(found) <= 1 + 1e-9 and found * value >= 0
    assert unrestricted(value, 0.0, 1.0) == value


def test_rungs_tell_of_selection() -> None:
    first, last = history.rung_summaries(make_study(trials=20, survivors=9))
    assert last.with_last is None and last.with_next is None and first.with_next is None
    pair = first.with_last
    assert pair is not None and (pair.pairs, pair.scored, pair.controls) == (9, 20, False)
    assert pair.value is not None and pair.unselected is not None and abs(pair.unselected) >= abs(pair.value)


def test_a_rung_that_everyone_passed_selected_nobody() -> None:
    first, _ = history.rung_summaries(make_study(trials=12, survivors=12))
    assert first.with_last is not None and first.with_last.unselected is None and first.with_last.pairs == 12


def test_fewer_than_five_trials_tell_nothing() -> None:
    first, _ = history.rung_summaries(make_study(survivors=4, repeats=0))
    pair = first.with_last
    assert pair is not None and pair.pairs == 4 and pair.value is pair.low is pair.unselected is None


def test_random_trials_that_nobody_stopped_are_asked_alone() -> None:
    study = make_study(trials=24, survivors=10, repeats=0, infeasible=0, failures=0)
    finished = {trial.number for trial in study.trials if trial.state == "complete"}
    trials = tuple(dataclasses.replace(t, sampler_state={"control": t.number in finished}) for t in study.trials)
    first, _ = history.rung_summaries(dataclasses.replace(study, trials=trials))
    assert first.with_last is not None and first.with_last.controls and first.with_last.unselected is None
    mixed, _ = history.rung_summaries(with_controls(study))
    assert mixed.with_last is not None and not mixed.with_last.controls, "some of these were stopped"


def test_a_trial_still_in_training_was_not_turned_down() -> None:
    study = make_study(trials=12, survivors=11, repeats=0, infeasible=0, failures=0)
    trials = tuple(dataclasses.replace(t, state="live") if t.state == "stopped" else t for t in study.trials)
    pair = agreement(trials, 0, 1)
    assert (pair.pairs, pair.scored, pair.unselected) == (11, 11, None)


def test_repeats_are_not_asked() -> None:
    def pairs(study: StudyRecord) -> list[int]:
        return [rung.with_last.pairs for rung in history.rung_summaries(study) if rung.with_last is not None]

    assert pairs(make_study(repeats=0)) == pairs(make_study(repeats=3))
