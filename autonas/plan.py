"""What a study will cost before anything is spent, and what it will still cost while it runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.evaluation.latency_cache import load_table
from autonas.evaluation.prompts import choose_prompts
from autonas.evaluation.scored import choose_documents
from autonas.objective import OBJECTIVES
from autonas.policy import calibration, forecast
from autonas.policy.policy import Policy, begun
from autonas.policy.rungs import num_survivors
from autonas.recipe import Recipe
from autonas.space.limits import MEASURED
from autonas.trial import StudyRecord

_FEW_DOCUMENTS = 10
_LATENCY_S = 3.0  # one measurement by the protocol of evaluation/latency.py, when the machine is quiet


def make_plan(recipe: Recipe, dataset: Dataset, seconds_per_token: Callable[[ArchSpec], float]) -> dict[str, Any]:
    """A study's plan as JSON values. `seconds_per_token` measures the training of one architecture on this machine.

    Raises:
        InfeasibleArch: nothing in the space is legal.
    """
    space, search = recipe.space, recipe.search
    specs = calibration.legal_draws(space, search.seed)
    params = sorted(cost.count_params(spec) for spec in specs)
    memory = sorted(cost.inference_bytes(spec) for spec in specs)
    probes = [specs[0], specs[len(specs) // 2], specs[-1]]
    observed = [forecast.Observation(spec=s, tokens=1_000_000, seconds=1e6 * seconds_per_token(s)) for s in probes]
    fitted = forecast.fit(observed)
    assert fitted is not None
    rungs = _rungs(recipe, specs, fitted, dataset)
    calibrating = _calibration_seconds(recipe, fitted)
    extremes = space.extremes()
    timed = recipe.latency.table is None and any(OBJECTIVES[o].known == "measured" for o in recipe.objectives)
    latency = search.trials * _LATENCY_S if timed else 0.0
    seconds = calibrating + latency + sum(rung["seconds"] for rung in rungs)
    limit = None if search.max_hours is None else search.max_hours * 3600
    return {
        "study": recipe.name,
        "objectives": list(recipe.objectives),
        "space": {
            "size": space.size(),
            "legal_share": space.legal_share(),
            "searched": list(space.searched),
            "held": {name: space.held[name] for name in space.horizon_bound if name in space.held},
        },
        "params": {"min": params[0], "median": params[len(params) // 2], "max": params[-1]},
        "params_extremes": None if extremes is None else [cost.count_params(spec) for spec in extremes],
        "memory_bytes": {"min": memory[0], "max": memory[-1]},
        "training_bytes": max(cost.training_bytes(s, s.batch_tokens or recipe.training.batch_tokens) for s in specs),
        "corpus": {
            "fingerprint": dataset.fingerprint,
            "train_tokens": int(dataset.tokens("train").shape[0]),
            "validation_tokens": int(dataset.tokens("validation").shape[0]),
        },
        "trials": search.trials,
        "rungs": rungs,
        "calibration_seconds": calibrating,
        "latency_seconds": latency,
        "seconds": seconds if limit is None else min(seconds, limit),
        "seconds_unbounded": seconds,
        "max_seconds": limit,
        "warnings": [*_warnings(recipe, rungs, seconds, limit), *data_notes(recipe, dataset)],
    }


def data_notes(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What a user should know of a corpus before anything is trained on it, one sentence each.

    Raises:
        CorpusError: the recipe's prompts file is missing or wrong. It is used at the last rung only: too late to find out.
        RecipeError: the recipe's latency table is wrong.
    """
    found = []
    if any(OBJECTIVES[name].known == "final" for name in recipe.objectives):
        choose_prompts(dataset, recipe.evaluation)
    scored = len(choose_documents(dataset.documents("validation"), recipe.evaluation.validation_tokens))
    if scored < _FEW_DOCUMENTS:
        found.append(
            f"the loss is measured on {scored} validation documents, so its intervals will be wide; "
            "raise evaluation.validation_tokens or corpus.validation_share"
        )
    report = dataset.report
    few = [f"{split} ({count})" for split, count in report["projects"].items() if count < 3 and split != "train"]
    if few and report["split_by"] == "project":
        found.append(
            f"few projects in the split {' and '.join(few)}: it may be unlike the training data; `autonas corpus` shows them"
        )
    if recipe.latency.table is not None:
        table = load_table(recipe.latency.table)
        specs = calibration.legal_draws(recipe.space, recipe.search.seed)
        known = sum(spec.inference_fingerprint in table for spec in specs)
        found.append(f"latencies are read from {recipe.latency.table}, which has {known / len(specs):.0%} of the legal draws")
    elif any(recipe.space.limits.bounds(name) != (None, None) for name in MEASURED):
        found.append("the limit on latency is checked by measuring, so the legal share above does not count it")
    return found


