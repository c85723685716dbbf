"""What a search begins with, for any number of workers, before anything has been trained."""

from __future__ import annotations

import numpy as np
import pytest

from autonas import pareto
from autonas.policy.candidates import Candidates, best_of
from autonas.policy.prior import Prior
from autonas.policy.problem import Params, SpaceProblem
from autonas.space.domains import Choice, Int
from autonas.space.space import Space
from tests.policy.test_adaptive import PAIR, SPACE

SMALL = Space(
    name="small",
    domains={"layers": Int(low=1, high=5), "width": Choice(options=(16, 32)), "heads": Choice(options=(2,))},
    vocab_size=300,
    context_length=64,
    price=SPACE.price,
)


def firsts(candidates: Candidates, problem: SpaceProblem, count: int) -> list[Params | None]:
    """What so many workers begin with, one after the other."""
    known: dict[str, int] = {}
    found: list[Params | None] = []
    for number in range(count):
        found.append(candidates.first(known))
        if found[-1] is not None:
            known.setdefault(problem.identity(found[-1]), number)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_each_of_the_first_adds_most_volume_if_larger_models_are_better(seed: int) -> None:
    """As found by working out every hypervolume anew."""
    problem = SpaceProblem(SPACE, PAIR)
    candidates = Candidates(problem, seed, Prior())
    pool = candidates.described(problem.draw(candidates.rng("spread"), 600))
    points = pareto.normalised(np.concatenate([-pool.inputs.sizes[:, :1], pool.before[:, 1:]], axis=1))
    front, corner = [int(place) for place in best_of(points)], np.full(2, 1.1)
    chosen: list[int] = []
    for params in firsts(candidates, problem, 8):
        assert params is not None
        own = [points[place] for place in chosen]
        volumes = {place: pareto.hypervolume([*own, points[place]], corner) for place in front if place not in chosen}
        place = pool.identities.index(problem.identity(params))
        assert volumes[place] == pytest.approx(max(volumes.values()), rel=1e-12)
        chosen.append(place)


def test_more_workers_than_are_spread_out_have_something_to_begin_with_too() -> None:
    problem = SpaceProblem(SPACE, PAIR)
    found = firsts(Candidates(problem, 0, Prior()), problem, 700)
    assert len({problem.identity(params) for params in found if params is not None}) == 700


def test_a_space_that_is_used_up_gives_nothing_more() -> None:
    problem = SpaceProblem(SMALL, PAIR)
    found = firsts(Candidates(problem, 0, Prior()), problem, 13)
    assert None not in found[:10] and found[10:] == [None] * 3
