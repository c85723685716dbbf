"""A table of finished trials, and the problem that a search policy is shown of it: what a replay runs on.

Arrays are indexed by row n, step s and objective m. Nothing here is a decision: draws are at random, neighbours by distance.
Tables are made by table_file.py, from a CSV file, and by study_table.py, from a study of the user's.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.bench.table_spec import Goal
from autonas.objective import Objective
from autonas.policy.problem import Array, Encoding, Params
from autonas.space.domains import Choice, Domain, Fixed, Float, Int, is_number

ROW = "(row)"  # of a row's params: which row. No sampler knows such a dimension.
CORNER = 1.1  # the reference point of the hypervolume, in every objective
# Steps between rungs: about a fiftieth of the whole, and each so many times the one before.
_FIRST_SHARE, _RUNG_FACTOR = 0.02, 2.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Finished trials. Scores are minimised, in the objective's unit or its reciprocal or negative.

    A row that was not trained to the last step fails after `done` steps, having cost `ruin` in all.
    """

    name: str
    domains: Mapping[str, Domain]  # the searched dimensions; those of lists are named `list[position]`
    lists: Mapping[str, tuple[str, ...]]  # list -> its dimensions
    lengths: Mapping[str, str]  # list -> the dimension that says how many of its positions there are
    rows: tuple[Params, ...]  # with ROW; positions that a row's list does not have are left out
    objectives: tuple[Objective, ...]
    steps: tuple[int, ...]  # of training, rising, at which there are scores; (1,) without curves
    rungs: tuple[int, ...]  # those of the steps at which a scheduler may compare
    scores: Array  # (n, s, m), NaN where there is none
    spent: Array  # (n, s): what training to the step has cost
    done: NDArray[np.int64]  # (n,): steps that have scores
    ruin: Array  # (n,)
    sizes: Array  # (n, k): logarithms
    effort: Array  # (n,)
    has_costs: bool = False  # whether trainings cost something of their own; else each costs 1
    cost_unit: str = "trainings"
    budgets: tuple[int, ...] = ()
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()  # what was left out, and why

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_curves(self) -> bool:
        return len(self.steps) > 1

    @functools.cached_property
    def whole(self) -> NDArray[np.bool_]:
        """(n,): the rows that were trained to the last step."""
        return np.asarray(self.done == len(self.steps))

    @functools.cached_property
    def points(self) -> Array:
        """(n, m): final scores, as logarithms where the objective says so, mapped to [0, 1] over whole rows; NaN of others."""
        final = self.scores[:, -1, :].copy()
        for column, objective in enumerate(self.objectives):
            if objective.logarithmic:
                final[:, column] = np.log(final[:, column])
        final[~self.whole] = np.nan
        low, high = np.nanmin(final, axis=0), np.nanmax(final, axis=0)
        scaled: Array = (final - low) / np.where(high > low, high - low, 1.0)
        return scaled

    @functools.cached_property
    def full_cost(self) -> float:
        """What one full training costs on average."""
        return float(self.spent[self.whole, -1].mean())

    @functools.cached_property
    def volume(self) -> float:
        """The hypervolume of everything that the table holds."""
        return self._whole_front[0]

    @property
    def front(self) -> list[int]:
        """The rows that no other dominates, one for each point."""
        return self._whole_front[1]

    @functools.cached_property
    def _whole_front(self) -> tuple[float, list[int]]:
        grown = self.empty_front()
        # What has the smaller sum comes first: nothing that comes later dominates it.
        order = sorted(np.flatnonzero(self.whole).tolist(), key=lambda row: (float(self.points[row].sum()), row))
        rows = [row for row in order if grown.add(self.points[row]) > 0.0]
        return grown.volume, rows

    def empty_front(self) -> pareto.Front:
        """The front of a search that has found nothing yet; `points` are what it takes in."""
        return pareto.Front([CORNER] * len(self.objectives))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of everything that a replay depends on."""
        digest = hashlib.sha256(repr((self.domains, self.rows, self.objectives, self.steps, self.rungs)).encode())
        for array in (self.scores, self.spent, self.done, self.ruin, self.sizes, self.effort):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def with_cheap_hidden(self) -> Table:
        """The same table in which nothing is known of a candidate's cheap objectives, sizes and effort before it is begun."""
        objectives = tuple(
            dataclasses.replace(objective, known="measured", log=objective.logarithmic)
            if objective.known == "arithmetic"
            else objective
            for objective in self.objectives
        )
        nothing = np.zeros((len(self), 0))
        return dataclasses.replace(self, objectives=objectives, sizes=nothing, effort=np.ones(len(self)))

    def with_lists_folded(self) -> Table:
        """The same table in which each list of numbers is one dimension, its mean: coarser, and far easier to search."""
        folded = {name: dims for name, dims in self.lists.items() if _is_range(self.domains[dims[0]])}
        gone = {dimension for dimensions in folded.values() for dimension in dimensions}
        domains = {name: domain for name, domain in self.domains.items() if name not in gone}
        rows: list[dict[str, Any]] = [{key: row[key] for key in row if key not in gone} for row in self.rows]
        for name, dimensions in folded.items():
            means = [float(np.mean([row[d] for d in dimensions if d in row] or [math.nan])) for row in self.rows]
            low, high = float(np.nanmin(means)), float(np.nanmax(means))
            if low < high:
                domains[name] = Float(low=low, high=high)
                for row, mean in zip(rows, means, strict=True):
                    row.update({} if math.isnan(mean) else {name: mean})
        return dataclasses.replace(
            self,
            domains=domains,
            rows=tuple(rows),
            lists={name: dimensions for name, dimensions in self.lists.items() if name not in folded},
            lengths={name: length for name, length in self.lengths.items() if name not in folded},
        )


