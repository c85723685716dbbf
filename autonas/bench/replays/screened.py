"""A peer whose proposals are screened as those of autonas are: an ablation of `autonas bench search`.

What would be drawn at random, and beside the best trials, the peer proposes instead. Which of it is trained the search policy
chooses, by what is known of candidates before training and by what it expects of them; every trial is trained to its end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autonas.bench.replays.contestants import NotMeasured
from autonas.bench.replays.loops import comparable
from autonas.bench.replays.optuna_peers import Notes, OptunaPeer
from autonas.bench.replays.replay import Replay
from autonas.bench.replays.simulation import Ended
from autonas.bench.tables import TableProblem
from autonas.policy.problem import Params
from autonas.policy.settings import SearchSettings

PROPOSED = 16  # candidates of each draw; those of the last three draws are screened together


class Proposed(TableProblem):
    """A table whose candidates are the rows nearest to what a peer proposes; at random before the peer has learnt anything."""

    def __init__(self, problem: TableProblem, peer: OptunaPeer, peers: TableProblem) -> None:
        super().__init__(problem.table)
        self._peer, self._peers = peer, peers
        self._learnt = False
        self._notes: dict[int, Notes] = {}  # that the peer left with a row when it was proposed last

    def learn(self, row: int, scores: Sequence[float]) -> None:
        """Tell the peer how a row has ended, whoever had proposed it."""
        self._learnt = True
        self._peer.add(row, scores, self._notes.get(row, {}))

    def draw(self, rng: np.random.Generator, count: int) -> list[Params]:
        if not self._learnt:
            return super().draw(rng, count)
        rows = dict.fromkeys(self._proposal() for _ in range(min(count, PROPOSED)))
        return [self.table.rows[row] for row in rows]

    def _proposal(self) -> int:
        try:
            params, notes = self._peer.propose()
        except Exception as error:  # the peer breaks on this table, not the policy
            raise NotMeasured(f"it failed with {type(error).__name__}: {error}") from error
        row = self._peers.nearest(params)
        self._notes[row] = notes
        return row

    def near(self, params: Params, rng: np.random.Generator, count: int) -> list[Params]:
        return []


class ScreenedReplay(Replay):
    """A study with such candidates."""

    def __init__(self, problem: Proposed, settings: SearchSettings, workers: int) -> None:
        super().__init__(problem, settings, workers)
        self._proposed = problem

    def take_in(self, ended: Ended) -> None:
        super().take_in(ended)
        if not ended.failed:
            self._proposed.learn(ended.row, comparable(self.table, ended.row, ended.step))
