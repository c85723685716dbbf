"""Which architectures are considered for training: random draws, neighbours of the best trials, a spread-out beginning."""

from __future__ import annotations

import functools
import hashlib
import heapq
import math
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.policy.ladder import Fitted, fit_scores, with_size
from autonas.policy.prior import Prior
from autonas.policy.problem import Array, Params, Problem
from autonas.policy.surrogate import Inputs
from autonas.policy.view import scaled

_SPREAD = 600  # draws among which the first are chosen, and which say what a unit of each feature is
# Candidates drawn anew for every trial, and for how many trials they are kept: drawing them takes longer than judging them.
_DRAWN, _KEPT = 400, 3
_REFERENCE = 1.1  # of the first candidates' box
_NEIGHBOURS = 8  # of each of the best trials


@dataclass(frozen=True, slots=True)
class Pool:
    """n candidates and what is known of them for nothing."""

    params: tuple[Params, ...]
    identities: tuple[str, ...]
    inputs: Inputs
    before: Array  # (n, m) on the scale on which scores are compared, NaN where a score is not arithmetic
    efforts: Array  # (n,) what training on a token is thought to cost

    def __len__(self) -> int:
        return len(self.params)

    def take(self, rows: Sequence[int]) -> Pool:
        at = np.array(rows, dtype=np.int64)
        return Pool(
            tuple(self.params[i] for i in rows),
            tuple(self.identities[i] for i in rows),
            self.inputs.take(at),
            self.before[at],
            self.efforts[at],
        )

    def joined(self, other: Pool) -> Pool:
        return Pool(
            self.params + other.params,
            self.identities + other.identities,
            Inputs(
                np.concatenate([self.inputs.sizes, other.inputs.sizes]),
                np.concatenate([self.inputs.features, other.inputs.features]),
            ),
            np.concatenate([self.before, other.before]),
            np.concatenate([self.efforts, other.efforts]),
        )


