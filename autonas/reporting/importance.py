"""How much each dimension of the search matters for each objective: shares of what a random forest explains, with intervals.

The forest is scikit-learn's, its importances are mean decreases of impurity (Breiman 2001). Each tree is grown on trials drawn
with replacement, so that the quantiles over trees are a bootstrap interval over trials. On additive functions of seven
dimensions, three of them without effect, shares were off by .07 with 20 trials, .04 with 60 and .025 with 200, where Optuna's
PED-ANOVA was off by .11, .08 and .07 (docs/decisions.md). What two dimensions do only together is found in part: greedy splits
see little of it.

Nothing is compared across budgets: what training shows is taken from one rung.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.reporting.finals import rung_tokens
from autonas.reporting.quantities import tokens_text
from autonas.reporting.report import Report
from autonas.space.domains import is_number
from autonas.trial import TrialRecord

Array = NDArray[np.float64]

LEAST_TRIALS = 12
ENOUGH_TRIALS = 30  # where a deeper rung is preferred to one with more trials
_MOST_TRIALS = 1000  # more are sampled: the interval is narrow by then, and a forest's time grows with them
_NUM_TREES, _LEAST_IN_LEAF = 100, 3
_SEED = 20_240_505  # any constant: the same ledger gives the same report


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionShare:
    """A dimension's share of what the forest explains, with its 95 % interval over trials."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What the dimensions mean for one objective; without shares, where `problem` says why they cannot be told."""

    objective: Objective
    rung: int | None  # whose scores were taken; None for what is known before training
    trials: int  # that have a score there
    used: int  # of them
    # The share of the variance that is explained of trials which a tree was not grown on; below 0 it does worse than the mean
    explained: float | None
    shares: tuple[DimensionShare, ...]  # the largest first
    problem: str = ""


def importances(report: Report) -> tuple[Importance, ...]:
    """The importance of every searched dimension for each objective of the study. A second or two for 500 trials."""
    return tuple(importance(report, objective) for objective in report.objectives)


def importance(report: Report, objective: Objective) -> Importance:
    """The importance of every searched dimension for one objective, compared as elsewhere (sizes and times as logarithms)."""
    rung, known = _known(report, objective)
    values = np.array([value for _, value in known], dtype=np.float64)
    params = [trial.params for trial, _ in known]
    names = [name for name in dict.fromkeys(name for each in params for name in each) if _varies(params, name)]
    problem = ""
    if len(known) < LEAST_TRIALS:
        problem = f"{len(known)} trial{'' if len(known) == 1 else 's'} with a score, and it takes {LEAST_TRIALS}"
    elif not names:
        problem = "all trials have the same params"
    elif float(np.ptp(values)) <= 1e-12 * max(float(np.abs(values).max()), 1.0):
        problem = "all trials have the same score"
    if problem:
        return Importance(objective=objective, rung=rung, trials=len(known), used=0, explained=None, shares=(), problem=problem)
    chosen = np.arange(len(known))
    if len(known) > _MOST_TRIALS:
        chosen = np.sort(np.random.default_rng(_SEED).choice(len(known), _MOST_TRIALS, replace=False))
    columns, owners = _columns([params[i] for i in chosen], names)
    explained, parts = _forest(columns, values[chosen])
    by_name = np.stack([parts[:, owners == place].sum(axis=1) for place in range(len(names))], axis=1)  # (trees, names)
    low, high = np.quantile(by_name, (0.025, 0.975), axis=0)
    mean = np.clip(by_name.mean(axis=0), low, high)
    shares = [
        DimensionShare(name=name, value=float(mean[i]), low=float(low[i]), high=float(high[i])) for i, name in enumerate(names)
    ]
    return Importance(
        objective=objective,
        rung=rung,
        trials=len(known),
        used=len(chosen),
        explained=explained,
        shares=tuple(sorted(shares, key=lambda share: (-share.value, share.name))),
    )


def importance_text(found: Importance, report: Report) -> str:
    """What was found, in a sentence or two: from which trials, how much is explained, and which dimensions matter most."""
    title = found.objective.title
    if found.rung is None:
        where = "known before training, infeasible trials included"
    else:
        tokens = rung_tokens(report.study)
        later = ", which only trials that went on have reached" if found.rung > 0 else ""
        where = f"at rung {found.rung} ({tokens_text(tokens[found.rung])} tokens){later}"
    if found.problem:
        return f"{title}, {where}: importance cannot be told: {found.problem}."
    sampled = "" if found.used == found.trials else f", {found.used} of them drawn at random"
    told = f"{title}, {where}, of {found.trials} trials{sampled}"
    if found.explained is None or found.explained <= 0.0:
        return f"{told}: the dimensions explain nothing of trials that a tree was not grown on, so their shares say nothing."
    first = ", ".join(f"{share.name} {_percent(share)}" for share in found.shares[:3])
    return f"{told}: the dimensions explain {100 * found.explained:.0f} % of the variance; of that {first}."


def _percent(share: DimensionShare) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f}–{100 * share.high:.0f})"


def _known(report: Report, objective: Objective) -> tuple[int | None, list[tuple[TrialRecord, float]]]:
    """Trials with their scores as compared, and the rung these are from. Declared repeats are left out: they draw nothing."""
    trials = [trial for trial in report.study.trials if trial.repeat_of is None]
    if objective.before_training:
        return None, _scored([(trial, trial.scores.get(objective.name)) for trial in trials], objective)
    rungs = range(len(report.rung_tokens))
    by_rung = [
        _scored([(t, t.rungs[rung].scores.get(objective.name) if len(t.rungs) > rung else None) for t in trials], objective)
        for rung in rungs
    ]
    deep = [rung for rung in rungs if len(by_rung[rung]) >= ENOUGH_TRIALS]
    rung = deep[-1] if deep else max(rungs, key=lambda rung: (len(by_rung[rung]), rung))
    return rung, by_rung[rung]


def _scored(pairs: Sequence[tuple[TrialRecord, Any]], objective: Objective) -> list[tuple[TrialRecord, float]]:
    return [
        (trial, math.log(max(score.value, 1e-12)) if objective.logarithmic else score.value)
        for trial, score in pairs
        if score is not None
    ]


def _varies(params: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({repr(each.get(name)) for each in params}) > 1


def _columns(params: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[Array, NDArray[np.int64]]:
    """Params as columns (N, C) and whose each is (C,): numbers as they are, NaN where a trial has none; else one per option."""
    columns, owners = [], []
    for place, name in enumerate(names):
        values = [each.get(name) for each in params]
        if all(value is None or is_number(value) for value in values):
            made = [np.array([math.nan if value is None else float(value) for value in values])]
        else:
            texts = [repr(value) for value in values]
            made = [np.array([text == option for text in texts], dtype=np.float64) for option in sorted(set(texts))]
        columns += made
        owners += [place] * len(made)
    return np.stack(columns, axis=1), np.array(owners, dtype=np.int64)


def _forest(columns: Array, values: Array) -> tuple[float, Array]:
    """The share of variance explained out of bag, and each tree's importances (trees, C), which add up to 1 or are all 0."""
    from sklearn.ensemble import RandomForestRegressor  # nothing else of a report waits for it

    forest = RandomForestRegressor(
        n_estimators=_NUM_TREES, min_samples_leaf=_LEAST_IN_LEAF, oob_score=True, random_state=_SEED, n_jobs=1
    ).fit(columns, values)
    return float(forest.oob_score_), np.stack([tree.feature_importances_ for tree in forest.estimators_])
