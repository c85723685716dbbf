"""Who takes part in `autonas bench search`: the search policy of autonas with one setting or another, and other searchers.

A name with `+` is an ablation: the policy of autonas with a sampler and a scheduler (`tpe+rungs`, `autonas+full`), or a sampler
of Optuna whose proposals are screened as those of autonas are (`tpe+screening`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autonas import machine, pareto
from autonas.bench.replays.loops import Peer, drive
from autonas.bench.replays.replay import replay
from autonas.bench.replays.simulation import Limit, Trace
from autonas.bench.tables import ROW, Table, TableProblem
from autonas.errors import AutonasError, RequestError
from autonas.policy.problem import Params
from autonas.policy.settings import SAMPLERS, SearchSettings
from autonas.space.node import closest

OURS = "autonas"
PEERS = ("tpe", "nsgaii", "nsgaii-16", "gp", "random", "size", "moasha", "ray")
# Random rows cost no time to ask for: they go on until this share is found, so that their budgets are not cut off.
ENOUGH = 0.99
_SCREENING, _SCREENED = "screening", ("tpe", "nsgaii", "nsgaii-16")
_UNHURRIED = ("random", "size")
_NO_END = 10**18  # of the tokens that a study may train: a replay ends at the budget of the bench


class NotMeasured(AutonasError):
    """A contestant cannot take part on this machine, or on this table; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    name: str
    flags: str  # its settings, in words
    policy: bool  # whether it is the policy of autonas, whose traces are never kept
    versions: dict[str, str | None]


class Arena:
    """A table, and the problems that contestants are shown of it."""

    def __init__(self, table: Table, *, hide_cheap: bool = False, workers: int = 1) -> None:
        self.table, self.workers = table, workers
        self._shown = table.with_cheap_hidden() if hide_cheap else table

    @functools.cached_property
    def policys(self) -> TableProblem:
        return TableProblem(self._shown)

    @functools.cached_property
    def peers(self) -> TableProblem:
        return TableProblem(self.table.with_lists_folded())

    def run(self, name: str, seed: int, limit: Limit) -> Trace:
        """One replay.

        Raises:
            NotMeasured: the contestant cannot take part.
        """
        sampler, _, scheduler = name.partition("+")
        if scheduler == _SCREENING:
            from autonas.bench.replays.optuna_peers import OptunaPeer
            from autonas.bench.replays.screened import Proposed, ScreenedReplay

            proposed = Proposed(self.policys, OptunaPeer(self.peers.table, sampler, seed), self.peers)
            return ScreenedReplay(proposed, policy_settings(f"{OURS}+full", self.table, seed), self.workers).run(limit)
        if name not in PEERS:
            return replay(self.policys, policy_settings(name, self.table, seed), workers=self.workers, limit=limit)
        if name in _UNHURRIED:
            limit = Limit(trainings=limit.trainings, enough=ENOUGH)
        peer = make_peer(name, self.peers.table, seed)
        with _one_thread() if name == "gp" else contextlib.nullcontext():
            return drive(self.peers, peer, seed=seed, workers=self.workers, limit=limit)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch's small matrices: two take several times as long, waiting for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def contestant(name: str) -> Contestant:
    """The contestant of this name.

    Raises:
        RequestError: there is none.
        NotMeasured: what it needs is not installed.
    """
    if name in PEERS:
        package, flags = _PACKAGES.get(name), _flags(name)
        if package is not None and importlib.util.find_spec(package[1]) is None:
            raise NotMeasured(f"{package[0]} is not installed; pip install 'autonas[search-peers]'")
        versions = {} if package is None else {package[0]: machine.package_version(package[0])}
        return Contestant(name=name, flags=flags, policy=False, versions=versions)
    sampler, _, scheduler = name.partition("+")
    schedulers = typing.get_args(typing.get_type_hints(SearchSettings)["scheduler"])
    if scheduler == _SCREENING and sampler in _SCREENED:
        flags = "its proposals, among which the policy of `autonas search` chooses; trained to their ends"
        return Contestant(name=name, flags=flags, policy=True, versions={"optuna": machine.package_version("optuna")})
    known = [OURS, *PEERS, *(f"{each}+rungs" for each in SAMPLERS), f"tpe+{_SCREENING}", f"nsgaii+{_SCREENING}", f"{OURS}+full"]
    if sampler not in SAMPLERS or (scheduler not in (*schedulers, "rungs") and name != OURS):
        raise RequestError(f"--samplers: {name!r} is no searcher that can be replayed{closest(name, known)}")
    how = f"sampler {sampler}, scheduler {scheduler}" if scheduler else "its defaults"
    return Contestant(name=name, flags=f"the policy of `autonas search`, {how}", policy=True, versions={})