class Candidates:
    """The candidates of one study. What is kept is what would be drawn and worked out anew."""

    def __init__(self, problem: Problem, seed: int, prior: Prior) -> None:
        self._problem, self._seed, self._prior = problem, seed, prior
        self._expected_before: Fitted | None = None
        self._drawn: dict[int, Pool] = {}
        self._spread: Pool | None = None
        self._scale: tuple[Array, Array] | None = None
        self._order: list[int] = []  # places of the first draws, as far as they were asked for
        self._following: Iterator[int] | None = None  # those after them
        self._exhausted: int | None = None  # so many known candidates were all that there are

    def rng(self, *what: object) -> np.random.Generator:
        """A generator that depends on the study's seed and on what it is for."""
        digest = hashlib.sha256(repr((self._seed, *what)).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    def inputs(self, features: Array) -> Inputs:
        """Standardised as the first candidates are, whatever is shown later; with what an earlier study expects as a size."""
        inputs = self._standard(features)
        if not self._prior.scores:
            return inputs
        if self._expected_before is None:
            known = self._standard(self._problem.features(self._prior.params))
            self._expected_before = fit_scores(known, np.array(self._prior.scores))
        assert self._expected_before is not None
        expected = (self._expected_before.predict(inputs)[0] - self._expected_before.centre) / self._expected_before.unit
        return with_size(inputs, expected)

    def _standard(self, features: Array) -> Inputs:
        if self._scale is None:
            first = self._problem.features(self._problem.draw(self.rng("spread"), _SPREAD))
            spread = first.std(axis=0)
            self._scale = first.mean(axis=0), np.where(spread > 1e-9, spread, np.inf)
        centre, spread = self._scale
        standard = (features - centre) / spread
        sizes = standard[:, : self._problem.num_sizes]
        return Inputs(sizes / math.sqrt(max(sizes.shape[1], 1)), standard / math.sqrt(max(standard.shape[1], 1)))

    def described(self, params: Sequence[Params]) -> Pool:
        objectives = self._problem.objectives
        before = np.full((len(params), len(objectives)), np.nan)
        exact = self._problem.arithmetic(params)
        for place, column in enumerate(i for i, objective in enumerate(objectives) if objective.known == "arithmetic"):
            before[:, column] = [scaled(objectives[column], float(value)) for value in exact[:, place]]
        return Pool(
            tuple(params),
            tuple(self._problem.identity(p) for p in params),
            self.inputs(self._problem.features(params)),
            before,
            self._problem.efforts(params),
        )

    def first(self, known: Collection[str]) -> Params | None:
        """What to begin with, while nothing can be predicted: what was asked for, then the front that sizes let expect.

        Where there are more workers than that lasts for, draws.
        """
        for params in self._prior.starts:
            if self._problem.identity(params) not in known:
                return params
        pool = self._spread_out()
        if pool is None:
            return None
        for place in self._first_places(pool):
            if pool.identities[place] not in known:
                return pool.params[place]
        if self._exhausted == len(known):
            return None
        left = self.control(len(known), known) or self._problem.fresh(self.rng("first", len(known)), known)
        self._exhausted = len(known) if left is None else None
        return left

    def _first_places(self, pool: Pool) -> Iterator[int]:
        """All places of the pool, as far as they are asked for; any beginning of them is spread out."""
        if self._following is None:
            self._following = self._spread_order(pool)
        yield from self._order
        for place in self._following:
            self._order.append(place)
            yield place

    def _spread_order(self, pool: Pool) -> Iterator[int]:
        """What adds most hypervolume to those before it if larger models are better, in what is known of all of them.

        Then, and where nothing is known of them, what is farthest from those before it.
        """
        known = ~np.isnan(pool.before).any(axis=0)
        chosen: list[int] = []
        if self._problem.num_sizes and known.any():
            points = pareto.normalised(np.concatenate([-pool.inputs.sizes[:, :1], pool.before[:, known]], axis=1))
            for place in _by_gain(points, best_of(points)):
                chosen.append(place)
                yield place
        else:
            points = pool.inputs.sizes if self._problem.num_sizes else pool.inputs.features
        yield from _by_distance(points, chosen)

    @functools.cached_property
    def usual_effort(self) -> float:
        """The mean effort of candidates drawn at random."""
        pool = self._spread_out()
        return 1.0 if pool is None else float(pool.efforts.mean())

    def _spread_out(self) -> Pool | None:
        """The first draws; None where nothing is legal."""
        if self._spread is None:
            drawn = self._problem.draw(self.rng("spread"), _SPREAD)
            self._spread = self.described(drawn) if drawn else None
        return self._spread

    def control(self, number: int, known: Container[str]) -> Params | None:
        """One drawn at random, whatever is known: what random search would have tried."""
        drawn = self._problem.draw(self.rng("control", number), 20)
        return next((params for params in drawn if self._problem.identity(params) not in known), None)

    def pool(self, number: int, best: Sequence[Params], known: Container[str], *, count: int = 1) -> Pool | None:
        """What the next `count` trials, of which this is the first number, may be; None when nothing is left.

        Draws, and neighbours of the `best`.
        """
        drawn = self._at_random(number, _KEPT if count < _KEPT else 1)
        rng = self.rng("near", number)
        seen = set(drawn.identities)
        near: dict[str, Params] = {}
        for params in best:
            for neighbour in self._problem.near(params, rng, _NEIGHBOURS):
                identity = self._problem.identity(neighbour)
                if identity not in known and identity not in seen:
                    near.setdefault(identity, neighbour)
        rows = [i for i, identity in enumerate(drawn.identities) if identity not in known]
        if not rows and not near:
            fresh = self._problem.fresh(rng, known)
            return None if fresh is None else self.described([fresh])
        pool = drawn.take(rows)
        return pool.joined(self.described(list(near.values()))) if near else pool

    def _at_random(self, number: int, kept: int) -> Pool:
        """The draws for the trial of this number and for those before it that are `kept`, each candidate once."""
        batches = range(max(0, number - kept + 1), number + 1)
        self._drawn = {batch: self._drawn[batch] for batch in batches if batch in self._drawn}
        for batch in batches:
            if batch not in self._drawn:
                self._drawn[batch] = self.described(self._problem.draw(self.rng("drawn", batch), _DRAWN))
        pool = functools.reduce(Pool.joined, (self._drawn[batch] for batch in batches))
        first = {identity: place for place, identity in reversed(list(enumerate(pool.identities)))}
        return pool.take(sorted(first.values()))


def _by_gain(points: Array, places: NDArray[np.int64]) -> Iterator[int]:
    """These places of the points (n, d), normalised ones, each the one that adds most hypervolume to those before it.

    What a point would add never grows while others join (hypervolume is submodular), so that only those are worked out anew
    that would still be ahead.
    """
    front = pareto.Front(np.full(points.shape[1], _REFERENCE))
    most = [(-math.inf, int(place)) for place in places]  # minus what each adds at most; ties go to the first
    while most:
        bound, place = heapq.heappop(most)
        own = (-front.gain(points[place]), place)
        if bound == own[0] or not most or own <= most[0]:
            front.add(points[place])
            yield place
        else:
            heapq.heappush(most, own)


def _by_distance(points: Array, chosen: Sequence[int]) -> Iterator[int]:
    """The other points (of n, d), each the one farthest from those before it; the first of all is the one in the middle."""
    gaps = np.full(len(points), np.inf)
    if chosen:
        for other in chosen:
            gaps = np.minimum(gaps, ((points - points[other]) ** 2).sum(axis=1))
        gaps[list(chosen)] = -1.0
    for num in range(len(chosen), len(points)):
        far = int(np.argmax(gaps)) if num else int(np.argmin(((points - np.median(points, axis=0)) ** 2).sum(axis=1)))
        yield far
        gaps = np.minimum(gaps, ((points - points[far]) ** 2).sum(axis=1))
        gaps[far] = -1.0


def best_of(mean: Array) -> NDArray[np.int64]:
    """Places of the non-dominated rows of (n, m)."""
    order = np.argsort(mean.sum(axis=1), kind="stable")
    kept: list[int] = []
    for place in order:
        if not kept or not (mean[kept] <= mean[place]).all(axis=1).any():
            kept.append(int(place))
    return np.array(sorted(kept), dtype=np.int64)
