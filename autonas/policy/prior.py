"""What earlier trainings suggest to a new study: architectures to begin with, and scores to learn from.

Scores of another study were made with another budget, other seeds, perhaps other data, so they never stand beside those of the
new one. They become one more thing that is known of every architecture: what the earlier study would expect of it. How much
that says here, the surrogate learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autonas import pareto
from autonas.arch import ArchSpec
from autonas.objective import OBJECTIVES
from autonas.space.space import Space
from autonas.trial import StudyRecord

MOST_STARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """`starts` are tried first, in order; `scores` are losses of `params` where they were trained longest, lower is better."""

    sources: tuple[str, ...] = ()
    starts: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.params) == len(self.scores)


def joined(priors: Sequence[Prior]) -> Prior:
    """All of them as one. Scores of several studies are brought to one level: only their order within a study is used."""
    standard: list[float] = []
    for prior in priors:
        scores = np.array(prior.scores)
        spread = scores.std() if len(scores) else 0.0
        standard += [float(score) for score in (scores - scores.mean()) / (spread or 1.0)] if len(scores) else []
    return Prior(
        sources=tuple(source for prior in priors for source in prior.sources),
        starts=tuple(start for prior in priors for start in prior.starts),
        params=tuple(params for prior in priors for params in prior.params),
        scores=tuple(standard),
    )


def prior_of_study(study: StudyRecord, space: Space) -> Prior:
    """The front of an earlier study to begin with, spread out, and its losses at the last rung; `space` holds all of them."""
    finished = [trial for trial in study.trials if trial.state == "complete" and trial.repeat_of is None]
    names = [name for name in study.recipe["objectives"] if OBJECTIVES[name].known != "final"]
    trained = next(name for name in names if OBJECTIVES[name].known == "trained")
    placed = []
    for trial in finished:
        assert trial.spec is not None
        params = params_of(trial.spec, space)
        scores = [trial.score(name, len(trial.rungs) - 1) for name in names]
        if params is not None and all(scores):
            placed.append((params, [score.value for score in scores if score is not None]))
    if not placed:
        return Prior(sources=(study.name,))
    values = np.array([row for _, row in placed])
    order = [int(i) for i in pareto.epsilon_net_order(values) if pareto.non_dominated(values)[int(i)]]
    column = names.index(trained)
    return Prior(
        sources=(study.name,),
        starts=tuple(placed[i][0] for i in order[:MOST_STARTS]),
        params=tuple(params for params, _ in placed),
        scores=tuple(float(row[column]) for _, row in placed),
    )


def params_of(spec: ArchSpec, space: Space) -> dict[str, Any] | None:
    """The space's params that describe `spec` in every searched dimension; None when it does not hold them."""
    values = spec.to_dict()
    params: dict[str, Any] = {}
    for name, domain in space.searched_domains.items():
        value = values.get(name)
        if name == "kv_heads" and value == spec.heads and not domain.contains(value):
            value = "heads"
        if value is None or not domain.contains(value):
            return None
        params[name] = value
    return params if space.legal(params) else None
