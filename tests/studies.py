"""Small real studies: a space file of seconds on the tests' corpus, and what two runs of a study have to agree in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from autonas.arch import ArchSpec
from autonas.trial import Budget, DataRef, EvaluationSettings, Job, LatencySettings, StudyRecord, TrainingSettings

SMALL: dict[str, Any] = {
    "name": "small",
    "tokenizer": {"algorithm": "bpe", "vocab_size": 300},
    "context_length": 64,
    "space": {
        "layers": {"int": [1, 2]},
        "width": {"choice": [16, 24, 32]},
        "heads": {"choice": [2, 4]},
        "kv_heads": {"choice": [1, "heads"]},
        "norm": {"choice": ["layernorm", "rmsnorm"]},
    },
    "rules": ["width % heads == 0", "layers * width <= 48"],
    "objectives": ["val_loss", "params", "collapse_rate"],
    "latency": {"threads": 1, "context": 32, "device": "cpu"},
    "budget": {
        "trials": 5,
        "rungs": ["12K", "36K"],
        "batch_tokens": 512,
        "min_survivors": 2,
        "repeats": 1,
        "sampler": "tpe",
    },
    "training": {"warmup": "2K", "learning_rate": 1.5e-3},
    "calibration": False,
    "evaluation": {"validation_tokens": "4K", "prompts_per_kind": 3, "samples_per_prompt": 2, "new_tokens": 12},
}


def write_space(path: Path, corpus: Path, **changes: Any) -> Path:
    """A space file at `path`: SMALL on `corpus`, with whole sections replaced or, given as mappings, amended."""
    values = {**SMALL, "corpus": {"paths": [f"{corpus}/**/*.py"]}}
    for section, change in changes.items():
        merged = {**values[section], **change} if isinstance(change, dict) and isinstance(values.get(section), dict) else change
        values[section] = merged
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def essence(study: StudyRecord) -> list[Any]:
    """Everything of a study that its seed decides: all but times, attempts and what was measured by a clock."""
    return [
        (
            trial.number,
            trial.state,
            dict(trial.params),
            trial.spec,
            trial.repeat_of,
            trial.reason,
            {name: score.value for name, score in trial.scores.items()},
            [
                (o.rung, o.tokens, dict(o.scores), o.documents, dict(o.baselines), o.curve, o.samples, dict(o.checks))
                for o in trial.rungs
            ],
        )
        for trial in study.trials
    ]


SMALL_SPEC = ArchSpec(layers=1, width=16, heads=2, kv_heads=1, vocab_size=300, context_length=64)


def small_job(data: DataRef, folder: Path, **changes: Any) -> Job:
    """A job of a second: SMALL_SPEC over a dozen steps, scored by its loss."""
    job = Job(
        kind="train",
        study="small",
        trial=0,
        attempt=1,
        spec=SMALL_SPEC,
        budget=Budget(rung=0, tokens=4_096, cooldown_tokens=1_024),
        seed=1,
        data_seed=2,
        data=data,
        training=TrainingSettings(batch_tokens=512, warmup_tokens=1_024),
        evaluation=EvaluationSettings(validation_tokens=3_000, prompts_per_kind=3, samples_per_prompt=2, new_tokens=8),
        latency=LatencySettings(device="cpu", context=32),
        objectives=("val_loss",),
        folder=str(folder),
        threads=1,
    )
    return dataclasses.replace(job, **changes)
