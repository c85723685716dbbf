"""The Gaussian process: against its closed form, against finite differences, and calibrated on what it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from autonas.policy import surrogate
from autonas.policy.surrogate import Inputs, fit


def inputs(count: int, seed: int = 0, sizes: int = 2, features: int = 5) -> Inputs:
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((count, features))
    return Inputs(columns[:, :sizes] / np.sqrt(sizes), columns / np.sqrt(features))


def test_predictions_are_those_of_the_textbook() -> None:
    known, at = inputs(12), inputs(7, seed=1)
    targets = np.random.default_rng(2).standard_normal(12)
    noise = np.linspace(0.0, 0.3, 12)
    process = fit(known, targets, noise)
    within = surrogate._covariance(process.hyper, surrogate._parts(known, known))
    within += np.diag(noise + np.exp(process.hyper[6]) + 1e-8)
    across = surrogate._covariance(process.hyper, surrogate._parts(at, known))
    mean = targets.mean() + across @ np.linalg.solve(within, targets - targets.mean())
    own = np.diag(surrogate._covariance(process.hyper, surrogate._parts(at, at)))
    variance = own - np.einsum("ij,ji->i", across, np.linalg.solve(within, across.T))
    found, deviation = process.predict(at)
    assert found == pytest.approx(mean, abs=1e-8)
    assert deviation == pytest.approx(np.sqrt(variance), abs=1e-7)


def test_slopes_of_the_covariance_are_its_finite_differences() -> None:
    parts = surrogate._parts(inputs(6), inputs(6))
    hyper = np.random.default_rng(3).normal(-1.0, 0.5, 7)
    for place, slope in enumerate(surrogate._slopes(hyper, parts)):
        step = np.zeros(7)
        step[place] = 1e-6
        rise = surrogate._covariance(hyper + step, parts) - surrogate._covariance(hyper - step, parts)
        assert slope == pytest.approx(rise / 2e-6, abs=1e-6)


@pytest.mark.parametrize("count", [12, 40, 120])
def test_intervals_cover_what_was_not_seen(count: int) -> None:
    rng = np.random.default_rng(count)
    coefficients = rng.standard_normal(5)

    def truth(at: Inputs) -> np.ndarray:
        raw = at.features * np.sqrt(5)
        return np.asarray(raw @ coefficients + 0.5 * np.sin(2 * raw[:, 0]) * raw[:, 1])

    known, at = inputs(count, seed=1), inputs(400, seed=2)
    targets = truth(known) + 0.1 * rng.standard_normal(count)
    unit = targets.std()
    process = fit(known, targets / unit)
    mean, deviation = process.predict(at)
    errors = (truth(at) / unit - mean) / np.hypot(deviation, process.noise_deviation)
    assert np.mean(np.abs(errors) < 1.96) > 0.85
    assert np.std(truth(at) / unit - mean) < (0.8 if count == 12 else 0.4) * np.std(truth(at) / unit)


def test_noisier_targets_count_for_less() -> None:
    at = inputs(2)
    first, _ = fit(at, np.array([0.0, 1.0]), np.array([0.0, 0.0]), search=False).predict(at)
    second, _ = fit(at, np.array([0.0, 1.0]), np.array([0.0, 5.0]), search=False).predict(at)
    assert second[1] < first[1]


def test_one_target_is_enough() -> None:
    mean, deviation = fit(inputs(1), np.array([3.0]), search=False).predict(inputs(3, seed=4))
    assert np.isfinite(mean).all() and (deviation > 0).all()
