"""Optuna's samplers as pure functions of seed and ledger: the only place where params are drawn.

Each draw rebuilds an in-memory study from the records and seeds a fresh sampler with (study seed, trial number), so that a
resumed study draws what an uninterrupted one would have drawn. The ledger's own storage is not touched. The sampler gp is
asked in a process of its own, by gaussian.py.

A sampler is shown one rung only, the highest that enough trials have reached (as BOHB does, Falkner et al. 2018): values of
different budgets never stand side by side.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from autonas.errors import RecipeError
from autonas.objective import Objective
from autonas.policy import gaussian
from autonas.policy.problem import Problem
from autonas.policy.settings import OPTUNA_SAMPLERS
from autonas.space.domains import Choice, Domain, Float, Int
from autonas.trial import StudyRecord, TrialRecord

# Optuna's samplers draw their first trials at random; as many results are wanted from a rung before they may learn from it.
NUM_STARTUP_TRIALS = 10
# An ask of gp takes seconds: when so many in a row name what is known already, draws at random go on.
_MOST_GP_ASKS = 3
GP_FAILED = "gp_failed"  # a note of a trial whose params are random, since gp could not answer: why


def distributions(domains: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """The searched dimensions as Optuna knows them."""
    return {name: _distribution(domain) for name, domain in domains.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Int):
        return IntDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    if isinstance(domain, Float):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Choice), f"a searched dimension varies: {domain}"
    return CategoricalDistribution(domain.options)


def derived_seed(*parts: object) -> int:
    """32 bits that depend on every part and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def learning_rung(study: StudyRecord, num_rungs: int) -> int:
    """The highest rung with enough results for a sampler to learn from; 0 when none has."""
    shown = [trial for trial in study.trials if trial.repeat_of is None]
    reached = [sum(len(trial.rungs) > rung for trial in shown) for rung in range(num_rungs)]
    return max((rung for rung in range(num_rungs) if reached[rung] >= NUM_STARTUP_TRIALS), default=0)


def draw(
    name: str, problem: Problem, study: StudyRecord, *, num_rungs: int, seed: int, attempt: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Params for the study's next trial, and the sampler's own notes on it, to be kept with the trial.

    Where gp cannot answer, the params are random ones, and GP_FAILED among the notes says why: the question depends on the
    ledger alone, and would be asked in vain for ever. `attempt` counts draws for the same trial: each gives other params when
    the ones before were known already.

    Raises:
        RecipeError: there is no sampler of this name.
    """
    number = len(study.trials)
    rung = learning_rung(study, num_rungs)
    shown = [objective for objective in problem.objectives if objective.known != "final" or rung == num_rungs - 1]
    kinds = distributions(problem.domains)
    generations = _Generations(study, shown, rung)
    frozen = [_frozen(record, kinds, shown, rung, generations) for record in study.trials if record.repeat_of is None]
    failed: dict[str, Any] = {}
    if name == "gp":
        points = tuple(point for point in map(_point, frozen) if point is not None)
        if sum(point.state == "scored" for point in points) >= NUM_STARTUP_TRIALS and attempt < _MOST_GP_ASKS:
            try:
                return gaussian.draw(kinds, len(shown), points, derived_seed(seed, number, attempt)), {}
            except ArithmeticError as error:
                failed = {GP_FAILED: str(error)}
        name = "random"
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = _sampler(name, derived_seed(seed, number, attempt))
            memory = optuna.create_study(directions=["minimize"] * len(shown), sampler=sampler)
            memory.add_trials(frozen)
            trial = memory.ask(fixed_distributions=kinds)
            notes = generations.of_the_study(memory.get_trials(deepcopy=False)[-1].system_attrs)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return dict(trial.params), {**notes, **failed}


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "tpe":
        return optuna.samplers.TPESampler(
            n_startup_trials=NUM_STARTUP_TRIALS, multivariate=True, group=False, constant_liar=True, seed=seed
        )
    if name == "nsgaii":
        return optuna.samplers.NSGAIISampler(population_size=16, seed=seed)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    raise RecipeError(f"there is no sampler {name!r}; choose one of {', '.join(OPTUNA_SAMPLERS)}")


class _Generations:
    """Generations as nsgaii counts them in a study, joined where less than two trials of one are left at the rung shown.

    Parents are those trials shown that belong to the generation before: where halving has left none the sampler draws at
    random, and of a single one it fails.
    """

    _KEY = "NSGAIISampler:generation"

    def __init__(self, study: StudyRecord, shown: Sequence[Objective], rung: int) -> None:
        left = (t for t in study.trials if t.repeat_of is None and t.state not in ("infeasible", "failed"))
        scored = (t for t in left if len(t.rungs) > rung and all(t.score(o.name, rung) is not None for o in shown))
        numbers = sorted(int(t.sampler_state[self._KEY]) for t in scored if self._KEY in t.sampler_state)
        self._left: list[int] = []  # the last generation of each that the sampler is shown
        count = 0
        for number, following in itertools.zip_longest(numbers, numbers[1:]):
            count += 1
            if following is None or (count >= 2 and following > number):
                self._left.append(number)
                count = 0

    def shown(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Notes of the study's in the count that the sampler is shown."""
        generation = notes.get(self._KEY)
        return dict(notes) if generation is None else {**notes, self._KEY: bisect.bisect_left(self._left, generation)}

    def of_the_study(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """The sampler's notes in the study's count."""
        place = notes.get(self._KEY)
        if place is None or not self._left:
            return dict(notes)
        return {**notes, self._KEY: self._left[place] if place < len(self._left) else self._left[-1] + 1}


def _frozen(
    record: TrialRecord, kinds: Mapping[str, BaseDistribution], shown: Sequence[Objective], rung: int, generations: _Generations
) -> FrozenTrial:
    """A record as the in-memory study holds it: its values at `rung`, or what became of it before."""
    params = {name: value for name, value in record.params.items() if name in kinds}
    system_attrs = {k: v for k, v in generations.shown(record.sampler_state).items() if not k.startswith("constraints")}
    values = [record.score(objective.name, rung) for objective in shown]
    state, numbers = TrialState.PRUNED, None
    if record.state == "infeasible":
        system_attrs["constraints:legal"] = 1.0
    elif record.state == "failed":
        state = TrialState.FAIL
    elif len(record.rungs) > rung and all(value is not None for value in values):
        state = TrialState.COMPLETE
        numbers = [_scaled(o, value.value) for o, value in zip(shown, values, strict=True) if value is not None]
    elif record.state == "live":
        state = TrialState.RUNNING
    return optuna.trial.create_trial(
        state=state,
        values=numbers,
        params=params,
        distributions={name: kinds[name] for name in params},
        system_attrs=system_attrs,
    )


def _point(trial: FrozenTrial) -> gaussian.Point | None:
    """A trial as the sampler gp is told of it; None of one that failed or was stopped before it had the scores shown."""
    if trial.state == TrialState.COMPLETE:
        return gaussian.Point(state="scored", params=trial.params, values=tuple(trial.values))
    if trial.state == TrialState.RUNNING:
        return gaussian.Point(state="pending", params=trial.params)
    if "constraints:legal" in trial.system_attrs:
        return gaussian.Point(state="infeasible", params=trial.params)
    return None


def _scaled(objective: Objective, value: float) -> float:
    return math.log(max(value, 1e-12)) if objective.logarithmic else value
