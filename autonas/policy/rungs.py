"""Which trials go on to the next rung: the scheduler seam and its two implementations, pure functions of results.

A scheduler sees the results of one rung, all at the same budget. It never sees a clock, an engine or another rung's values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from autonas import pareto


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A trial's objectives at a rung, minimised and comparable (sizes and times as logarithms)."""

    trial: int
    values: tuple[float, ...]


class RungScheduler(Protocol):
    """Decides who is worth more training."""

    def advancing(self, standings: Sequence[Standing], *, more_to_come: bool) -> tuple[int, ...]:
        """The trials among `standings` (one rung's) that go on, best first; the others wait while `more_to_come`, else stop.

        Once told, a trial is never taken back: callers keep those that have gone on already.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoHalving:
    """Successive halving by Pareto rank (MO-ASHA, arXiv 2106.12639): keeps a spread-out set, not the best few of one objective.

    Nobody advances before the rung holds enough trials to keep `min_survivors` by the reduction factor alone. So a study
    with few trials decides once and with everything in view, a long one as it goes.
    """

    reduction_factor: float
    min_survivors: int

    def advancing(self, standings: Sequence[Standing], *, more_to_come: bool) -> tuple[int, ...]:
        share = math.floor(len(standings) / self.reduction_factor)
        if more_to_come and share < self.min_survivors:
            return ()
        count = share if more_to_come else num_survivors(len(standings), self.reduction_factor, self.min_survivors)
        order = pareto.epsilon_net_order([standing.values for standing in standings]) if standings else ()
        return tuple(standings[int(i)].trial for i in order[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class FullFidelity:
    """Every trial goes on. A search without early stopping has one rung, the last; one that records learning curves has all."""

    def advancing(self, standings: Sequence[Standing], *, more_to_come: bool) -> tuple[int, ...]:
        del more_to_come
        return tuple(standing.trial for standing in standings)


def num_survivors(count: int, reduction_factor: float, min_survivors: int) -> int:
    """How many of a rung's `count` trials go on once no more come."""
    return min(count, max(math.ceil(count / reduction_factor), min_survivors))


def make_scheduler(name: str, *, reduction_factor: float, min_survivors: int) -> RungScheduler:
    """The scheduler that a recipe names."""
    if name in ("full", "curves"):
        return FullFidelity()
    assert name == "pareto", name
    return ParetoHalving(reduction_factor=reduction_factor, min_survivors=min_survivors)
