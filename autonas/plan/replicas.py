"""What a full run's replicas will be, and whether they, or the rungs, can judge what is horizon-bound. Measures nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.estimate import CorpusSize
from autonas.policy import forecast
from autonas.policy.arms import identifiable
from autonas.policy.experiment import Experiment, paced, plan_experiment
from autonas.policy.replica import FullRun, Replica, block_params
from autonas.recipe import PromoteSettings, Recipe
from autonas.run_folder import run_budget, step_tokens
from autonas.trial import to_json

if TYPE_CHECKING:
    from autonas.plan.study import Timed


def replicas_plan(
    recipe: Recipe, spec: ArchSpec, corpus: CorpusSize, timed: Sequence[Timed], rungs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The replicas of the recipe's full run, were `spec` to be promoted, as JSON values.

    `rungs` are those of the plan; no dimension can be judged at one, and it is said of each why not. The full run is that of
    `promote:`, else one of `horizon.tokens`, else what a promotion would take.
    """
    full = FullRun(
        spec=spec,
        training=recipe.training,
        budget=run_budget(spec, recipe.training, _steps(recipe, spec), recipe.search.cooldown_share),
        corpus_tokens=corpus.train_tokens,
    )
    wanted = recipe.horizon.replicas is not False
    fitted = forecast.fit(
        forecast.Observation(spec=each.spec, tokens=each.step_tokens, seconds=each.seconds_per_token * each.step_tokens)
        for each in timed
    )
    experiment = plan_experiment(
        full,
        recipe.space,
        share=recipe.horizon.share,
        seeds=recipe.horizon.seeds,
        seconds=None if fitted is None else paced(fitted, recipe.training.batch_tokens),
    )
    return {
        "wanted": wanted and bool(experiment.prospects),
        "full": {"spec": spec.to_dict(), "tokens": full.tokens, "epochs": full.epochs, "steps": full.steps},
        **about_experiment(experiment),
        "rungs": [
            {
                "rung": number,
                "epochs": rung["epochs"],
                "dimensions": {
                    prospect.dimension: to_json(
                        identifiable(
                            prospect.dimension, epochs=rung["epochs"], full_epochs=full.epochs, seeds=recipe.horizon.seeds
                        )
                    )
                    for prospect in experiment.prospects
                },
            }
            for number, rung in enumerate(rungs)
        ],
    }


def _steps(recipe: Recipe, spec: ArchSpec) -> int:
    if recipe.promote is None and recipe.horizon.tokens is not None:
        return max(recipe.horizon.tokens // step_tokens(spec, recipe.training), 1)
    return (recipe.promote or PromoteSettings()).steps


def about_experiment(experiment: Experiment) -> dict[str, Any]:
    """What would be trained on replicas, and what each dimension may expect of it, as JSON values."""
    tried = {dimension.name: dimension for dimension in experiment.dimensions}
    return {
        "share": experiment.share,
        "seeds": experiment.seeds,
        "replica": None if experiment.replica is None else about_replica(experiment.replica),
        "reason": experiment.reason,
        "trainings": experiment.num_trainings,
        "flops_share": experiment.flops_share,
        "seconds_each": experiment.seconds_each,
        "seconds": experiment.seconds,
        "dimensions": [
            {
                **dataclasses.asdict(prospect),
                "values": list(tried[prospect.dimension].values) if prospect.dimension in tried else [],
            }
            for prospect in experiment.prospects
        ],
    }


def about_replica(replica: Replica) -> dict[str, Any]:
    """A replica as JSON values; each ratio with the full run's first."""
    run = replica.run
    return {
        "spec": run.spec.to_dict(),
        "params": cost.count_params(run.spec),
        "block_params": block_params(run.spec),
        "scale": replica.scale,
        "unique_tokens": replica.unique_tokens,
        "tokens": run.tokens,
        "epochs": run.epochs,
        "steps": run.steps,
        "batch_tokens": run.training.batch_tokens,
        "rate_factor": replica.rate_factor,
        "ratios": {name: list(both) for name, both in replica.ratios().items()},
    }
