"""A table of finished trials from CSV files and the spec that says what their columns mean; a mistake is named by its line."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autonas.bench.csv_lines import Lines, read_lines
from autonas.bench.curve_file import Curve, read_curves, unreadable
from autonas.bench.table_spec import Cost, Parameter, ScoredColumn, TableSpec, read_table_spec
from autonas.bench.tables import ROW, Table, default_rungs
from autonas.errors import RequestError
from autonas.policy.problem import Array
from autonas.space.domains import Domain, Fixed, Float, Int, Value

_LEAST_ROWS = 4


def read_table(table_file: str | Path, spec_file: str | Path) -> Table:
    """The table in a CSV file, as the spec describes it.

    Raises:
        RequestError: one of the files cannot be read or is wrong; the message names file, line, value and remedy.
    """
    spec = read_table_spec(Path(spec_file))
    lines = _where(read_lines(Path(table_file)), spec)
    domains, lists = _dimensions(spec, lines)
    rows = _rows(spec, lines)
    curves: dict[int, Curve] = {}
    notes: list[str] = []
    if spec.curves is not None:
        curves, notes = read_curves(spec, lines, _beside(spec.curves.file, spec.curves.node.source, lines.path))
    kept = [index for index in range(len(rows)) if spec.curves is None or index in curves]
    if len(kept) < _LEAST_ROWS:
        raise RequestError(f"{lines.path}: has {len(kept)} rows to replay; a search needs at least {_LEAST_ROWS}")
    trained = _trained(spec, lines, kept, curves)
    table = Table(
        name=spec.name,
        domains=domains,
        lists=lists,
        lengths={p.name: p.length for p in spec.parameters if isinstance(p.length, str) and p.length in domains},
        rows=tuple({**rows[index], ROW: row} for row, index in enumerate(kept)),
        objectives=tuple(scored.objective for scored in spec.objectives),
        sizes=_sizes(spec, lines, kept),
        effort=np.ones(len(kept)) if spec.effort is None else _positive(lines, kept, spec.effort, "effort"),
        has_costs=spec.cost is not None or (spec.curves is not None and spec.curves.cost is not None),
        cost_unit=_cost_unit(spec),
        budgets=spec.budgets,
        goals=spec.goals,
        **trained,
    )
    failing = int((~table.whole).sum())
    if int(table.whole.sum()) < _LEAST_ROWS:
        raise RequestError(f"{lines.path}: has {len(kept) - failing} rows with all their scores; a search needs {_LEAST_ROWS}")
    if failing:
        notes = [*notes, f"{failing} rows have no final scores: they are trials that fail, at the cost that they had"]
    return dataclasses.replace(table, notes=tuple(notes))


def _where(lines: Lines, spec: TableSpec) -> Lines:
    for column in spec.where:
        lines.need(column, "`where`")
    kept = [i for i, cells in enumerate(lines.cells) if all(cells[column] in texts for column, texts in spec.where.items())]
    numbers, cells = tuple(lines.numbers[i] for i in kept), tuple(lines.cells[i] for i in kept)
    return dataclasses.replace(lines, numbers=numbers, cells=cells)


def _beside(file: str, spec_file: str, table_file: Path) -> Path:
    """A file that the spec names: beside the table, else beside the spec, else from here."""
    places = [table_file.parent / file, Path(spec_file).parent / file, Path(file)]
    return next((place for place in places if place.is_file()), places[0])


def _dimensions(spec: TableSpec, lines: Lines) -> tuple[dict[str, Domain], dict[str, tuple[str, ...]]]:
    """The searched dimensions, and those of each list; what does not vary is no dimension."""
    domains: dict[str, Domain] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for parameter in spec.parameters:
        column = lines.need(parameter.column, f"parameter {parameter.name!r}")
        if isinstance(parameter.domain, Fixed):
            continue
        if parameter.separator is None:
            domains[parameter.name] = parameter.domain
            continue
        longest = max((len(_split(parameter, cells[column])) for cells in lines.cells), default=0)
        lists[parameter.name] = tuple(f"{parameter.name}[{position}]" for position in range(longest))
        domains |= dict.fromkeys(lists[parameter.name], parameter.domain)
    if not domains:
        raise RequestError(f"{lines.path}: no parameter of the spec varies; there is nothing to search")
    return domains, lists


def _split(parameter: Parameter, text: str) -> list[str]:
    return text.split(parameter.separator) if text else []


def _rows(spec: TableSpec, lines: Lines) -> list[dict[str, Value]]:
    """The params of every line."""
    rows: list[dict[str, Value]] = [{} for _ in lines.cells]
    for parameter in spec.parameters:
        seen: dict[str, Value | None] = {}

        def value(text: str, parameter: Parameter = parameter, seen: dict[str, Value | None] = seen) -> Value | None:
            if text not in seen:
                seen[text] = read_value(parameter.domain, text)
            return seen[text]

        for index, cells in enumerate(lines.cells):
            text = cells[parameter.column]
            if parameter.counted is not None:
                text = str(text.count(parameter.counted))
            texts = _split(parameter, text) if parameter.is_list else [text]
            values = [value(text) for text in texts]
            if None in values:
                raise lines.complaint(
                    index,
                    parameter.column,
                    f"has {texts[values.index(None)]!r}, no value that {parameter.name} has in the spec; widen it there",
                )
            expected = _expected_length(spec, parameter, lines, index)
            if parameter.is_list and expected not in (None, len(values)):
                raise lines.complaint(index, parameter.column, f"has {len(values)} values where the spec expects {expected}")
            if isinstance(parameter.domain, Fixed):
                continue
            names = [f"{parameter.name}[{i}]" for i in range(len(values))] if parameter.is_list else [parameter.name]
            rows[index].update((name, v) for name, v in zip(names, values, strict=True) if v is not None)
    return rows


def _expected_length(spec: TableSpec, parameter: Parameter, lines: Lines, index: int) -> int | None:
    if not isinstance(parameter.length, str):
        return parameter.length
    source = next(other for other in spec.parameters if other.name == parameter.length)
    said = read_value(source.domain, lines.cells[index][source.column])
    return int(said) if isinstance(said, int | float) else None


def read_value(domain: Domain, text: str) -> Value | None:
    """A cell as a value of the domain; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if isinstance(domain, Int | Float):
        return domain.convert(number) if domain.contains(number) else None
    options = (domain.value,) if isinstance(domain, Fixed) else domain.options
    for option in options:
        if isinstance(option, bool):
            if text.lower() == str(option).lower():
                return option
        elif text == str(option) or (isinstance(option, int | float) and number == option):
            return option
    return None


