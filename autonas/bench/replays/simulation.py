"""Training in virtual time: simulated workers that take from a table what a training costs, and what a search has by when.

A search is credited with a trial when it has been trained to the last step, and pays for everything that its workers did,
trainings under way included.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autonas.bench.tables import Table

Regime = Literal["trainings", "compute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One replay, at each end of a full training: what was spent by then, and the share of the table's hypervolume found.

    The first four are equally long. Compute is in the table's unit of cost, as is virtual time.
    """

    shares: tuple[float, ...]
    begun: tuple[int, ...]  # trainings begun by then, whatever became of them
    spent: tuple[float, ...]  # by all workers
    elapsed: tuple[float, ...]  # virtual time
    tried: tuple[int, ...]  # rows, in the order in which their trainings began
    finished: tuple[int, ...]  # rows, in the order in which they ended at the last step
    failed: int = 0
    duplicates: int = 0  # proposals of what had been proposed before, declared repeats excluded
    proposals: int = 0
    ended_begun: int = 0  # up to where the replay went
    ended_spent: float = 0.0
    exhausted: bool = False  # the search had nothing left to propose: what it has stays as it is

    def axis(self, regime: Regime) -> tuple[float, ...]:
        return self.begun if regime == "trainings" else self.spent

    def ended(self, regime: Regime) -> float:
        return self.ended_begun if regime == "trainings" else self.ended_spent

    def share_at(self, budget: float, regime: Regime) -> float:
        """The share found within the budget; NaN where the replay had ended before."""
        if budget > self.ended(regime) * (1 + 1e-9) and not self.exhausted:
            return float("nan")
        count = int(np.searchsorted(self.axis(regime), budget * (1 + 1e-9), side="right"))
        return self.shares[count - 1] if count else 0.0

    def budget_to(self, share: float, regime: Regime) -> float:
        """What was spent when the share was reached; infinity where it was not."""
        reached = np.flatnonzero(np.asarray(self.shares) >= share - 1e-12)
        return float(self.axis(regime)[int(reached[0])]) if len(reached) else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A training to a step has ended: with scores there, or in failure."""

    trial: int
    row: int
    step: int  # index of the table's steps
    cost: float
    failed: bool


class Simulation:
    """Workers in virtual time. Trials are numbered by whoever starts them; each trains one row, step by step."""

    def __init__(self, table: Table, workers: int) -> None:
        self.table, self.workers = table, workers
        self.running: dict[int, float] = {}  # trial -> virtual time at which its training began
        self.now = 0.0
        self._paid = 0.0  # for trainings that have ended
        self._starts = 0.0  # the sum of `running`'s times
        self._queue: list[tuple[float, int, Ended]] = []
        self._order = 0
        self._front = table.empty_front()
        self._at: list[tuple[float, int, float, float]] = []
        self._tried: list[int] = []
        self._finished: list[int] = []
        self._failed = 0

    @property
    def begun(self) -> int:
        return len(self._tried)

    @property
    def spent(self) -> float:
        return self._paid + len(self.running) * self.now - self._starts

    @property
    def share(self) -> float:
        return self._front.volume / self.table.volume

    @property
    def idle(self) -> bool:
        return len(self.running) < self.workers

    def begin(self, row: int) -> None:
        """Note that a row's training begins."""
        self._tried.append(row)

    def start(self, trial: int, row: int, step: int, *, after: int | None = None) -> None:
        """Train a row to the step with this index, going on `after` another one. Nothing at all may follow a failure."""
        table = self.table
        paid = 0.0 if after is None else float(table.spent[row, after])
        failed = step >= table.done[row]
        cost = (float(table.ruin[row]) if failed else float(table.spent[row, step])) - paid
        ended = Ended(trial=trial, row=row, step=step, cost=cost, failed=failed)
        self.running[trial] = self.now
        self._starts += self.now
        # Ends at the same moment come in the order of their starts.
        heapq.heappush(self._queue, (self.now + cost, self._order, ended))
        self._order += 1

    def wait(self) -> Ended:
        """Let time pass until a training ends."""
        self.now, _, ended = heapq.heappop(self._queue)
        self._starts -= self.running.pop(ended.trial)
        self._paid += ended.cost
        if ended.failed:
            self._failed += 1
        elif ended.step == len(self.table.steps) - 1:
            self._front.add(self.table.points[ended.row])
            self._finished.append(ended.row)
            self._at.append((self.share, self.begun, self.spent, self.now))
        return ended

    def trace(self, *, duplicates: int, proposals: int, exhausted: bool) -> Trace:
        """What has been, from the beginning to now."""
        shares, begun, spent, elapsed = zip(*self._at, strict=True) if self._at else ((), (), (), ())
        return Trace(
            shares=tuple(shares),
            begun=tuple(begun),
            spent=tuple(spent),
            elapsed=tuple(elapsed),
            tried=tuple(self._tried),
            finished=tuple(self._finished),
            failed=self._failed,
            duplicates=duplicates,
            proposals=proposals,
            ended_begun=self.begun,
            ended_spent=self.spent,
            exhausted=exhausted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far a replay goes: until so many trainings have begun and as much was spent as they cost on average.

    With `enough` it goes on from there until that share of the hypervolume is found, or nothing is left to try.
    """

    trainings: int
    enough: float | None = None

    def reached(self, simulation: Simulation) -> bool:
        worth = simulation.spent / simulation.table.full_cost
        if simulation.begun < self.trainings or worth < self.trainings * (1 - 1e-9):
            return False
        return self.enough is None or simulation.share >= self.enough
