"""What one full training will cost: `autonas train`, or the full run after a search. Measures nothing."""

from __future__ import annotations

from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.estimate import CorpusSize
from autonas.recipe import Recipe
from autonas.run_folder import probing, step_tokens
from autonas.trial import TrainingSettings

_VALUE_BYTES = 4  # weights and moments are float32


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
        "training_bytes": cost.training_bytes(spec, each, recipe.training),
    }


def checkpoint_bytes(spec: ArchSpec, training: TrainingSettings, num_states: int) -> int:
    """Of a file with so many states of a training: weights, and what the optimizer remembers."""
    return _VALUE_BYTES * num_states * (cost.count_params(spec) + cost.moment_values(spec, training))


def run_disk_bytes(spec: ArchSpec, training: TrainingSettings) -> int:
    """Of a run's folder at its fullest: a checkpoint, with its copies, beside the one that it replaces, and two models."""
    return 2 * checkpoint_bytes(spec, training, 1 + training.num_copies) + 2 * _VALUE_BYTES * cost.count_params(spec)
