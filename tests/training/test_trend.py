from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.training.trend import Curve, find_rise, mann_kendall, rise

EPOCH = 200_000


def curve(losses: np.ndarray, *, bins: int = 1, warmup: int = 0, epoch: int = EPOCH) -> Curve:
    """Steps of 100 tokens, each a bin or so many of them one."""
    means = losses[: len(losses) // bins * bins].reshape(-1, bins).mean(axis=1)
    return Curve(first=0, bin_tokens=100 * bins, means=means.tolist(), warmup_tokens=warmup, epoch_tokens=epoch)


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Of one of several kinds, of zero mean."""
    scale = rng.choice([0.03, 0.1, 0.3])
    kind = rng.integers(3)
    drawn = (rng.standard_normal, lambda size: rng.standard_t(3, size), lambda size: rng.exponential(1.0, size) - 1.0)[kind](n)
    found: np.ndarray = np.multiply(scale, drawn)
    return found


def test_mann_kendall_is_that_of_its_definition() -> None:
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 6.0])
    s = sum(np.sign(b - a) for i, a in enumerate(values) for b in values[i + 1 :])
    assert mann_kendall(values) == pytest.approx((s - 1) / np.sqrt(7 * 6 * 19 / 18))
    assert mann_kendall(-values) == -mann_kendall(values)
    assert rise(np.arange(10.0)) == pytest.approx(9.0)


def test_noise_on_flat_and_falling_curves_raises_no_alarm() -> None:
    rng = np.random.default_rng(0)
    for number in range(400):
        n = int(rng.integers(60, 1000))
        level = 3.0 + rng.uniform(0, 2) * np.exp(-np.arange(n) / rng.uniform(20, 400)) * (number % 2)
        epoch = EPOCH if number % 3 else 100 * n // 3  # less than an epoch, or three
        assert find_rise(curve(level + noise(rng, n), epoch=epoch)) is None, number


def test_a_bump_of_the_warm_up_raises_none() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        steps = np.arange(400)
        bump = 1.0 * np.exp(-(((steps - 60) / 20) ** 2))
        losses = 2.0 + 4.0 * np.exp(-steps / 60) + bump + noise(rng, 400)
        assert find_rise(curve(losses, warmup=5_000)) is None


def test_what_is_learnt_by_heart_raises_none() -> None:
    """Each epoch begins with a drop and rises, lower than the one before."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        steps = np.arange(1000)
        epoch, within = steps // 100, steps % 100 / 100
        losses = 4.0 - 0.25 * epoch + 0.2 * within * (epoch > 0) + 0.05 * rng.standard_normal(1000)
        assert find_rise(curve(losses, epoch=10_000)) is None


@pytest.mark.parametrize("up", [0.3, 1.0])
@pytest.mark.parametrize("epochs", [0.5, 3.0, 80.0])
def test_a_rise_at_the_end_is_found(up: float, epochs: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        steps = np.arange(1000)
        losses = 3.0 + np.exp(-steps / 100) + up * np.clip((steps - 600) / 300, 0, 1) + 0.1 * rng.standard_normal(1000)
        found = find_rise(curve(losses, epoch=int(100_000 / epochs)))
        assert found is not None
        assert re.match(r"the training loss rose from (2\.9|3\.)", found)


def test_a_rise_before_the_cooldown_is_not_hidden_by_it() -> None:
    steps = np.arange(600)
    losses = 3.0 + 0.5 * np.clip((steps - 250) / 200, 0, 1) - 1.5 * np.clip((steps - 500) / 100, 0, 1)
    losses += 0.05 * np.random.default_rng(4).standard_normal(600)
    assert find_rise(curve(losses), 50_000) is not None
    assert find_rise(curve(losses), None) is None


@given(st.integers(0, 40), st.integers(1, 3000), st.sampled_from([None, 0, 1500, 10**9]))
def test_any_curve_can_be_asked(n: int, epoch: int, stable_end: int | None) -> None:
    losses = np.random.default_rng(n).standard_normal(n)
    assert find_rise(curve(losses, epoch=epoch), stable_end) is None or n >= 12
