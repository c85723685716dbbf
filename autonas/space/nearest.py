"""The nearest legal point of a space, and its smallest and largest: deterministic searches over a few discrete dimensions.

The searches see the space only through its domains and a function that says what is legal. Continuous dimensions take part
by a few values spread over their range.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from autonas.space.domains import Domain, Value

Params = dict[str, Value]
Legal = Callable[[Params], bool]
Cost = Callable[[Params], float | None]
Item = TypeVar("Item")

# 600 points take about 15 ms; a start that is farther from everything legal is served by `construct` and `pull_back`.
MOST_TRIED = 600
_MOST_VALUES = 33  # of one range, nearest first
_FEW_VALUES = 6  # of one range, where two are changed together
_PULLS = 4


def distance(domains: Mapping[str, Domain], first: Mapping[str, Value], second: Mapping[str, Value]) -> float:
    """The sum over `domains` of the normalised distances of two points."""
    return sum(domain.distance(first[name], second[name]) for name, domain in domains.items())


def by_distance(domains: Mapping[str, Domain], start: Params, names: Sequence[str]) -> Iterator[Params]:
    """All points that differ from `start` (a point of the space) in `names` only, nearest first.

    Each dimension's values are sorted by distance; a point is its tuple of ranks. Raising one rank at or after the last
    raised one yields every tuple once, and never a nearer point after a farther one.
    """
    ranked = [_ranked(domains[name], start[name]) for name in names]
    counter = itertools.count()  # equal distances in the order found, so that the result is the same every time
    heap: list[tuple[float, int, tuple[int, ...], int]] = [(0.0, next(counter), (0,) * len(names), 0)]
    while heap:
        far, _, ranks, last = heapq.heappop(heap)
        yield start | {name: ranked[i][ranks[i]][1] for i, name in enumerate(names)}
        for i in range(last, len(names)):
            if ranks[i] + 1 < len(ranked[i]):
                step = ranked[i][ranks[i] + 1][0] - ranked[i][ranks[i]][0]
                raised = (*ranks[:i], ranks[i] + 1, *ranks[i + 1 :])
                heapq.heappush(heap, (far + step, next(counter), raised, i))


def nearest(domains: Mapping[str, Domain], start: Params, names: Sequence[str], legal: Legal) -> Params | None:
    """The first legal point by distance among the `MOST_TRIED` nearest; None when none of those is legal."""
    return next((params for params in itertools.islice(by_distance(domains, start, names), MOST_TRIED) if legal(params)), None)


def construct(
    domains: Mapping[str, Domain], start: Params, names: Sequence[str], holds: Callable[[Params, str], bool], most_checks: int
) -> Params | None:
    """A point built up one dimension at a time by backtracking, each value the nearest to `start` that `holds` so far.

    `holds(partial, name)` judges a partial point by what `name`, just added in the order of `names`, makes decidable. None
    when there is no such point, or none was found within `most_checks` of these.
    """
    checks = iter(range(most_checks))

    def extend(partial: Params, rest: Sequence[str]) -> Params | None:
        if not rest:
            return partial
        for value in domains[rest[0]].outwards(start[rest[0]]):
            if next(checks, None) is None:
                return None
            candidate = partial | {rest[0]: value}
            found = extend(candidate, rest[1:]) if holds(candidate, rest[0]) else None
            if found is not None:
                return found
        return None

    return extend({name: value for name, value in start.items() if name not in names}, names)


def pull_back(domains: Mapping[str, Domain], start: Params, legal_point: Params, names: Sequence[str], legal: Legal) -> Params:
    """Move a legal point towards `start`, one or two dimensions at a time, for as long as it stays legal."""
    point = dict(legal_point)
    for _ in range(_PULLS):
        before = point
        for group in _groups(names):
            reach = distance(domains, start, point)
            nearer = sorted(_between(domains, start, point, group), key=lambda pair: pair[0])
            point = next((candidate for far, candidate in nearer if far < reach and legal(candidate)), point)
        if point == before:
            break
    return point


def smallest(
    domains: Mapping[str, Domain], start: Params, names: Sequence[str], cost: Cost, *, enough: float = -math.inf
) -> Params:
    """The point of least `cost` reached from `start` by changing one dimension at a time, or two where one gains nothing.

    A cost of None is illegal. The descent ends early at a cost of `enough`.
    """
    point, least = dict(start), cost(start)
    singles, pairs = (list(itertools.combinations(names, size)) for size in (1, 2))
    groups, most_values = singles, _MOST_VALUES
    while least is None or least > enough:
        improved = False
        for group in groups:
            for values in itertools.product(*(_around(domains[name], point[name], most_values) for name in group)):
                candidate = point | dict(zip(group, values, strict=True))
                price = cost(candidate)
                if price is not None and (least is None or price < least):
                    point, least, improved = candidate, price, True
        if not improved and groups is pairs:
            break
        groups, most_values = (singles, _MOST_VALUES) if improved else (pairs, _FEW_VALUES)
    return point


def _between(
    domains: Mapping[str, Domain], start: Params, point: Params, group: Sequence[str]
) -> Iterator[tuple[float, Params]]:
    """Points that differ from `point` in `group` only, none of it farther from `start`, with their distance to `start`."""
    ways = []
    for name in group:
        reach = domains[name].distance(start[name], point[name])
        ways.append([value for far, value in _ranked(domains[name], start[name]) if far <= reach][:_FEW_VALUES])
    for values in itertools.product(*ways):
        candidate = point | dict(zip(group, values, strict=True))
        yield distance(domains, start, candidate), candidate


def _around(domain: Domain, value: Value, most: int) -> list[Value]:
    """Values next to `value` and values spread over the domain, at most twice `most` unless it has more options."""
    values: list[Value] = [*itertools.islice(domain.outwards(value), most), *domain.values(most)]
    return list({(isinstance(near, bool), near): near for near in values}.values())


def _groups(names: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    for size in (1, 2):
        yield from itertools.combinations(names, size)


def _ranked(domain: Domain, start: Value) -> list[tuple[float, Value]]:
    """The values of a domain with their distance from `start`, nearest first; of wide ranges those around it and others."""
    values = _around(domain, start, _MOST_VALUES)
    return sorted(((domain.distance(start, value), value) for value in values), key=lambda pair: pair[0])
