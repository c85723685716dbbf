"""What `autonas bench search` prints for people: shares and budgets as tables, then comparisons. The JSON has all of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autonas.bench.replays.contest import ORACLE

_WIDTH, _COLUMN = 80, 9
_COMPUTE = "the compute of"
Found = Mapping[str, Any]


def lines(found: Found) -> Iterator[str]:
    """The findings, as `run_bench` returns them, in lines."""
    conditions, rows = found["conditions"], found["rows"]
    yield from _about(conditions["table"])
    names = tuple(conditions["flags"])
    own = [row for row in rows if row["metric"].startswith(tuple(f"{name}: " for name in names))]
    shares = [row for row in own if ": share at " in row["metric"]]
    by_compute = [row for row in shares if _COMPUTE in row["metric"]]
    yield from _grid("median share of the hypervolume, by trainings", [row for row in shares if row not in by_compute])
    yield from _grid("median share of the hypervolume, by the compute of full trainings", by_compute)
    for regime in ("trainings", "compute"):
        yield from _grid(f"median {regime} to a share of the hypervolume", [r for r in own if f": {regime} to " in r["metric"]])
    yield ""
    for row in rows:
        if row not in own and (row["goal"] is not None or " 95% " in row["metric"] or not row["unit"]):
            yield from _wrapped(_compared(row))
    yield from (
        line for row in own if row["goal"] is not None or "duplicates" in row["metric"] for line in _wrapped(_alone(row))
    )
    yield ""
    for name in names:
        count, seconds = conditions["seeds"][name], conditions["seconds_per_replay"][name]
        yield from _wrapped(f"{name}: {conditions['flags'][name]}; {count} seeds, {seconds:.1f} s a replay")


def _about(table: Found) -> Iterator[str]:
    yield from _wrapped(
        f"{table['name']}: {table['rows']:,} rows, {table['front']} on the front of {', '.join(table['objectives'])}"
    )
    if table["cost_unit"] != "trainings":
        yield f"  a full training costs {table['full_training']:.4g} {table['cost_unit']} on average"
    if len(table["rungs"]) > 1:
        yield f"  rungs at {', '.join(map(str, table['rungs']))} of {table['steps']} steps"
    for note in table["notes"]:
        yield from _wrapped(f"  {note}")


def _grid(title: str, rows: Sequence[Found]) -> Iterator[str]:
    """A table: a line for each searcher and one for the clairvoyant, a column for each budget or share."""
    if not rows:
        return
    cells = {tuple(row["metric"].split(": ", 1)): row for row in rows}
    columns = list(dict.fromkeys(what for _, what in cells))
    names = list(dict.fromkeys(name for name, _ in cells))
    width = max(map(len, [*names, ORACLE])) + 2
    yield ""
    yield title
    yield " " * width + "".join(f"{_number_in(what):>{_COLUMN}}" for what in columns)
    for name in names:
        yield f"{name:<{width}}" + "".join(f"{_cell(cells.get((name, what)), 'ours'):>{_COLUMN}}" for what in columns)
    beside = [
        next((row for (_, other), row in cells.items() if other == what and row["peer"] is not None), None) for what in columns
    ]
    yield f"{ORACLE:<{width}}" + "".join(f"{_cell(row, 'peer'):>{_COLUMN}}" for row in beside)


def _number_in(what: str) -> str:
    return next(word for word in what.split() if word[0].isdigit())


def _cell(row: Found | None, key: str) -> str:
    if row is None or row[key] is None:
        return "-"
    return f"{row[key]:.3f}" if row["unit"].startswith("share") else f"{row[key]:.4g}"


def _compared(row: Found) -> str:
    against = f" / {row['peer_name']}" if row["peer_name"] else ""
    if row["ours"] is None or row["ratio"] is None:
        return _alone(row, against)
    figures = f"{row['ours']:.4g} against {row['peer']:.4g} {row['unit']}"
    return f"{row['metric']}{against}: {row['ratio']:.3g}x{_interval(row)}{_goal(row)}; {figures}; {row['note']}"


def _alone(row: Found, against: str = "") -> str:
    if row["ours"] is None:
        return f"{row['metric']}{against}: {row['note']}{_goal(row)}"
    return f"{row['metric']}{against}: {row['ours']:.4g} {row['unit']}{_interval(row)}{_goal(row)}; {row['note']}"


def _interval(row: Found) -> str:
    return "" if row["low"] is None or row["high"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"


def _goal(row: Found) -> str:
    return "" if row["goal"] is None else f"; goal {row['goal']:g}: {'met' if row['met'] else 'not met'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
