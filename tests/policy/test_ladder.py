"""Forecasts of the last rung: learnt changes, crossing curves, coverage, and trainings that went to pieces."""

from __future__ import annotations

import numpy as np
import pytest

from autonas.policy.ladder import fit_ladder, thinned
from autonas.policy.surrogate import Inputs


def world(count: int, seed: int) -> tuple[Inputs, np.ndarray]:
    """Architectures with a size and a depth, and curves of four rungs: the deep ones begin slowly and end lower."""
    rng = np.random.default_rng(seed)
    size, depth, other = rng.standard_normal((3, count))
    last = -0.5 * size - 0.3 * depth + 0.1 * other
    handicap = np.array([1.5, 0.8, 0.3, 0.0])
    values = 4.0 + last[:, None] + handicap * (1.0 + 0.5 * depth[:, None]) + 0.02 * rng.standard_normal((count, 4))
    sizes = np.stack([size, depth], axis=1) / np.sqrt(2)
    return Inputs(sizes, np.stack([size, depth, other], axis=1) / np.sqrt(3)), values


def test_ranks_that_are_wrong_at_the_first_rung_are_put_right() -> None:
    inputs, values = world(60, seed=0)
    seen = values.copy()
    seen[20:, 1:] = np.nan  # only the first twenty went on
    ladder = fit_ladder(inputs, seen)
    assert ladder is not None
    rest = np.arange(20, 60)
    forecast = ladder.forecasts(inputs.take(rest), 1, seen[rest, 0])
    raw = np.corrcoef(values[rest, 0], values[rest, 3])[0, 1]
    corrected = np.corrcoef(forecast.mean, values[rest, 3])[0, 1]
    assert raw < 0.9 < 0.97 < corrected


@pytest.mark.parametrize("reached", [0, 1, 2, 3])
def test_intervals_cover_the_last_score(reached: int) -> None:
    inside, total = 0, 0
    for seed in range(8):
        inputs, values = world(70, seed)
        seen = values.copy()
        seen[15:, max(reached, 1) :] = np.nan
        seen[40:, reached:] = np.nan
        ladder = fit_ladder(inputs, seen)
        assert ladder is not None
        rest = np.arange(40, 70)
        scores = None if reached == 0 else values[rest, reached - 1]
        forecast = ladder.forecasts(inputs.take(rest), reached, scores)
        inside += int((np.abs(values[rest, 3] - forecast.mean) < 1.96 * forecast.deviation).sum())
        total += len(rest)
    assert inside / total > 0.85


def test_stages_shrink_to_nothing_as_rungs_are_reached() -> None:
    inputs, values = world(30, seed=1)
    ladder = fit_ladder(inputs, values)
    assert ladder is not None
    widths = [
        ladder.forecasts(inputs, reached, None if reached == 0 else values[:, reached - 1]).stages.shape[1]
        for reached in range(5)
    ]
    assert widths == [4, 3, 2, 1, 0]
    last = ladder.forecasts(inputs, 4, values[:, 3])
    assert last.mean == pytest.approx(values[:, 3])
    assert (last.deviation == 0).all()


def test_a_training_that_went_to_pieces_does_not_blur_the_others() -> None:
    inputs, values = world(40, seed=2)
    broken = values.copy()
    broken[[3, 17]] = 1e6
    fine, spoilt = fit_ladder(inputs, values), fit_ladder(inputs, broken)
    assert fine is not None and spoilt is not None
    at, _ = world(50, seed=3)
    first, second = fine.forecasts(at, 0), spoilt.forecasts(at, 0)
    assert np.abs(first.mean - second.mean).max() < 1.0
    assert second.deviation.max() < 2.0


def test_without_scores_there_is_no_ladder() -> None:
    inputs, values = world(5, seed=0)
    assert fit_ladder(inputs, np.full_like(values, np.nan)) is None


def test_thinning_keeps_the_best_and_a_fair_part_of_the_rest() -> None:
    values = np.random.default_rng(0).random(2_000)
    kept = thinned(np.arange(2_000), values)
    assert len(kept) == len(set(kept.tolist())) == 256
    assert set(np.argsort(values)[:128].tolist()) <= set(kept.tolist())
