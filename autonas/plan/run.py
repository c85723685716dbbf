"""What one full training will cost: `autonas train`, or the full run after a search. Measures nothing."""

from __future__ import annotations

from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.estimate import CorpusSize
from autonas.recipe import Recipe
from autonas.run_folder import probing, step_tokens
from autonas.trial import TrainingSettings

_CHECKPOINT_BYTES = 12  # of each parameter: weights and two moments in float32
_WEIGHTS_BYTES = 4


def run_plan(
    recipe: Recipe,
    spec: ArchSpec,
    steps: int,
    corpus: CorpusSize,
    seconds_per_token: float,
    *,
    scoring_seconds: float = 0.0,
    starting_seconds: float = 0.0,
) -> dict[str, Any]:
    """A full run's plan as JSON values. Losses on the way and at the end are forward passes, a third of training's work.

    `scoring_seconds` are those of samples and latency, `starting_seconds` those before the first step.
    """
    each = step_tokens(spec, recipe.training)
    tokens = steps * each
    training = tokens * seconds_per_token
    validation = min(recipe.evaluation.validation_tokens, corpus.validation_tokens)
    count, probed = probing(tokens)
    evaluated = validation + count * min(probed, validation)
    scoring = evaluated / 3 * seconds_per_token + scoring_seconds
    return {
        "params": cost.count_params(spec),
        "steps": steps,
        "tokens": tokens,
        "epochs": tokens / max(corpus.train_tokens, 1),
        "seconds": starting_seconds + training + scoring,
        "starting_seconds": starting_seconds,
        "training_seconds": training,
        "scoring_seconds": scoring,
        "disk_bytes": run_disk_bytes(spec, recipe.training),
        "training_bytes": cost.training_bytes(spec, each, copies=recipe.training.num_copies),
    }


def run_disk_bytes(spec: ArchSpec, training: TrainingSettings) -> int:
    """Of a run's folder at its fullest: a checkpoint, with its copies, beside the one that it replaces, and the weights."""
    each = _CHECKPOINT_BYTES * (1 + training.num_copies)
    return cost.count_params(spec) * (2 * each + _WEIGHTS_BYTES)