def policy_settings(name: str, table: Table, seed: int) -> SearchSettings:
    """What a study of autonas would be told: one trial for each row, and the table's rungs."""
    sampler, _, scheduler = name.partition("+")
    chosen: dict[str, Any] = {"scheduler": "pareto" if scheduler == "rungs" else scheduler} if scheduler else {}
    rungs = table.rungs[-1:] if scheduler == "full" else table.rungs
    return SearchSettings(
        trials=len(table),
        rungs=rungs,
        tokens=_NO_END,
        repeats=0,
        sampler=typing.cast(Any, sampler),
        seed=seed,
        **chosen,
    )


_PACKAGES = {
    "tpe": ("optuna", "optuna"),
    "nsgaii": ("optuna", "optuna"),
    "nsgaii-16": ("optuna", "optuna"),
    "gp": ("optuna", "optuna"),
    "moasha": ("syne-tune", "syne_tune"),
    "ray": ("ray", "ray"),
}


def _flags(name: str) -> str:
    if name == "random":
        return "rows drawn at random, none twice"
    if name == "size":
        return "rows spread over the sizes, those first that are large for what is known of them"
    if name == "moasha":
        from autonas.bench.replays.other_peers import MOASHA_FLAGS

        return MOASHA_FLAGS
    from autonas.bench.replays.optuna_peers import FLAGS

    if name == "ray":
        from autonas.bench.replays.other_peers import RAY_FLAGS

        return f"{RAY_FLAGS}; lists of numbers searched by their means"
    return f"{FLAGS[name]}; lists of numbers searched by their means"


def make_peer(name: str, table: Table, seed: int) -> Peer:
    """A searcher that is not ours. Raises NotMeasured."""
    if name == "random":
        return _Listed(iter(np.random.default_rng(seed).permutation(len(table)).tolist()))
    if name == "size":
        return _Listed(spread_over_sizes(table, seed))
    if name == "moasha":
        from autonas.bench.replays.other_peers import Moasha

        return Moasha(table, seed)
    if name == "ray":
        from autonas.bench.replays.other_peers import RayOptunaSearch

        return RayOptunaSearch(table, seed)
    from autonas.bench.replays.optuna_peers import OptunaPeer

    return OptunaPeer(table, name, seed)


class _Listed:
    """Rows in an order that nothing changes."""

    watches = False
    patience = 0

    def __init__(self, rows: Iterator[int]) -> None:
        self._rows = rows

    def ask(self) -> tuple[None, Params]:
        return None, {ROW: next(self._rows)}

    def tell(self, token: Any, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        pass

    def goes_on(self, token: Any, step: int, scores: Sequence[float]) -> bool:
        raise AssertionError("every trial is trained to its end")


def spread_over_sizes(table: Table, seed: int) -> Iterator[int]:
    """Rows by the belief that what is larger learns better: first those that nothing beats in size and in what is known
    of the other objectives, each next one farthest from those before; the rest after them. The first one is drawn.

    Raises:
        NotMeasured: the table says no size.
    """
    if not table.sizes.shape[1]:
        raise NotMeasured("the table's spec names no size that is known before training")
    cheap = [column for column, objective in enumerate(table.objectives) if objective.before_training]
    known = pareto.normalised(np.concatenate([-table.sizes[:, :1], np.log(np.abs(table.scores[:, -1, cheap]))], axis=1))
    first = pareto.non_dominated(known)
    rng = np.random.default_rng(seed)
    for rows in (np.flatnonzero(first), np.flatnonzero(~first)):
        if not len(rows):
            continue
        at = int(rng.integers(len(rows)))
        gaps = np.full(len(rows), np.inf)
        for _ in rows:
            yield int(rows[at])
            gaps = np.minimum(gaps, np.linalg.norm(known[rows] - known[rows[at]], axis=1))
            gaps[at] = -1.0
            at = int(np.argmax(gaps))
