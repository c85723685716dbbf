"""What a search policy knows of what it searches before anything is trained: a seam with two implementations.

`SpaceProblem` is a space of architectures; bench/tables.py has the other one, a table of finished trials on which searches are
replayed. The policy sees params, numbers that describe them, and objectives; neither specs nor rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autonas import cost
from autonas.arch import ArchSpec
from autonas.errors import InfeasibleArch
from autonas.objective import OBJECTIVES, Objective
from autonas.space.domains import Choice, Domain, is_number
from autonas.space.space import Space

Array = NDArray[np.float64]
Params = Mapping[str, Any]

# Draws for one that is legal; where fewer are, there are fewer candidates.
_DRAWS_PER_LEGAL = 20
_MOST_LISTED = 4_000
# A space of up to so many params is gone through for what is left of it; in a larger one so many draws are tried.
_MOST_ENUMERATED, _MOST_DRAWN = 200_000, 20_000
_MOST_KEPT = 20_000  # decoded params, which are asked for several times in a row


class Problem(Protocol):
    """What is searched."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is minimised, in the study's order."""
        ...

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The searched dimensions, as samplers draw them."""
        ...

    @property
    def limits(self) -> Mapping[str, float]:
        """The most that an objective may be, in its unit: what lies beyond is of no use to whoever asked."""
        ...

    @property
    def preference(self) -> Mapping[str, float]:
        """The weights of objectives in what whoever asked will pick from the front; empty: nothing is preferred."""
        ...

    @property
    def num_sizes(self) -> int:
        """How many of the features, the first ones, are logarithms of sizes: what learning is known to scale with."""
        ...

    def draw(self, rng: np.random.Generator, count: int) -> list[Params]:
        """At most `count` distinct legal params, drawn at random."""
        ...

    def near(self, params: Params, rng: np.random.Generator, count: int) -> list[Params]:
        """At most `count` legal params that differ from `params` in a few dimensions."""
        ...

    def settle(self, params: Params) -> Params:
        """What is tried when a sampler that knows only the domains has drawn `params`."""
        ...

    def identity(self, params: Params) -> str:
        """The same for params that describe the same candidate, and only for those."""
        ...

    def fresh(self, rng: np.random.Generator, known: Container[str]) -> Params | None:
        """Some legal params whose identity is not among `known`; None when there are none, or none that can be found."""
        ...

    def features(self, many: Sequence[Params]) -> Array:
        """Numbers that describe legal params, (n, d): what scores are predicted from."""
        ...

    def arithmetic(self, many: Sequence[Params]) -> Array:
        """The objectives known by arithmetic, in the study's order, (n, k) in their units."""
        ...

    def efforts(self, many: Sequence[Params]) -> Array:
        """What training on a token is thought to cost, (n,), in any unit; ones where nothing is known."""
        ...


