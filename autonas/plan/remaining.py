"""What a study will still take while it runs, by what it has taken so far."""

from __future__ import annotations

import math
import statistics

from autonas import cost
from autonas.arch import ArchSpec
from autonas.policy import calibration, forecast
from autonas.policy.policy import Policy, begun
from autonas.policy.rungs import num_survivors
from autonas.policy.settings import SearchSettings
from autonas.recipe import Recipe
from autonas.trial import StudyRecord


def remaining_seconds(
    study: StudyRecord, recipe: Recipe, policy: Policy, *, trials: int | None = None, repeats: int | None = None
) -> float | None:
    """How long a study still takes on the workers it has, by what it has taken so far; None if nothing has been trained yet.

    `trials` and `repeats` (those still to come) are the recipe's unless given. Repeats come when all else has ended.
    """
    fitted = forecast.fit([*_calibration_observations(study), *forecast.observations(study)])
    if fitted is None:
        return None
    search = recipe.search
    typical = _typical_spec(recipe)
    waiting = sum(t.state == "live" and t.repeat_of is None and not t.rungs for t in study.trials)
    total, arriving = 0.0, waiting + max((search.trials if trials is None else trials) - begun(study), 0)
    coming = arriving > 0
    for rung in range(len(policy.rungs)):
        budget, before = policy.budget(rung), policy.budget(rung - 1).tokens if rung else 0
        total += arriving * fitted.seconds(typical, budget.tokens - before + budget.cooldown_tokens)
        # Those scored here, now or earlier, decide how many go on; some have gone on already.
        scored = sum(len(t.rungs) > rung and t.repeat_of is None for t in study.trials) + arriving
        gone_on = sum(len(t.rungs) > rung + 1 and t.repeat_of is None for t in study.trials)
        arriving = max(num_going_on(search, scored) - gone_on, 0)
    if repeats is None:
        repeats = max(search.repeats - sum(t.repeat_of is not None and bool(t.rungs) for t in study.trials), 0)
    budgets = [policy.budget(rung) for rung in range(len(policy.rungs))]
    each = budgets[-1].tokens + sum(budget.cooldown_tokens for budget in budgets)
    longest = fitted.seconds(typical, each) if coming else 0.0  # one trial's rungs follow each other
    workers = int((study.attributes.get("environment") or {}).get("workers", 1))
    return max(total / workers, longest) + math.ceil(repeats / workers) * fitted.seconds(typical, each)


def num_going_on(search: SearchSettings, count: int) -> int:
    """How many of the `count` trials that a rung scores in all are trained for the next one."""
    if search.scheduler == "curves":
        return count
    return num_survivors(count, search.reduction_factor, search.min_survivors)


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
