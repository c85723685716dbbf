"""A finished study of the user's as a table to replay: its trials that were trained to the last rung, and their curves.

Trials that were stopped early are left out, since nobody knows how they would have ended; so the table is richer in good ones
than the space is, and a search on it has less to gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autonas.bench.tables import ROW, Table
from autonas.errors import StudyError
from autonas.objective import OBJECTIVES
from autonas.recipe import Recipe
from autonas.trial import StudyRecord, TrialRecord

_LEAST_ROWS = 8
_SIZES = ("params", "flops")  # scores that every trial has, which learning scales with


def table_of_study(study: StudyRecord) -> Table:
    """The table.

    Raises:
        StudyError: too few trials were trained to the last rung.
    """
    recipe = Recipe.from_resolved(study.recipe)
    rungs, objectives = recipe.search.rungs, tuple(OBJECTIVES[name] for name in recipe.objectives)
    begun = [trial for trial in study.trials if trial.repeat_of is None and trial.rungs]
    whole = [trial for trial in begun if len(trial.rungs) == len(rungs) and trial.state == "complete"]
    if len(whole) < _LEAST_ROWS:
        raise StudyError(
            f"the study {study.name!r} has {len(whole)} trials trained to the last rung, and a replay needs {_LEAST_ROWS}. "
            "A search with `scheduler: curves` in its space file trains all of them"
        )
    domains = recipe.space.searched_domains
    scores = np.full((len(whole), len(rungs), len(objectives)), np.nan)
    for row, trial in enumerate(whole):
        for rung in range(len(rungs)):
            for column, objective in enumerate(objectives):
                score = trial.score(objective.name, rung)
                if score is not None:
                    scores[row, rung, column] = score.value
    seconds = np.cumsum([[outcome.seconds for outcome in trial.rungs] for trial in whole], axis=1)
    sizes = [name for name in _SIZES if all(name in trial.scores for trial in whole)]
    left_out = len(begun) - len(whole)
    return Table(
        name=study.name,
        domains=domains,
        lists={},
        lengths={},
        rows=tuple({**_within(trial.params, domains), ROW: row} for row, trial in enumerate(whole)),
        objectives=objectives,
        steps=rungs,
        rungs=rungs,
        scores=scores,
        spent=seconds / 3600.0,
        done=np.full(len(whole), len(rungs), dtype=np.int64),
        ruin=seconds[:, -1] / 3600.0,
        sizes=np.log(_scores(whole, sizes)),
        effort=_scores(whole, ["flops"])[:, 0] if "flops" in sizes else np.ones(len(whole)),
        has_costs=True,
        cost_unit="h",
        notes=(f"{left_out} trials that were stopped or failed before the last rung are left out",) if left_out else (),
    )


def _within(params: Mapping[str, Any], domains: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name in domains}


def _scores(trials: Sequence[TrialRecord], names: Sequence[str]) -> np.ndarray:
    return np.array([[trial.scores[name].value for name in names] for trial in trials]).reshape(len(trials), len(names))
