"""Findings that are one event in many trainings: alike but for their figures, and at the same token count.

Trials of a study are shown the same text in the same order, so one odd batch shows in all of their curves. A sentence with the
range of each figure tells that better than as many alarms. What has no moment ("at 942,080 tokens") is no event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autonas.trial import TrialRecord

_NUMBER: Final = re.compile(r"(?<![\w.,])[-−+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
_MOMENT: Final = re.compile(r"\bat [\d,]+ tokens\b")
_TOKENS: Final = re.compile(r"[\d,]+(?: (?:and|to) [\d,]+)? tokens\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was found in one training."""

    number: int  # of its trial, which a repeat is told of
    run: TrialRecord
    text: str


def events(told: Sequence[Told]) -> list[list[Told]]:
    """Those of one event together, the events of most trainings first; each other finding, with its equals, by itself."""
    groups: dict[tuple[str, ...], list[Told]] = {}
    for each in told:
        groups.setdefault(_kind(each.text), []).append(each)
    return sorted(groups.values(), key=len, reverse=True)


def event_text(event: Sequence[Told]) -> str:
    """What was found in several trainings as one text, with the range of every figure that differs."""
    pieces = _NUMBER.split(event[0].text)
    columns = zip(*(_NUMBER.findall(each.text) for each in event), strict=True)
    figures = [*map(_range, columns), ""]
    text = "".join(piece + figure for piece, figure in zip(pieces, figures, strict=True))
    shown = " The same text was shown to all of them then." if _MOMENT.search(text) and same_text(event) else ""
    return f"In {len(event)} trainings: {text}.{shown}"


def same_text(event: Sequence[Told]) -> bool:
    """Whether all were shown the same text at equal tokens: a repeat has an order of its own, and so has a window's length."""
    specs = [each.run.spec for each in event]
    shapes = {(spec.context_length, spec.batch_tokens) for spec in specs if spec is not None}
    return len(shapes) == 1 and None not in specs and all(each.run.repeat_of is None for each in event)


def _kind(text: str) -> tuple[str, ...]:
    if not _MOMENT.search(text):
        return (text,)
    return (*_NUMBER.split(text), *_TOKENS.findall(text))


def _range(figures: Sequence[str]) -> str:
    """`10 to 13.6`, as they were written; one where all are the same."""
    low, high = min(figures, key=_value), max(figures, key=_value)
    return low if _value(low) == _value(high) else f"{low} to {high}"


def _value(figure: str) -> float:
    return float(figure.replace(",", "").replace("−", "-"))
