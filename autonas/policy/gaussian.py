"""Optuna's Gaussian-process sampler: what it is told of a study, what it answers, and the process in which it does.

It imports torch into whatever process asks it, and asks for seconds and memory; so sampler.py asks a child, and `draw` is all
that it uses. `answer` is a pure function: a new sampler for each question, seeded by it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from autonas.policy.respondent import Respondent, answer_lines
from autonas.trial import from_json, to_json

# Optuna's own are 2048 and 128. With four objectives and 300 trials a quarter and a half make an ask 5 times quicker, and the
# fronts of 40 trials that were compared have the same volume.
_NUM_PRELIMINARY, _NUM_QUASI_RANDOM = 512, 64
# Points whose improvement is computed at once. Optuna takes all: 4 GB and more where a front of four objectives has 32 trials.
_AT_ONCE = 32
# Torch's threads wait for each other: two take 7 times as long as one. Read when torch and OpenBLAS are imported.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_LEGAL, _ILLEGAL = -1.0, 1.0
_MOST_WORDS = 200  # characters of what is told of a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Params and what is known of them: scores, that their scores are on the way, or that they break a rule or a limit."""

    state: Literal["scored", "pending", "infeasible"]
    params: Mapping[str, Any]
    values: tuple[float, ...] = ()  # minimised; of a scored point


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which params next? `dimensions` are Optuna's distributions, as Optuna writes them in JSON."""

    dimensions: Mapping[str, str]
    num_objectives: int
    points: tuple[Point, ...]
    seed: int


def draw(kinds: Mapping[str, BaseDistribution], num_objectives: int, points: tuple[Point, ...], seed: int) -> dict[str, Any]:
    """The params that the sampler proposes after these points: the same for the same arguments, in any process.

    Raises:
        ArithmeticError: the sampler cannot answer this question, as where its matrices are not positive definite.
        ResourceError: the process that is asked died, and the one after it too.
    """
    dimensions = {name: distribution_to_json(kind) for name, kind in kinds.items()}
    question = Question(dimensions=dimensions, num_objectives=num_objectives, points=points, seed=seed)
    answered: dict[str, Any] = respondent().ask(to_json(question))
    if "failed" in answered:
        raise ArithmeticError(answered["failed"])
    params: dict[str, Any] = answered["params"]
    return params


@functools.cache
def respondent() -> Respondent:
    """The one process that this process asks."""
    return Respondent(__name__, "asks the sampler gp", _ONE_THREAD)


def serve() -> NoReturn:
    """What the child does."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    answer_lines(lambda values: answer(from_json(Question, values)))


def answer(question: Question) -> dict[str, Any]:
    """Params by expected improvement of the front's volume, weighed with the chance to be feasible; or "failed". Imports torch.

    Pending points are taken into account with scores drawn from the model. Without infeasible points there is no constraint.
    """
    kinds = {name: json_to_distribution(text) for name, text in question.dimensions.items()}
    frozen = [(point.state, _frozen(point, kinds, question)) for point in question.points]
    sampler = _Sampler(question.seed, [trial for state, trial in frozen if state == "infeasible"])
    study = optuna.create_study(directions=["minimize"] * question.num_objectives, sampler=sampler)
    study.add_trials([trial for state, trial in frozen if state != "infeasible"])
    try:
        return {"params": dict(study.ask(fixed_distributions=kinds).params)}
    except (ArithmeticError, AssertionError, RuntimeError, ValueError) as error:
        # Of what numbers do to the sampler: LinAlgError of torch is a RuntimeError, that of NumPy a ValueError. Bugs of ours,
        # and of an Optuna that has changed, are mostly others, and are raised.
        return {"failed": f"{type(error).__name__.lstrip('_')}: {error}".splitlines()[0][:_MOST_WORDS]}


def _frozen(point: Point, kinds: Mapping[str, BaseDistribution], question: Question) -> FrozenTrial:
    constrained = any(point.state == "infeasible" for point in question.points)
    scored = point.state == "scored"
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if scored else TrialState.RUNNING if point.state == "pending" else TrialState.PRUNED,
        values=list(point.values) if scored else None,
        params=dict(point.params),
        distributions={name: kinds[name] for name in point.params},
        system_attrs={"constraints:legal": _LEGAL} if constrained and scored else {},
    )


class _Sampler(optuna.samplers.GPSampler):
    """Optuna's sampler in bounded memory, which learns feasibility from params that have no scores as well.

    It overrides what Optuna does not promise to keep; the tests say when a version has changed it.
    """

    def __init__(self, seed: int, infeasible: list[FrozenTrial]) -> None:
        super().__init__(seed=seed)
        assert hasattr(self, "_n_preliminary_samples")
        assert hasattr(self, "_n_qmc_samples_ehvi")
        self._n_preliminary_samples, self._n_qmc_samples_ehvi = _NUM_PRELIMINARY, _NUM_QUASI_RANDOM
        self._infeasible = infeasible

    def _get_constraints_acqf_args(self, constraint_vals: Any, internal_search_space: Any, normalized_params: Any) -> Any:
        """Optuna fits the constraint on complete trials only, which are all feasible here: an infeasible one never trained."""
        refused = internal_search_space.get_normalized_params(self._infeasible)
        return super()._get_constraints_acqf_args(
            np.concatenate([constraint_vals, np.full((len(refused), 1), _ILLEGAL)]),
            internal_search_space,
            np.concatenate([normalized_params, refused]),
        )

    def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
        whole = acqf.eval_acqf_no_grad

        def in_parts(x: Any) -> Any:  # (points, dimensions), or one point
            if x.ndim == 1 or len(x) <= _AT_ONCE:
                return whole(x)
            return np.concatenate([whole(x[start : start + _AT_ONCE]) for start in range(0, len(x), _AT_ONCE)])

        acqf.eval_acqf_no_grad = in_parts
        return super()._optimize_acqf(acqf, best_params)
