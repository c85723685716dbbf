"""What a study will cost: its space, data, memory and disk, and the time of each rung on this machine. Measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.estimate import CorpusSize
from autonas.plan.notes import plan_notes, timing_notes
from autonas.plan.remaining import num_going_on
from autonas.plan.replicas import replicas_plan
from autonas.plan.run import checkpoint_bytes, run_disk_bytes, run_plan
from autonas.policy import calibration, forecast
from autonas.policy.policy import Policy
from autonas.recipe import Recipe

LATENCY_S = 3.0  # one measurement by the protocol of evaluation/latency.py, when the machine is quiet
_COOLED_BYTES = 4  # of each parameter: the weights of the cooled copy, beside the trunk's checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """An architecture that was tried on this machine. `timed_tokens` below `step_tokens`: smaller steps were timed."""

    spec: ArchSpec
    seconds_per_token: float
    step_tokens: int
    timed_tokens: int
    timed_steps: int
    latency_ms: float | None = None  # a token of the answer, at a glance


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where the study would run: so many workers at once, each as fast as the architectures tried, in rising order of work."""

    engine: str
    workers: int
    threads: int
    device: str
    timed: tuple[Timed, ...]
    others_share: float = 0.0  # of the cores, used by other programs meanwhile


def probes(recipe: Recipe) -> tuple[ArchSpec, ...]:
    """The smallest, the median and the largest of the space's legal draws by parameters, in rising order of work.

    Raises:
        InfeasibleArch: nothing in the space is legal.
    """
    specs = calibration.legal_draws(recipe.space, recipe.search.seed)
    chosen = {spec.fingerprint: spec for spec in (specs[0], specs[len(specs) // 2], specs[-1])}
    return tuple(sorted(chosen.values(), key=cost.training_flops_per_token))


def plan_study(recipe: Recipe, corpus: CorpusSize, workplace: Workplace) -> dict[str, Any]:
    """A study's plan as JSON values.

    Raises:
        InfeasibleArch: nothing in the space is legal.
        CorpusError, RecipeError: as `data_notes`.
    """
    search = recipe.search
    specs = calibration.legal_draws(recipe.space, search.seed)
    speed = forecast.interpolate([(timed.spec, timed.seconds_per_token) for timed in workplace.timed])
    rungs = _rungs(recipe, specs, speed, corpus, workplace.workers)
    calibrating = _calibration_seconds(recipe, speed, workplace.workers)
    # Each is measured while nothing else runs on its device, however many workers there are; a table is looked up.
    latency = search.trials * LATENCY_S if recipe.needs_latency and recipe.latency.table is None else 0.0
    seconds = calibrating + latency + sum(rung["seconds"] for rung in rungs)
    limit = None if search.max_hours is None else search.max_hours * 3600
    promotion = _promotion(recipe, specs, corpus, speed, workplace.workers)
    return {
        "study": recipe.name,
        "objectives": list(recipe.objectives),
        **_about_space(recipe, specs),
        "engine": {name: getattr(workplace, name) for name in ("engine", "workers", "threads", "device")},
        "others_share": workplace.others_share,
        "timed": [_about_timed(timed) for timed in workplace.timed],
        "corpus": {
            "fingerprint": None if corpus.dataset is None else corpus.dataset.fingerprint,
            "estimated_from_documents": corpus.sampled_documents,
            "train_tokens": corpus.train_tokens,
            "validation_tokens": corpus.validation_tokens,
        },
        "trials": search.trials,
        "rungs": rungs,
        "calibration_seconds": calibrating,
        "latency_seconds": latency,
        "seconds": seconds if limit is None else min(seconds, limit),
        "seconds_unbounded": seconds,
        "max_seconds": limit,
        "promotion": promotion,
        "replicas": replicas_plan(recipe, specs[len(specs) // 2], corpus, workplace.timed, rungs),
        "disk_bytes": _disk(recipe, specs, corpus),
        "warnings": [
            *timing_notes(len(workplace.timed), len(probes(recipe))),
            *plan_notes(recipe, corpus, rungs, seconds, promotion, workplace.others_share),
        ],
    }


def _about_space(recipe: Recipe, specs: Sequence[ArchSpec]) -> dict[str, Any]:
    space = recipe.space
    params = sorted(cost.count_params(spec) for spec in specs)
    memory = sorted(cost.inference_bytes(spec) for spec in specs)
    extremes = space.extremes()
    return {
        "space": {
            "size": space.size(),
            "legal_share": space.legal_share(),
            "searched": list(space.searched),
            "held": {name: space.held[name] for name in space.horizon_bound if name in space.held},
        },
        "params": {"min": params[0], "median": params[len(params) // 2], "max": params[-1]},
        "params_extremes": None if extremes is None else [cost.count_params(spec) for spec in extremes],
        "memory_bytes": {"min": memory[0], "max": memory[-1]},
        "training_bytes": max(
            cost.training_bytes(s, s.batch_tokens or recipe.training.batch_tokens, recipe.training) for s in specs
        ),
    }


def _about_timed(timed: Timed) -> dict[str, Any]:
    return {
        "params": cost.count_params(timed.spec),
        "seconds_per_step": timed.seconds_per_token * timed.step_tokens,
        "step_tokens": timed.step_tokens,
        "timed_tokens": timed.timed_tokens,
        "timed_steps": timed.timed_steps,
        "latency_ms": timed.latency_ms,
        "spec": timed.spec.to_dict(),
    }


def _rungs(
    recipe: Recipe, specs: Sequence[ArchSpec], speed: forecast.Interpolated, corpus: CorpusSize, workers: int
) -> list[dict[str, Any]]:
    """Trials, epochs and seconds of each rung. Evaluation is a forward pass: a third of a training token's work."""
    search = recipe.search
    policy = Policy(recipe.problem, search)
    scored_tokens = min(recipe.evaluation.validation_tokens, corpus.validation_tokens) // 3
    trials, before, result = search.trials, 0, []
    for rung, tokens in enumerate(policy.rungs):
        cooldown = policy.budget(rung).cooldown_tokens
        each = statistics.mean(speed.seconds(spec, tokens - before + cooldown + scored_tokens) for spec in specs)
        # Declared repeats are scored at every rung on their way.
        count = trials + search.repeats
        result.append(
            {
                "tokens": tokens,
                "cooldown_tokens": cooldown,
                "trials": count,
                "epochs": (tokens + cooldown) / max(corpus.train_tokens, 1),
                "seconds_per_trial": each,
                "seconds": together([each] * count, workers),
            }
        )
        before = tokens
        trials = num_going_on(search, trials)
    return result


def together(seconds: Sequence[float], workers: int) -> float:
    """How long jobs take with so many at once: an equal share of them all, but no less than the longest.

    Rungs overlap, so that the last jobs of one leave no worker idle.
    """
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def _calibration_seconds(recipe: Recipe, speed: forecast.Interpolated, workers: int) -> float:
    if not recipe.calibration.enabled:
        return 0.0
    shapes = calibration.calibration_shapes(recipe.space, recipe.search.seed)
    tokens = round(recipe.calibration.tokens * (1 + recipe.search.cooldown_share))
    return together([speed.seconds(p.spec, tokens) for p in calibration.points(shapes, recipe.calibration)], workers)


def _promotion(
    recipe: Recipe, specs: Sequence[ArchSpec], corpus: CorpusSize, speed: forecast.Interpolated, workers: int
) -> dict[str, Any] | None:
    """The full run of the recipe, of a median and of the largest architecture (on one worker), and what is before it."""
    if recipe.promote is None:
        return None
    runs: dict[str, Mapping[str, Any]] = {
        name: run_plan(recipe, spec, recipe.promote.steps, corpus, speed.seconds(spec, 1))
        for name, spec in (("median", specs[len(specs) // 2]), ("largest", specs[-1]))
    }
    return {
        "select": recipe.promote.select,
        "steps": recipe.promote.steps,
        "tokens": runs["largest"]["tokens"],
        "epochs": max(run["epochs"] for run in runs.values()),
        "second_look": _second_look(recipe, specs[len(specs) // 2], corpus, speed, workers),
        **runs,
    }


def _second_look(
    recipe: Recipe, spec: ArchSpec, corpus: CorpusSize, speed: forecast.Interpolated, workers: int
) -> dict[str, Any] | None:
    """New trainings of the best few, were they median architectures; None where one is promoted as measured."""
    promote = recipe.promote
    if promote is None or promote.retest < 2 or not promote.seeds:
        return None
    policy = Policy(recipe.problem, recipe.search)
    budget = policy.budget(len(policy.rungs) - 1)
    scored_tokens = min(recipe.evaluation.validation_tokens, corpus.validation_tokens) // 3
    each = speed.seconds(spec, budget.tokens + budget.cooldown_tokens + scored_tokens)
    return {
        "candidates": promote.retest,
        "seeds": promote.seeds,
        "trainings": promote.retest * promote.seeds,
        "seconds_per_training": each,
        "seconds": together([each] * promote.retest * promote.seeds, workers),
    }


def _disk(recipe: Recipe, specs: Sequence[ArchSpec], corpus: CorpusSize) -> dict[str, int]:
    """Bytes of the prepared corpus, of the study's checkpoints at most (every trial waits for a rung), and of the full run."""
    each = statistics.mean(
        checkpoint_bytes(spec, recipe.training, 1) + _COOLED_BYTES * cost.count_params(spec) for spec in specs
    )
    return {
        "corpus": corpus.disk_bytes,
        "checkpoints": round(recipe.search.trials * each),
        "full_run": 0 if recipe.promote is None else run_disk_bytes(specs[-1], recipe.training),
    }