class SpaceProblem:
    """A space of architectures and the objectives of a study, as the policy sees them."""

    def __init__(
        self,
        space: Space,
        objectives: Sequence[str],
        limits: Mapping[str, float] | None = None,
        preference: Mapping[str, float] | None = None,
    ) -> None:
        self.space = space
        self.objectives = tuple(OBJECTIVES[name] for name in objectives)
        self.domains: Mapping[str, Domain] = space.searched_domains
        self.limits: Mapping[str, float] = limits or {}
        self.preference: Mapping[str, float] = preference or {}
        self._encoding = Encoding(self.domains)
        self._decoded = functools.lru_cache(maxsize=_MOST_KEPT)(self._decode)
        self._identified = functools.lru_cache(maxsize=_MOST_KEPT)(self._identify)
        size = space.size()
        self._every: list[Params] | None = (
            None  # distinct and legal, of a space so small that draws would soon repeat themselves
        )
        if size is not None and size <= _MOST_LISTED:
            legal = {self.identity(params): params for params in space.every() if space.legal(params)}
            self._every = list(legal.values())

    num_sizes = 3

    def draw(self, rng: np.random.Generator, count: int) -> list[Params]:
        if self._every is not None:
            return [self._every[int(i)] for i in rng.permutation(len(self._every))[:count]]
        found: dict[str, Params] = {}
        for _ in range(_DRAWS_PER_LEGAL * count):
            params = self.space.draw(rng)
            if self._legal(params):
                found.setdefault(self.identity(params), params)
            if len(found) == count:
                break
        return list(found.values())

    def near(self, params: Params, rng: np.random.Generator, count: int) -> list[Params]:
        found: dict[str, Params] = {}
        names = list(self.domains)
        for _ in range(20 * count):
            changed = dict(params)
            for name in rng.choice(names, size=min(len(names), 1 + int(rng.integers(3))), replace=False):
                changed[name] = self.domains[name].draw(rng)
            if self._legal(changed):
                found.setdefault(self.identity(changed), changed)
            if len(found) == count:
                break
        return list(found.values())

    def settle(self, params: Params) -> Params:
        return params

    def identity(self, params: Params) -> str:
        return self._identified(tuple(params.items()))

    def _identify(self, items: tuple[tuple[str, Any], ...]) -> str:
        try:
            return repr(self._decoded(items))
        except InfeasibleArch:
            return repr(sorted(items))

    def _legal(self, params: Params) -> bool:
        try:
            self.space.screen(self._spec(params))
        except InfeasibleArch:
            return False
        return True

    def _spec(self, params: Params) -> ArchSpec:
        return self._decoded(tuple(params.items()))

    def _decode(self, items: tuple[tuple[str, Any], ...]) -> ArchSpec:
        return self.space.decode(dict(items))

    def fresh(self, rng: np.random.Generator, known: Container[str]) -> Params | None:
        size = self.space.size()
        candidates: Iterator[Params]
        if size is not None and size <= _MOST_ENUMERATED:
            every = list(self.space.every())
            candidates = (every[int(i)] for i in rng.permutation(len(every)))
        else:
            candidates = (self.space.draw(rng) for _ in range(_MOST_DRAWN))
        return next((p for p in candidates if self.space.legal(p) and self.identity(p) not in known), None)

    def features(self, many: Sequence[Params]) -> Array:
        specs = [self._spec(params) for params in many]
        sizes = [
            (
                math.log(_matrices_of_blocks(spec)),
                math.log(cost.count_params(spec)),
                math.log(cost.training_flops_per_token(spec)),
            )
            for spec in specs
        ]
        return np.concatenate([np.array(sizes).reshape(-1, 3), self._encoding.encode(many)], axis=1)

    def arithmetic(self, many: Sequence[Params]) -> Array:
        names = [objective.name for objective in self.objectives if objective.known == "arithmetic"]
        prices = [self.space.price(self._spec(params)) for params in many]
        return np.array([[float(price[name]) for name in names] for price in prices]).reshape(len(many), len(names))

    def efforts(self, many: Sequence[Params]) -> Array:
        return np.array([float(cost.training_flops_per_token(self._spec(params))) for params in many])


def _matrices_of_blocks(spec: ArchSpec) -> int:
    parts = cost.param_breakdown(spec)
    return parts["attention"] + parts["feed_forward"]


class Encoding:
    """Values of domains as numbers: ranges and options that are numbers as one column, other options as one column each."""

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self._columns: list[tuple[str, Any, bool]] = []  # name; the option of an indicator, or None; whether as a logarithm
        for name, domain in domains.items():
            numbers = [float(v) for v in domain.values(64) if is_number(v)]
            words = [v for v in domain.values(64) if not is_number(v)]
            if len(numbers) > 1:
                # Doubling a width is one step, wherever it begins.
                log = min(numbers) > 0 and max(numbers) >= 2 * min(numbers)
                self._columns.append((name, None, log))
            indicated = words if isinstance(domain, Choice) else []
            self._columns += [
                (name, word, False) for word in (indicated[1:] if len(indicated) == 2 and not numbers else indicated)
            ]

    def encode(self, many: Sequence[Params]) -> Array:
        """(n, d); where a dimension of numbers has a word for its value, that column holds the mean of the others."""
        table = np.array([[self._number(params.get(name), *how) for name, *how in self._columns] for params in many])
        table = table.reshape(len(many), len(self._columns))
        words = np.isnan(table)
        if words.any():
            sums, counts = np.where(words, 0.0, table).sum(axis=0), (~words).sum(axis=0)
            table = np.where(words, sums / np.maximum(counts, 1), table)
        return table

    @staticmethod
    def _number(value: Any, option: Any, log: bool) -> float:
        """A value in its column; NaN for a word where numbers stand."""
        if option is not None:
            return float(value == option)
        if not is_number(value):
            return math.nan
        return math.log(value) if log else float(value)
