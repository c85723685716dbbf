"""The index against what it is defined by: the price at which a trial is just worth beginning."""

from __future__ import annotations

import numpy as np
import pytest

from autonas.policy.index import GRID, indices


def gains(mean: float, deviation: float) -> np.ndarray:
    """What a score below 0 gains, for a last score of this mean and deviation."""
    return np.maximum(0.0, -(mean + deviation * GRID))


def test_with_one_stage_it_is_the_expected_gain_per_cost() -> None:
    row = gains(0.3, 1.0)
    weights = np.exp(-0.5 * GRID**2)
    expected = (row @ weights) / weights.sum()
    assert indices(row[None], np.array([[1.0]]), np.array([[4.0]]))[0] == pytest.approx(expected / 4.0, rel=1e-3)


def test_with_two_stages_it_is_the_price_that_makes_beginning_indifferent() -> None:
    stages, costs = np.array([[0.8, 0.6]]), np.array([[1.0, 9.0]])
    price = indices(gains(0.5, 1.0)[None], stages, costs)[0]
    rng = np.random.default_rng(0)
    look = 0.5 + 0.8 * rng.standard_normal(20_000)
    rest = 0.6 * rng.standard_normal(4_000)
    edges = np.linspace(-4, 4, 161)
    after = np.array([np.maximum(0.0, -(edge + rest)).mean() for edge in edges])
    worth = np.maximum(np.interp(look, edges, after) - 9.0 * price, 0.0).mean() - 1.0 * price
    assert worth == pytest.approx(0.0, abs=0.004)


def test_being_able_to_stop_is_worth_something() -> None:
    row = gains(1.0, 1.0)[None]
    staged = indices(row, np.array([[0.9, np.sqrt(1 - 0.81)]]), np.array([[1.0, 9.0]]))[0]
    at_once = indices(row, np.array([[1.0]]), np.array([[10.0]]))[0]
    assert staged > 1.5 * at_once


def test_a_stage_that_tells_nothing_is_a_mere_cost() -> None:
    row = gains(0.0, 1.0)[None]
    idle = indices(row, np.array([[0.0, 1.0]]), np.array([[5.0, 5.0]]))[0]
    assert idle == pytest.approx(indices(row, np.array([[1.0]]), np.array([[10.0]]))[0], rel=0.05)


def test_it_rises_with_gains_and_falls_with_costs() -> None:
    rows = np.array([gains(mean, 1.0) for mean in (2.0, 1.0, 0.0, -1.0)])
    stages, costs = np.full((4, 2), np.sqrt(0.5)), np.tile([1.0, 3.0], (4, 1))
    found = indices(rows, stages, costs)
    assert (np.diff(found) > 0).all()
    assert indices(rows, stages, 2 * costs) == pytest.approx(found / 2, rel=1e-3)


def test_what_gains_nothing_is_worth_nothing() -> None:
    assert indices(np.zeros((1, len(GRID))), np.array([[1.0]]), np.array([[1.0]]))[0] < 1e-20
