"""The folder of a full run, as a worker leaves it at some moment: a real job's record and a curve of given points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autonas.run_folder import RunLog, claim
from autonas.trial import Budget, DataRef, Job
from tests.studies import small_job

STEP = 512
TOTAL = 100 * STEP


def run_job_of(folder: Path) -> Job:
    data = DataRef(folder="nowhere", fingerprint="0" * 16)
    return small_job(data, folder, kind="run", budget=Budget(rung=0, tokens=80 * STEP, cooldown_tokens=20 * STEP))


def trained(step: int, loss: float) -> dict[str, Any]:
    return {"tokens": step * STEP, "loss": loss, "gradient_norm": 0.5, "learning_rate": 1e-3, "tokens_per_s": 1000.0}


def probed(step: int, value: float, rate: float | None = None, text: str = "return a") -> dict[str, Any]:
    look = {"degeneration": rate, "collapse_rate": 0.0, "sample": {"prompt": "def f(a):\n", "text": text}}
    found = {"tokens": step * STEP, "val_loss": value, "val_low": value - 0.2, "val_high": value + 0.2, "val_tokens": 900}
    return found | ({} if rate is None else {"generation": look})


def write_run(folder: Path, points: list[dict[str, Any]], evaluation: dict[str, Any] | None = None) -> Path:
    claim(run_job_of(folder))
    log = RunLog(folder / "metrics.jsonl", 0, STEP, attempt=0)
    for point in points:
        log.write(point)
    if evaluation is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


CURVE = [
    *(trained(step, 6.0 - 0.05 * step) for step in range(1, 11)),
    probed(10, 5.6),
    *(trained(step, 6.0 - 0.05 * step) for step in range(11, 21)),
    probed(20, 5.1, 0.25, "<b>pass</b>"),
    {"tokens": 20 * STEP, "rollback": "the loss rose to 9.1 nats"},
    *(trained(step, 6.0 - 0.05 * step) for step in range(21, 41)),
    probed(40, 5.3, 0.5, "x = 1"),
]
