"""The scheduler seam: what every implementation promises, and what Pareto halving adds."""

from __future__ import annotations

import numpy as np
import pytest

from autonas import pareto
from autonas.policy.rungs import FullFidelity, ParetoHalving, RungScheduler, Standing, make_scheduler


def standings(values: np.ndarray) -> list[Standing]:
    return [Standing(trial=10 + i, values=tuple(map(float, row))) for i, row in enumerate(values)]


@pytest.fixture(params=("pareto", "full", "curves"))
def scheduler(request: pytest.FixtureRequest) -> RungScheduler:
    return make_scheduler(request.param, reduction_factor=3.0, min_survivors=4)


@pytest.mark.parametrize("count", [0, 1, 3, 9, 30])
@pytest.mark.parametrize("more_to_come", [True, False])
def test_only_trials_of_the_rung_advance_and_each_once(scheduler: RungScheduler, count: int, more_to_come: bool) -> None:
    values = np.random.default_rng(count).random((count, 3))
    chosen = scheduler.advancing(standings(values), more_to_come=more_to_come)
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {10 + i for i in range(count)}


def test_the_answer_depends_on_the_standings_alone(scheduler: RungScheduler) -> None:
    values = np.random.default_rng(0).random((12, 3))
    first = scheduler.advancing(standings(values), more_to_come=False)
    assert scheduler.advancing(standings(values), more_to_come=False) == first


def test_somebody_advances_once_nothing_more_comes(scheduler: RungScheduler) -> None:
    assert scheduler.advancing(standings(np.array([[1.0, 2.0]])), more_to_come=False) == (10,)


def test_halving_waits_for_enough_trials_to_keep_its_survivors() -> None:
    halving = ParetoHalving(reduction_factor=3.0, min_survivors=4)
    values = np.random.default_rng(1).random((12, 2))
    assert halving.advancing(standings(values[:11]), more_to_come=True) == ()
    assert len(halving.advancing(standings(values), more_to_come=True)) == 4


@pytest.mark.parametrize(("count", "expected"), [(3, 3), (5, 4), (12, 4), (13, 5), (30, 10)])
def test_halving_keeps_a_share_but_never_fewer_than_its_survivors(count: int, expected: int) -> None:
    halving = ParetoHalving(reduction_factor=3.0, min_survivors=4)
    values = np.random.default_rng(2).random((count, 2))
    assert len(halving.advancing(standings(values), more_to_come=False)) == expected


def test_halving_keeps_a_pareto_set_and_not_the_best_of_one_objective() -> None:
    # Ten trials of low loss in one corner, three at the other end of the front: both ends must survive.
    corner = [[1.0 + 0.001 * i, 10.0 + 0.001 * i] for i in range(10)]
    values = np.array([*corner, [5.0, 1.0], [4.0, 2.0], [3.0, 4.0]])
    kept = ParetoHalving(reduction_factor=4.0, min_survivors=3).advancing(standings(values), more_to_come=False)
    assert 10 in kept
    assert {20, 21, 22} & set(kept)
    front = {10 + int(i) for i in np.flatnonzero(pareto.non_dominated(values))}
    assert set(kept) <= front


def test_full_fidelity_lets_everybody_go_on() -> None:
    values = np.random.default_rng(3).random((7, 2))
    assert FullFidelity().advancing(standings(values), more_to_come=True) == tuple(range(10, 17))
