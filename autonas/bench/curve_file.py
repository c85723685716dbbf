"""Learning curves from the second CSV file of a table: one line for each row and step."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autonas.bench.csv_lines import Lines, read_lines
from autonas.bench.table_spec import Curves, ScoredColumn, TableSpec
from autonas.errors import RequestError
from autonas.policy.problem import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Of one row. Scores end where the first one is no number: there the training has failed."""

    steps: tuple[int, ...]  # with scores, rising
    values: Mapping[str, tuple[float, ...]]  # objective -> at each step, as in the file
    trained: tuple[int, ...]  # every step of the file, scored or not
    costs: tuple[float, ...] | None  # since the step before, of every step; None: nothing is said

    def reached(self, steps: Sequence[int]) -> int:
        """How many of the rising steps, from the first on, have scores."""
        scored = set(self.steps)
        return sum(1 for _ in itertools.takewhile(scored.__contains__, steps))

    def values_at(self, scored: ScoredColumn, steps: Sequence[int]) -> list[float]:
        """The objective at steps with scores, minimised. Raises ValueError when one is not what its scale wants."""
        place = {step: index for index, step in enumerate(self.steps)}
        return [scored.minimised(self.values[scored.objective.name][place[step]]) for step in steps]

    def cost_at(self, steps: Sequence[int], each: float) -> Array:
        """What training to each of the steps has cost in all; `each`: a unit of a step, where the file does not say."""
        if self.costs is None:
            return np.asarray(steps, dtype=np.float64) * each
        total = np.cumsum(self.costs)
        return np.asarray(total[np.searchsorted(self.trained, steps)], dtype=np.float64)

    def total(self, each: float) -> float:
        """What all of the training has cost, to its end or its failure."""
        return float(self.trained[-1] * each if self.costs is None else sum(self.costs))


def read_curves(spec: TableSpec, table: Lines, path: Path) -> tuple[dict[int, Curve], list[str]]:
    """The curve of each line of the table that has one; and what was left out, in words.

    Raises:
        RequestError: the file cannot be read or is wrong; the message names file, line, value and remedy.
    """
    curves = spec.curves
    assert curves is not None
    lines = read_lines(path)
    for key in curves.key:
        table.need(key, "`curves.key`")
        lines.need(key, "`curves.key`")
    columns = [lines.need(curves.step, "`curves.step`")]
    columns += [lines.need(column, f"curve of {name!r}") for name, column in curves.values.items()]
    if curves.cost is not None:
        columns.append(lines.need(curves.cost, "`curves.cost`"))
    keys = [tuple(cells[key] for key in curves.key) for cells in table.cells]
    counts = Counter(keys)
    groups: dict[tuple[str, ...], list[int]] = {key: [] for key in keys}
    for index, cells in enumerate(lines.cells):
        group = groups.get(tuple(cells[key] for key in curves.key))
        if group is not None:
            group.append(index)
    found = {i: _curve(curves, lines, groups[key]) for i, key in enumerate(keys) if counts[key] == 1 and groups[key]}
    doubled, bare = sum(counts[key] > 1 for key in keys), sum(not groups[key] for key in keys)
    notes = [f"{bare} rows are left out: they have no learning curve"] if bare else []
    if doubled:
        notes.append(f"{doubled} rows are left out: others have the same {' and '.join(curves.key)}, which names their curve")
    return found, notes


def _curve(curves: Curves, lines: Lines, group: Sequence[int]) -> Curve:
    at = sorted((_step(curves, lines, index), index) for index in group)
    for (step, _), (following, index) in itertools.pairwise(at):
        if step == following:
            raise lines.complaint(index, curves.step, "stands there twice for this row; keep one")
    trained = tuple(step for step, _ in at)
    values: dict[str, list[float]] = {name: [] for name in curves.values}
    scored = 0
    for _, index in at:
        numbers = [lines.number(index, column) for column in curves.values.values()]
        if not np.isfinite(numbers).all():
            break
        scored += 1
        for name, number in zip(curves.values, numbers, strict=True):
            values[name].append(number)
    return Curve(
        steps=trained[:scored],
        values={name: tuple(numbers) for name, numbers in values.items()},
        trained=trained,
        costs=None if curves.cost is None else tuple(_cost(curves, curves.cost, lines, index) for _, index in at),
    )


def _step(curves: Curves, lines: Lines, index: int) -> int:
    number = lines.number(index, curves.step)
    if not (np.isfinite(number) and number >= 1 and number.is_integer()):
        raise lines.complaint(index, curves.step, "is no whole number of at least 1, as a step is; mend the line")
    return int(number)


def _cost(curves: Curves, column: str, lines: Lines, index: int) -> float:
    number = lines.number(index, column)
    if not (np.isfinite(number) and number >= 0):
        raise lines.complaint(index, column, "is no cost, a number of at least 0; mend the line")
    return number / curves.divide_by


def unreadable(error: ValueError, path: Path, scored: ScoredColumn) -> RequestError:
    """The complaint about a curve whose values do not fit the objective's scale."""
    return RequestError(f"{path}: {scored.objective.name} {error}; mend the file, or the objective's scale in the spec")
