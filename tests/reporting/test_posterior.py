"""Whether likely true values are likely, and whether noise is kept from flattering the best."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.objective import OBJECTIVES
from autonas.reporting.finals import finals, seed_noise
from autonas.reporting.posterior import posterior, shrunk, trend_design
from autonas.trial import Score
from tests.reporting.studies import make_study

NOISE = 0.07


def constant(count: int) -> np.ndarray:
    return np.ones((count, 1))


def measured(rng: np.random.Generator, count: int, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    """True values that differ by `deviation`, and the same with noise."""
    true = 4.0 + deviation * rng.standard_normal(count)
    return true, true + NOISE * rng.standard_normal(count)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(3, 6), min_size=4, max_size=20), st.floats(0.001, 0.5))
def test_a_mean_lies_between_its_value_and_the_common_one(values: list[float], error: float) -> None:
    array = np.array(values)
    found = shrunk(array, np.full(len(array), error), constant(len(array)))
    assert found.means.min() >= array.min() - 1e-9 and found.means.max() <= array.max() + 1e-9
    assert (np.diff(found.means[np.argsort(array)]) >= -1e-9).all(), "in the order of the values"
    assert found.means.std() <= array.std() + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(3, 6), min_size=4, max_size=12), st.floats(0.01, 0.2), st.floats(-2, 2), st.floats(0.1, 5))
def test_units_do_not_matter(values: list[float], error: float, shift: float, scale: float) -> None:
    array, errors = np.array(values), np.full(len(values), error)
    if array.std() < 1e-3:
        return
    found = shrunk(array, errors, constant(len(array))).means
    moved = shrunk(scale * array + shift, scale * errors, constant(len(array))).means
    np.testing.assert_allclose(moved, scale * found + shift, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [10, 40, 160])
def test_the_best_of_pure_noise_is_hardly_better_than_the_rest(count: int) -> None:
    rng = np.random.default_rng(0)
    lead = []
    for _ in range(40):
        _, values = measured(rng, count, 0.0)
        found = shrunk(values, np.full(count, NOISE), constant(count))
        lead.append((4.0 - found.means.min(), 4.0 - values.min()))
    shrunken, plain = np.mean(lead, axis=0)
    assert shrunken < 0.6 * NOISE < 1.3 * NOISE < plain


@pytest.mark.parametrize("deviation", [0.0, 0.03, 0.1, 0.3])
def test_means_are_nearer_to_the_truth_than_measured_values(deviation: float) -> None:
    rng = np.random.default_rng(1)
    ours, plain, bias = [], [], []
    for _ in range(40):
        true, values = measured(rng, 60, deviation)
        found = shrunk(values, np.full(60, NOISE), constant(60))
        ours.append(np.mean((found.means - true) ** 2))
        plain.append(np.mean((values - true) ** 2))
        bias.append(found.means.min() - true[found.means.argmin()])
    assert np.mean(ours) < 0.99 * np.mean(plain)
    assert abs(np.mean(bias)) < 0.3 * NOISE, "the best is as good as it is said to be"


@pytest.mark.parametrize("deviation", [0.03, 0.1, 0.3])
def test_draws_cover_the_truth_as_often_as_they_say(deviation: float) -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(40):
        true, values = measured(rng, 40, deviation)
        draws = shrunk(values, np.full(40, NOISE), constant(40)).draw(rng, 400)
        low, high = np.quantile(draws, (0.025, 0.975), axis=0)
        covered.append(np.mean((low <= true) & (true <= high)))
    assert 0.88 <= np.mean(covered) <= 0.98


def test_draws_have_the_means_they_are_drawn_around() -> None:
    rng = np.random.default_rng(3)
    _, values = measured(rng, 20, 0.1)
    for count in (3, 20):
        found = shrunk(values[:count], np.full(count, NOISE), constant(count))
        np.testing.assert_allclose(found.draw(rng, 40_000).mean(axis=0), found.means, atol=0.003)


def test_what_follows_from_size_is_not_taken_for_luck() -> None:
    rng = np.random.default_rng(4)
    size = rng.standard_normal(60)
    values = 4.0 - 0.3 * size + NOISE * rng.standard_normal(60)
    found = shrunk(values, np.full(60, NOISE), np.stack([np.ones(60), size], axis=1))
    assert np.mean((found.means - (4.0 - 0.3 * size)) ** 2) < 0.2 * NOISE**2


def test_exact_values_and_a_few_stand_as_they_are() -> None:
    few = np.array([4.0, 4.1, 4.3])
    np.testing.assert_array_equal(shrunk(few, np.full(3, NOISE), constant(3)).means, few)
    many = np.linspace(1, 2, 12)
    exact = shrunk(many, np.zeros(12), constant(12))
    np.testing.assert_array_equal(exact.means, many)
    np.testing.assert_array_equal(exact.draw(np.random.default_rng(0), 5), np.tile(many, (5, 1)))


def test_equal_values_stay_equal() -> None:
    found = shrunk(np.full(8, 4.2), np.full(8, NOISE), constant(8))
    np.testing.assert_allclose(found.means, 4.2)
    assert np.isfinite(found.draw(np.random.default_rng(0), 20)).all()


def test_the_more_is_noise_the_nearer_are_the_means() -> None:
    trials = finals(make_study(trials=30, survivors=30, repeats=0))
    noise = seed_noise(trials)
    spread = []
    for deviation in (0.01, 0.07, 0.3):
        means = posterior(OBJECTIVES["val_loss"], trials, dataclasses.replace(noise, between_trials=deviation)).means
        spread.append(means.std())
    assert spread[0] > spread[1] > spread[2]


def test_no_collapse_among_few_samples_is_not_the_surest_of_all() -> None:
    trials = []
    for i, trial in enumerate(finals(make_study(trials=20, survivors=20, repeats=0))):
        rate = 0.0 if i == 0 else 0.05
        score = Score(value=rate, low=0.0, high=0.06 + rate, unit="share", n=64)
        trials.append(dataclasses.replace(trial, scores={**trial.scores, "collapse_rate": score}))
    found = posterior(OBJECTIVES["collapse_rate"], trials, seed_noise(trials))
    assert 0.02 < found.means[0] < 0.05 and len(set(np.round(found.errors, 9))) == 1


@pytest.mark.parametrize("count", [5, 15, 16, 30])
def test_predictors_are_uncorrelated_and_fewer_than_trials(count: int) -> None:
    design = trend_design([trial.spec for trial in finals(make_study(trials=count, survivors=count, repeats=0))])
    assert design.shape[0] == count and design.shape[1] == (4 if count >= 16 else 1)
    np.testing.assert_allclose(design.T @ design, count * np.eye(design.shape[1]), atol=1e-6 * count)


def test_one_architecture_many_times_has_no_trend() -> None:
    spec = finals(make_study())[0].spec
    assert trend_design([spec] * 20).shape == (20, 1)
