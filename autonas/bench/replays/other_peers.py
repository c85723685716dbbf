"""Syne Tune's MOASHA and Ray Tune's OptunaSearch, their own classes, asked and told without the machinery that would train.

Neither package belongs to what autonas needs: both are imported when they are asked for.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from autonas.bench.replays.loops import MOST_DUPLICATES
from autonas.bench.tables import ROW, Table
from autonas.policy.problem import Params

MOASHA_FLAGS = "MOASHA(), its defaults: one bracket, a factor of 3, from the first step on; candidates are rows drawn at random"
RAY_FLAGS = "ray.tune.search.optuna.OptunaSearch(), its defaults: TPESampler, told of what it has proposed"
_STEP = "step"


class Moasha:
    """Stops trials at rungs by non-dominated sorting. It draws from NumPy's global generator, which is left as it was."""

    watches = True
    patience = MOST_DUPLICATES

    def __init__(self, table: Table, seed: int) -> None:
        from syne_tune.backend.trial_status import Trial
        from syne_tune.config_space import randint
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        self._names = [objective.name for objective in table.objectives]
        self._steps = table.steps
        self._trial, self._drawn = Trial, 0
        self._state = np.random.RandomState(seed).get_state()
        self._scheduler = MOASHA(
            config_space={ROW: randint(0, len(table) - 1)},
            metrics=self._names,
            time_attr=_STEP,
            max_t=table.steps[-1],
            grace_period=table.steps[0],
            random_seed=seed,
        )

    def ask(self) -> tuple[Any, Params]:
        outer = np.random.get_state()
        np.random.set_state(self._state)
        try:
            config = self._scheduler.suggest().config
            trial = self._trial(trial_id=self._drawn, config=config, creation_time=datetime.datetime(2026, 1, 1))
            self._scheduler.on_trial_add(trial)
        finally:
            self._state = np.random.get_state()
            np.random.set_state(outer)
        self._drawn += 1
        return trial, {ROW: int(config[ROW])}

    def tell(self, token: Any, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        """A trial that has failed, or was not begun since its row had been, leaves no result."""
        if token.trial_id in self._scheduler.trial_info:
            if scores is not None:
                self._scheduler.on_trial_result(token, self._result(self._steps[-1], scores))
            self._scheduler.on_trial_remove(token)

    def goes_on(self, token: Any, step: int, scores: Sequence[float]) -> bool:
        decision = self._scheduler.on_trial_result(token, self._result(self._steps[step], scores))
        if decision == "CONTINUE":
            return True
        self._scheduler.on_trial_remove(token)
        return False

    def _result(self, step: int, scores: Sequence[float]) -> dict[str, Any]:
        return {_STEP: step, **dict(zip(self._names, scores, strict=True))}


class RayOptunaSearch:
    """Ray Tune's searcher over Optuna, asked as Ray's loop asks it. It is told of the params that it has proposed."""

    watches = False
    patience = MOST_DUPLICATES

    def __init__(self, table: Table, seed: int) -> None:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        from autonas.bench.replays.optuna_peers import suggest

        self._names = [objective.name for objective in table.objectives]
        self._asked = 0

        def space(trial: optuna.Trial) -> None:
            suggest(trial, table)

        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._searcher = OptunaSearch(
                space=space,
                metric=self._names,
                mode=["min"] * len(self._names),
                seed=seed,
            )
        optuna.logging.set_verbosity(verbosity)

    def ask(self) -> tuple[Any, Params]:
        name = f"trial-{self._asked}"
        self._asked += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that drawing takes long, when it imports what it needs
            params = self._searcher.suggest(name)
        assert params is not None
        return name, params

    def tell(self, token: Any, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        """It knows no params but its own: a row that was drawn in their place has come to nothing."""
        result = None if scores is None or drawn else dict(zip(self._names, scores, strict=True))
        self._searcher.on_trial_complete(token, result=result, error=result is None)

    def goes_on(self, token: Any, step: int, scores: Sequence[float]) -> bool:
        raise AssertionError("OptunaSearch trains every trial to its end")