def default_rungs(steps: Sequence[int]) -> tuple[int, ...]:
    """Steps from about a fiftieth of the last to the last, each about 2.5 times the one before, of those that there are."""
    available, last = np.asarray(steps, dtype=np.float64), float(steps[-1])
    first = max(_FIRST_SHARE * last, available[0])
    count = round(math.log(last / first) / math.log(_RUNG_FACTOR)) if last > first else 0
    wanted = [first * (last / first) ** (index / count) for index in range(count)] if count else []
    nearest = [int(available[np.argmin(np.abs(np.log(available) - math.log(step)))]) for step in wanted]
    return tuple(sorted({*nearest, int(last)}))


class TableProblem:
    """A table as the policy sees it (policy/problem.py: Problem): candidates are its rows, and nothing else is legal."""

    limits: Mapping[str, float] = {}
    preference: Mapping[str, float] = {}

    def __init__(self, table: Table) -> None:
        self.table = table
        self.objectives = table.objectives
        self.domains = table.domains
        self.num_sizes = table.sizes.shape[1]
        self._identities = [str(row) for row in range(len(table))]
        self._arithmetic = [column for column, objective in enumerate(table.objectives) if objective.known == "arithmetic"]
        self._places = _Places(table)
        listed = {name for dimensions in table.lists.values() for name in dimensions}
        domains = {name: domain for name, domain in table.domains.items() if name not in listed}
        self._features = np.concatenate([table.sizes, Encoding(domains).encode(table.rows), *_of_lists(table)], axis=1)

    def draw(self, rng: np.random.Generator, count: int) -> list[Params]:
        picks = rng.choice(len(self.table), size=min(count, len(self.table)), replace=False)
        return [self.table.rows[int(row)] for row in picks]

    def near(self, params: Params, rng: np.random.Generator, count: int) -> list[Params]:
        """The nearest rows; which of equally near ones is left to chance."""
        own = self.row(params)
        shuffled = rng.permutation(len(self.table))
        distances = self._places.distances(params)[shuffled]
        order = shuffled[np.argsort(distances, kind="stable")]
        return [self.table.rows[int(row)] for row in order[order != own][:count]]

    def settle(self, params: Params) -> Params:
        return params if ROW in params else self.table.rows[self.nearest(params)]

    def identity(self, params: Params) -> str:
        return self._identities[self.row(params)]

    def fresh(self, rng: np.random.Generator, known: Container[str]) -> Params | None:
        for row in rng.permutation(len(self.table)):
            if self._identities[int(row)] not in known:
                return self.table.rows[int(row)]
        return None

    def features(self, many: Sequence[Params]) -> Array:
        return self._features[self._rows(many)]

    def arithmetic(self, many: Sequence[Params]) -> Array:
        known: Array = self.table.scores[self._rows(many), -1][:, self._arithmetic]
        return known

    def efforts(self, many: Sequence[Params]) -> Array:
        return self.table.effort[self._rows(many)]

    def row(self, params: Params) -> int:
        """Which row a row's params are; the nearest one of others."""
        row = params.get(ROW)
        return self.nearest(params) if row is None else int(row)

    def nearest(self, params: Params, avoid: Container[int] = ()) -> int:
        """The row at the smallest distance: among equally near ones the first that is not to be avoided, else the first."""
        distances = self._places.distances(params)
        ties = np.flatnonzero(distances <= distances.min() + 1e-12)
        return next((int(row) for row in ties if int(row) not in avoid), int(ties[0]))

    def _rows(self, many: Sequence[Params]) -> NDArray[np.int64]:
        return np.array([self.row(params) for params in many], dtype=np.int64)