def _trained(spec: TableSpec, lines: Lines, kept: Sequence[int], curves: Mapping[int, Curve]) -> dict[str, Any]:
    """What training has cost and given: the arrays of a Table."""
    steps: tuple[int, ...] = (1,)
    if spec.curves is not None:
        steps = _common_steps(curves, lines)
    last = steps[-1]
    scores = np.full((len(kept), len(steps), len(spec.objectives)), np.nan)
    costs = _full_costs(spec.cost, lines, kept)
    spent = np.zeros((len(kept), len(steps)))
    done, ruin = np.zeros(len(kept), dtype=np.int64), np.zeros(len(kept))
    for row, index in enumerate(kept):
        curve = curves.get(index)
        if curve is None:
            done[row], spent[row], ruin[row] = 1, costs[row], costs[row]
        else:
            done[row] = curve.reached(steps)
            spent[row, : done[row]] = curve.cost_at(steps[: done[row]], costs[row] / last)
            spent[row, done[row] :] = np.nan
            ruin[row] = curve.total(costs[row] / last)
        for column, scored in enumerate(spec.objectives):
            if curve is not None and scored.objective.name in curve.values:
                try:
                    scores[row, : done[row], column] = curve.values_at(scored, steps[: done[row]])
                except ValueError as error:
                    raise unreadable(error, lines.path, scored) from error
                continue
            value = _score(scored, lines, index)
            if not scored.costly:
                scores[row, :, column] = value
            elif value is None:
                done[row] = min(done[row], len(steps) - 1)
            else:
                scores[row, -1, column] = value
    if spec.curves is not None and (strange := sorted(set(spec.curves.rungs) - set(steps))):
        raise spec.curves.node.complaint(f"has no scores at step {strange[0]} for all rows; choose rungs among {_shown(steps)}")
    rungs = default_rungs(steps)
    if spec.curves is not None and spec.curves.rungs:
        rungs = tuple(sorted({*spec.curves.rungs, last}))
    return {"steps": steps, "rungs": rungs, "scores": scores, "spent": spent, "done": done, "ruin": ruin}


def _common_steps(curves: Mapping[int, Curve], lines: Lines) -> tuple[int, ...]:
    """The steps at which every curve that was trained to the end has scores."""
    last = max((curve.steps[-1] for curve in curves.values() if curve.steps), default=0)
    whole = [curve for curve in curves.values() if curve.steps and curve.steps[-1] == last]
    counts = Counter(step for curve in whole for step in curve.steps)
    steps = tuple(sorted(step for step, count in counts.items() if count == len(whole)))
    if not steps:
        raise RequestError(f"{lines.path}: no row has a learning curve with scores; see `curves:` in the spec")
    return steps


def _shown(steps: Iterable[int]) -> str:
    texts = [str(step) for step in steps]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-3:]])


def _score(scored: ScoredColumn, lines: Lines, index: int) -> float | None:
    """The value to minimise; None of a training that gave none."""
    column = lines.need(scored.column, f"objective {scored.objective.name!r}")
    value = lines.number(index, column)
    if scored.costly and not np.isfinite(value):
        return None
    try:
        return scored.minimised(value)
    except ValueError as error:
        raise lines.complaint(index, column, f"{error}; mend the line, or the objective's scale in the spec") from error


def _full_costs(cost: Cost | None, lines: Lines, kept: Sequence[int]) -> Array:
    if cost is None:
        return np.ones(len(kept))
    costs = _positive(lines, kept, cost.column, "cost") / cost.divide_by
    if cost.clip_quantile is not None:
        costs = np.minimum(costs, np.quantile(costs, cost.clip_quantile))
    return costs


def _cost_unit(spec: TableSpec) -> str:
    for given in (spec.curves if spec.curves is not None and spec.curves.cost is not None else None, spec.cost):
        if given is not None:
            return given.unit or "cost"
    return "trainings"


def _positive(lines: Lines, kept: Sequence[int], column: str, what: str) -> Array:
    lines.need(column, what)
    values = np.array([lines.number(index, column) for index in kept])
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        raise lines.complaint(kept[int(wrong[0])], column, f"is no positive number, as the {what} is; mend the line")
    return values


def _sizes(spec: TableSpec, lines: Lines, kept: Sequence[int]) -> Array:
    """(n, k): logarithms of what learning is known to scale with."""
    columns = spec.sizes
    if columns is None:
        arithmetic = [s for s in spec.objectives if s.objective.known == "arithmetic" and s.objective.logarithmic]
        columns = tuple(scored.column for scored in arithmetic)
    if not columns:
        return np.zeros((len(kept), 0))
    return np.log(np.stack([_positive(lines, kept, column, "size") for column in columns], axis=1))
