"""Expected gains against the hypervolume's own arithmetic and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from autonas import pareto
from autonas.policy.gain import Firm, Scores, dominating, expected_gains, open_points, still_free

LOW, HIGH = np.zeros(3), np.ones(3)
SHIFT = np.full(3, 0.3)


def exact(points: np.ndarray) -> Scores:
    return Scores(points, np.zeros_like(points))


def test_the_gain_of_exact_scores_is_the_hypervolume_they_add() -> None:
    rng = np.random.default_rng(0)
    front, new = rng.random((6, 3)), rng.random((40, 3)) * 0.7
    points, free, share = open_points(LOW, HIGH, exact(front), exact(new), SHIFT)
    gains = expected_gains(exact(new), points, free * share)
    before = pareto.hypervolume(front, HIGH)
    truth = np.array([pareto.hypervolume(np.vstack([front, point]), HIGH) - before for point in new])
    assert gains == pytest.approx(truth, abs=0.012)
    assert np.corrcoef(gains, truth)[0, 1] > 0.995


def test_the_gain_of_an_uncertain_score_is_the_mean_over_what_it_may_be() -> None:
    rng = np.random.default_rng(1)
    front = rng.random((5, 3))
    mean, deviation = np.array([0.4, 0.3, 0.5]), np.array([0.2, 0.0, 0.1])
    candidate = Scores(mean[None], deviation[None])
    points, free, share = open_points(LOW - [1, 0, 1], HIGH, exact(front), candidate, SHIFT)
    gain = expected_gains(candidate, points, free * share)[0] * 4.0  # of a box of volume 4
    drawn = mean + deviation * rng.standard_normal((1500, 3))
    before = pareto.hypervolume(front, HIGH)
    truth = np.mean([pareto.hypervolume(np.vstack([front, point]), HIGH) - before for point in drawn])
    assert gain == pytest.approx(truth, rel=0.1)


def test_what_is_under_way_takes_from_its_like_and_not_from_others() -> None:
    twins = Scores(np.array([[0.3, 0.3, 0.3], [0.3, 0.3, 0.3], [0.1, 0.8, 0.8]]), np.tile([0.05, 0.0, 0.0], (3, 1)))
    nobody = exact(np.empty((0, 3)))
    points, free, share = open_points(LOW, HIGH, nobody, twins, SHIFT)
    alone = expected_gains(twins, points, free * share)
    beside = expected_gains(twins, points, still_free(free, twins.take(np.array([0])), points) * share)
    assert beside[1] < 0.15 * alone[1]
    assert beside[2] > 0.2 * alone[2]


def test_a_doubtful_front_leaves_more_to_gain_than_a_sure_one() -> None:
    new = Scores(np.array([[0.45, 0.5, 0.5]]), np.array([[0.1, 0.0, 0.0]]))
    sure = exact(np.array([[0.4, 0.5, 0.5]]))
    doubtful = Scores(sure.mean, np.array([[0.1, 0.0, 0.0]]))
    gains = []
    for front in (sure, doubtful):
        points, free, share = open_points(LOW, HIGH, front, new, SHIFT)
        gains.append(expected_gains(new, points, free * share)[0])
    assert gains[1] > 1.2 * gains[0]


def test_probabilities_of_dominating_are_products_of_normal_ones() -> None:
    scores = Scores(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    chance = dominating(scores, np.array([[0.0, 1.0], [1.0, 2.0], [1.0, 0.5]]))
    assert chance[0] == pytest.approx([0.5, 0.8413, 0.0], abs=1e-4)
    doubted = dominating(scores, np.array([[1.0, 1.0]]), np.array([np.sqrt(3.0), 0.0]))
    assert doubted[0, 0] == pytest.approx(0.6915, abs=1e-4)


def test_who_is_firm_is_the_same_trial_by_trial_as_at_once() -> None:
    """Trials that come in any order, of which some are measured again and one is taken back."""
    rng = np.random.default_rng(4)
    mean, deviation = rng.random((60, 3)), rng.choice([0.0, 0.1], size=(60, 3))
    order = rng.permutation(60)
    firm = Firm()
    for count in range(1, 61):
        rows = np.sort(order[:count])
        if count == 30:
            mean[order[:5]] += 0.5  # repeats: they were not that good
        if count == 45:
            rows = np.setdiff1d(rows, rows[firm.places(rows, Scores(mean[rows], deviation[rows]))][:1])
        found = firm.places(rows, Scores(mean[rows], deviation[rows]))
        expected = pareto.non_dominated(mean[rows]) | pareto.non_dominated(mean[rows] - 2 * deviation[rows])
        assert found.tolist() == np.flatnonzero(expected).tolist()
