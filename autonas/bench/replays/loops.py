"""Other searchers on a table in virtual time: their public ask-and-tell loop, as whoever uses them would write it.

They propose params of a space, and the row nearest to these is what is trained. When it has been tried before, they are told
what is known of it, which costs nothing; after so many of these in a row a new row is drawn at random, so that nobody asks for
ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from autonas.bench.replays.simulation import Limit, Simulation, Trace
from autonas.bench.tables import ROW, Table, TableProblem
from autonas.policy.problem import Params

MOST_DUPLICATES = 50  # in a row, where asking is quick


class Peer(Protocol):
    """A searcher. Scores are those that `comparable` makes of a row's, minimised; a token is what it knows a proposal by."""

    def ask(self) -> tuple[Any, Params]:
        """What to try next. Params may name a row outright."""
        ...

    def tell(self, token: Any, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        """How the row that was tried has ended; None: it failed. `drawn`: it has nothing to do with what was proposed."""
        ...

    def goes_on(self, token: Any, step: int, scores: Sequence[float]) -> bool:
        """Whether a training goes on after this step, of the table's, which is not the last."""
        ...

    @property
    def watches(self) -> bool:
        """Whether it is asked `goes_on` at every step; else every trial is trained to its end."""
        ...

    @property
    def patience(self) -> int:
        """After how many proposals in a row that have been tried before a new row is drawn at random."""
        ...


def comparable(table: Table, row: int, step: int) -> tuple[float, ...]:
    """A row's scores at a step (an index), as logarithms where the table's spec compares them so."""
    return tuple(
        float(np.log(value)) if objective.logarithmic else float(value)
        for objective, value in zip(table.objectives, table.scores[row, step], strict=True)
    )


def drive(problem: TableProblem, peer: Peer, *, seed: int, workers: int, limit: Limit) -> Trace:
    """Search the table with the peer."""
    table, simulation = problem.table, Simulation(problem.table, workers)
    rng = np.random.default_rng(seed)
    proposals = _Proposals(problem, peer, rng)
    last = len(table.steps) - 1
    first = 0 if peer.watches else last
    tokens: dict[int, tuple[Any, bool]] = {}
    while True:
        while simulation.idle and len(proposals.tried) < len(table):
            token, row, drawn = proposals.next()
            trial = simulation.begun
            tokens[trial] = token, drawn
            simulation.begin(row)
            simulation.start(trial, row, first)
        if not simulation.running:
            break
        ended = simulation.wait()
        scores = None if ended.failed else comparable(table, ended.row, ended.step)
        if scores is None or ended.step == last:
            proposals.known[ended.row] = scores
            token, drawn = tokens.pop(ended.trial)
            peer.tell(token, ended.row, scores, drawn=drawn)
        elif peer.goes_on(tokens[ended.trial][0], ended.step, scores):
            simulation.start(ended.trial, ended.row, ended.step + 1, after=ended.step)
        else:
            del tokens[ended.trial]
        if limit.reached(simulation):
            break
    exhausted = not simulation.running and len(proposals.tried) == len(table)
    return simulation.trace(duplicates=proposals.duplicates, proposals=proposals.asked, exhausted=exhausted)


class _Proposals:
    """Rows that were not tried before, from a peer that may name others."""

    def __init__(self, problem: TableProblem, peer: Peer, rng: np.random.Generator) -> None:
        self._problem, self._peer, self._rng = problem, peer, rng
        self.tried: set[int] = set()
        self.known: dict[int, tuple[float, ...] | None] = {}  # how rows have ended
        self.asked = self.duplicates = 0

    def next(self) -> tuple[Any, int, bool]:
        """A token, the row that is tried for it, and whether that was drawn at random in place of what was proposed."""
        for _ in range(self._peer.patience + 1):
            token, params = self._peer.ask()
            self.asked += 1
            row = self._problem.row(params) if ROW in params else self._problem.nearest(params, self.tried)
            if row not in self.tried:
                self.tried.add(row)
                return token, row, False
            self.duplicates += 1
            # Of one that is still being trained nothing is known yet: the proposal comes to nothing.
            self._peer.tell(token, row, self.known.get(row))
        token, _ = self._peer.ask()
        left = [row for row in range(len(self._problem.table)) if row not in self.tried]
        row = left[int(self._rng.integers(len(left)))]
        self.tried.add(row)
        return token, row, True
