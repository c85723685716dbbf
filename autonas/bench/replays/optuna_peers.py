"""Optuna's samplers as they come, in Optuna's own loop on a study in memory: peers of `autonas bench search`.

The space is define-by-run, as Optuna recommends where one parameter says how many others there are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from autonas.bench.replays.loops import MOST_DUPLICATES
from autonas.bench.tables import Table
from autonas.policy.problem import Params
from autonas.policy.sampler import distributions
from autonas.space.domains import Choice, Domain, Float, Int, Value

Notes = Mapping[str, Any]  # that a sampler leaves with a trial: a generation, for one
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "nsgaii-16": lambda seed: optuna.samplers.NSGAIISampler(population_size=16, seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
_TOLD_ROWS, _TOLD_PROPOSALS = "told of the row that was trained", "told of what it had proposed"
FLAGS = {
    "tpe": f"TPESampler(), Optuna's default for several objectives, {_TOLD_ROWS}",
    "nsgaii": f"NSGAIISampler(): a population of 50, {_TOLD_PROPOSALS}",
    "nsgaii-16": f"NSGAIISampler(population_size=16), {_TOLD_PROPOSALS}",
    "gp": f"GPSampler(), {_TOLD_PROPOSALS}",
}
# The row that is nearest to a proposal has other params. Each is told of those with which it finds more (docs/decisions.md).
TOLD_OF_PROPOSALS = ("nsgaii", "nsgaii-16", "gp")
# So many asks in a row may name what has been tried: one of gp takes seconds, and one of tpe a tenth of one.
_PATIENCE = {"gp": 5, "tpe": 15}


class OptunaPeer:
    """A sampler in a study."""

    watches = False

    def __init__(self, table: Table, name: str, seed: int) -> None:
        self._told_of_rows = name not in TOLD_OF_PROPOSALS
        self.patience = _PATIENCE.get(name, MOST_DUPLICATES)
        self._table, self._kinds = table, distributions(table.domains)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(directions=["minimize"] * len(table.objectives), sampler=SAMPLERS[name](seed))
        optuna.logging.set_verbosity(verbosity)

    def ask(self) -> tuple[optuna.Trial, Params]:
        trial = self._study.ask()
        return trial, suggest(trial, self._table)

    def tell(self, token: optuna.Trial, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        if scores is not None and not (drawn or self._told_of_rows):
            self._study.tell(token, list(scores))
            return
        notes = self._give_up(token)
        if scores is not None:
            self.add(row, scores, notes)

    def propose(self) -> tuple[Params, Notes]:
        """What it would try next, which it is not held to; and what it wants to know if that is tried."""
        trial, params = self.ask()
        return params, self._give_up(trial)

    def _give_up(self, token: optuna.Trial) -> Notes:
        notes = dict(self._study.get_trials(deepcopy=False)[token.number].system_attrs)
        self._study.tell(token, state=TrialState.FAIL)
        return notes

    def add(self, row: int, scores: Sequence[float], notes: Notes) -> None:
        """Tell of a row that has been trained."""
        params = {name: value for name, value in self._table.rows[row].items() if name in self._kinds}
        kinds: dict[str, BaseDistribution] = {name: self._kinds[name] for name in params}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE, values=list(scores), params=params, distributions=kinds, system_attrs=dict(notes)
            )
        )

    def goes_on(self, token: optuna.Trial, step: int, scores: Sequence[float]) -> bool:
        raise AssertionError("Optuna cannot prune trials of several objectives")


def suggest(trial: optuna.Trial, table: Table) -> dict[str, Value]:
    """Params of the table's space, drawn by the trial's sampler: of each list the positions that it has."""
    listed = {dimension for dimensions in table.lists.values() for dimension in dimensions}
    params = {name: _suggest(trial, name, domain) for name, domain in table.domains.items() if name not in listed}
    for name, dimensions in table.lists.items():
        length = params.get(table.lengths.get(name, ""))
        for dimension in dimensions if length is None else dimensions[: int(length)]:
            params[dimension] = _suggest(trial, dimension, table.domains[dimension])
    return params


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    if isinstance(domain, Int):
        return trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
    if isinstance(domain, Float):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Choice), domain
    chosen: Value = trial.suggest_categorical(name, domain.options)  # type: ignore[assignment]
    return chosen