def _rungs(recipe: Recipe, specs: Sequence[ArchSpec], fitted: forecast.Forecast, dataset: Dataset) -> list[dict[str, Any]]:
    """Trials, epochs and seconds of each rung. Evaluation is a forward pass: a third of a training token's work."""
    policy = Policy(recipe.space, recipe.search, recipe.objectives)
    scored_tokens = min(recipe.evaluation.validation_tokens, int(dataset.tokens("validation").shape[0])) // 3
    search = recipe.search
    trials, before, result = search.trials, 0, []
    for rung, tokens in enumerate(policy.rungs):
        cooldown = policy.budget(rung).cooldown_tokens
        each = statistics.mean(fitted.seconds(spec, tokens - before + cooldown + scored_tokens) for spec in specs)
        # Declared repeats are scored at every rung on their way.
        count = trials + search.repeats
        result.append(
            {
                "tokens": tokens,
                "cooldown_tokens": cooldown,
                "trials": count,
                "epochs": (tokens + cooldown) / max(int(dataset.tokens("train").shape[0]), 1),
                "seconds_per_trial": each,
                "seconds": count * each,
            }
        )
        before = tokens
        trials = num_survivors(trials, search.reduction_factor, search.min_survivors)
    return result


def _calibration_seconds(recipe: Recipe, fitted: forecast.Forecast) -> float:
    if not recipe.calibration.enabled:
        return 0.0
    shapes = calibration.calibration_shapes(recipe.space, recipe.search.seed)
    tokens = round(recipe.calibration.tokens * (1 + recipe.search.cooldown_share))
    return sum(fitted.seconds(p.spec, tokens) for p in calibration.points(shapes, recipe.calibration))


def _warnings(recipe: Recipe, rungs: list[dict[str, Any]], seconds: float, limit: float | None) -> list[str]:
    found = []
    if limit is not None and seconds > limit:
        found.append(
            f"the whole budget needs about {seconds / 3600:.2f} h and max_hours allows {limit / 3600:.2f} h: "
            "fewer trials will begin"
        )
    if limit is None and seconds > 86_400:
        found.append(f"this machine would need about {seconds / 86_400:.1f} days")
    if rungs[-1]["epochs"] > 4:
        found.append(f"the last rung repeats the corpus {rungs[-1]['epochs']:.1f} times: give a larger corpus or fewer tokens")
    held = [name for name in recipe.space.horizon_bound if name not in recipe.space.searched]
    if held:
        found.append(
            f"{', '.join(held)} held at defaults: a truncated run cannot rank them "
            "(horizon.sample: true samples them all the same)"
        )
    sampled = [name for name in recipe.space.horizon_bound if name in recipe.space.searched]
    if sampled:
        found.append(f"{', '.join(sampled)} will be judged by truncated runs, which favour values near zero")
    return found


def remaining_seconds(
    study: StudyRecord, recipe: Recipe, policy: Policy, *, trials: int | None = None, repeats: int | None = None
) -> float | None:
    """How long a study still takes, by what it has taken so far; None if nothing has been trained yet.

    `trials` and `repeats` (those still to come) are the recipe's unless given.
    """
    fitted = forecast.fit([*_calibration_observations(study), *forecast.observations(study)])
    if fitted is None:
        return None
    search = recipe.search
    typical = _typical_spec(recipe)
    waiting = sum(t.state == "live" and t.repeat_of is None and not t.rungs for t in study.trials)
    total, arriving = 0.0, waiting + max((search.trials if trials is None else trials) - begun(study), 0)
    for rung in range(len(policy.rungs)):
        budget, before = policy.budget(rung), policy.budget(rung - 1).tokens if rung else 0
        total += arriving * fitted.seconds(typical, budget.tokens - before + budget.cooldown_tokens)
        # Those scored here, now or earlier, decide how many go on; some have gone on already.
        scored = sum(len(t.rungs) > rung and t.repeat_of is None for t in study.trials) + arriving
        gone_on = sum(len(t.rungs) > rung + 1 and t.repeat_of is None for t in study.trials)
        going_on = num_survivors(scored, search.reduction_factor, search.min_survivors)
        arriving = max(going_on - gone_on, 0)
    if repeats is None:
        repeats = max(search.repeats - sum(t.repeat_of is not None and bool(t.rungs) for t in study.trials), 0)
    budgets = [policy.budget(rung) for rung in range(len(policy.rungs))]
    each = budgets[-1].tokens + sum(budget.cooldown_tokens for budget in budgets)
    return total + repeats * fitted.seconds(typical, each)


def _typical_spec(recipe: Recipe) -> ArchSpec:
    """Of the space's legal draws, the one whose training costs nearest to their mean."""
    specs = calibration.legal_draws(recipe.space, recipe.search.seed)
    mean = statistics.mean(cost.training_flops_per_token(spec) for spec in specs)
    return min(specs, key=lambda spec: abs(cost.training_flops_per_token(spec) - mean))


def _calibration_observations(study: StudyRecord) -> list[forecast.Observation]:
    points = (study.attributes.get("calibration") or {}).get("points", [])
    return [
        forecast.Observation(spec=ArchSpec.from_dict(p["shape"]), tokens=p["tokens"], seconds=p["seconds"])
        for p in points
        if p["val_loss"] is not None
    ]
