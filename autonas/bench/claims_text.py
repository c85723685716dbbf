"""What `bench claims` found, as lines for people: the treatments, and every claim with its verdict and both views."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

_WIDTH = 80


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The whole of it is in the JSON."""
    conditions, environment = found["conditions"], found["environment"]
    versions = f"torch {environment['packages']['torch']}, commit {environment['commit']}"
    yield f"{conditions['device']}, {conditions['threads']} threads; {versions}"
    yield from _wrapped(
        f"{conditions['seeds']} seeds; {conditions['tokens']:,} tokens, {conditions['epochs']:.1f} passes over "
        f"{conditions['unique_tokens']:,}; {conditions['samples']} samples of each kind of prompts; degeneration by "
        f"{conditions['judged_by']}, at temperature {conditions['temperature']:g} and where the entropy is "
        f"{conditions['matched_entropy']:g} nats"
    )
    for number, size in enumerate(conditions["sizes"]):
        yield f"size {number}: {size['layers']} layers of width {size['width']}, {size['params']:,} parameters"
    for name, failure in conditions["failed"].items():
        yield from _wrapped(f"left out with its pairs: {name}, {failure}")
    yield ""
    yield "                                       degeneration, T equal    entropy matched"
    yield "size smoothing dropout  raw  calibrated  few-shot    bare    few-shot    bare  at T"
    for each in conditions["treatments"]:
        shares = [
            each[f"degeneration, {kind}, {view}"]
            for view in ("equal temperature", "matched entropy")
            for kind in ("few-shot", "bare")
        ]
        few, bare, matched_few, matched_bare = (f"{share:.1%}" for share in shares)
        yield (
            f"{each['size']:>4} {_has(each['smoothing'], conditions['smoothing']):>9} "
            f"{_has(each['dropout'], conditions['dropout']):>7} {each['raw_loss']:>5.2f} {each['calibrated_loss']:>11.2f} "
            f"{few:>9} {bare:>7} {matched_few:>11} {matched_bare:>7} {each['matched_temperature']:>5.2f}"
        )
    rows = iter(found["rows"])
    for claim in conditions["claims"]:
        yield ""
        yield from _wrapped(f"{claim['verdict'].upper()}: {claim['statement']} ({claim['reason']})")
        yield from _row(next(rows))
        yield from _row(next(rows))


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    what = row["metric"].split(": ", 1)[1]
    if row["ours"] is None:
        yield from _wrapped(f"{what}: {row['note']}", "    ")
    else:
        yield from _wrapped(f"{what}: {row['ours']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}) {row['unit']}", "    ")


def _has(has: bool, value: float) -> str:
    return f"{value:g}" if has else "0"


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ", break_on_hyphens=False)