class _Places:
    """Rows as places whose distance is the sum, over dimensions, of differences as shares of the dimension's range.

    Words differ by 0 or 1; so does a dimension that only one of two candidates has. All positions of a list together count as
    one dimension: two dozen of them would outweigh the width.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._numbers = [name for name, domain in table.domains.items() if _is_range(domain)]
        self._words = [name for name in table.domains if name not in self._numbers]
        weights = {name: 1.0 / len(dimensions) for dimensions in table.lists.values() for name in dimensions}
        self._weights = np.array([weights.get(name, 1.0) for name in self._numbers])
        self._word_weights = np.array([weights.get(name, 1.0) for name in self._words])
        self._codes: dict[str, dict[Any, int]] = {name: {} for name in self._words}
        self._at = np.array([self._coordinates(row) for row in table.rows]).reshape(len(table), len(self._numbers))
        self._missing = np.isnan(self._at)
        self._coded = np.array([self._code(row) for row in table.rows], dtype=np.int64).reshape(len(table), len(self._words))

    def distances(self, params: Params) -> Array:
        """(n,): of every row from these params, of which those beyond a list's length are left out."""
        params = self._cut(params)
        here = np.array(self._coordinates(params), dtype=np.float64)
        apart = np.abs(self._at - here)
        apart = np.where(np.isnan(apart), self._missing != np.isnan(here), apart)
        words = self._coded != np.array(self._code(params), dtype=np.int64)
        total: Array = apart @ self._weights + words @ self._word_weights
        return total

    def _coordinates(self, params: Params) -> list[float]:
        return [_share(self._table.domains[name], params.get(name)) for name in self._numbers]

    def _code(self, params: Params) -> list[int]:
        return [
            -1 if params.get(name) is None else self._codes[name].setdefault(params[name], len(self._codes[name]))
            for name in self._words
        ]

    def _cut(self, params: Params) -> Params:
        if ROW in params:
            return params
        beyond: set[str] = set()
        for name, dimension in self._table.lengths.items():
            if dimension in params:
                beyond.update(self._table.lists[name][int(params[dimension]) :])
        return {name: value for name, value in params.items() if name not in beyond}


def _is_range(domain: Domain) -> bool:
    return isinstance(domain, Int | Float) or (isinstance(domain, Choice) and all(map(is_number, domain.options)))


def _share(domain: Domain, value: Any) -> float:
    """Where a number lies in its range, from 0 to 1; NaN of None."""
    if value is None:
        return math.nan
    assert not isinstance(domain, Fixed), domain
    if isinstance(domain, Choice):
        numbers = [float(number) for number in domain.options]
        low, high, log = min(numbers), max(numbers), False
    else:
        low, high, log = float(domain.low), float(domain.high), domain.log
    if log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (float(value) - low) / (high - low)


def _of_lists(table: Table) -> list[Array]:
    """Of each list of numbers the mean and the sum over the positions that a row has, (n, 2).

    These are all that a surrogate learns of lists: dozens of positions, each of little weight, drown what matters.
    """
    found = []
    for dimensions in table.lists.values():
        held = [[row[name] for name in dimensions if is_number(row.get(name))] for row in table.rows]
        if any(held):
            found.append(np.array([(np.mean(values), np.sum(values)) if values else (0.0, 0.0) for values in held]))
    return found
