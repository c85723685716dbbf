"""What a study was spent on: jobs, seconds, tokens and training FLOPs, by what became of what was trained.

Seconds are those that jobs took, all workers together. FLOPs are arithmetic (cost.py), of tokens that the ledger tells of: what
a failed job had trained when it failed is not among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autonas.arch import ArchSpec
from autonas.cost import training_flops_per_token
from autonas.reporting.report import Report
from autonas.reporting.timeline import failed_in_a_job
from autonas.trial import TrialRecord

PURPOSES = (
    "learning-rate calibration",
    "timing before training",
    "trials on the front",
    "dominated trials",
    "stopped trials",
    "trials still alive",
    "trained and then infeasible",
    "trials that failed later",
    "declared repeats",
    "failed jobs",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What one purpose took. `untold` of its jobs left no time, and `seconds` are without theirs."""

    purpose: str
    jobs: int
    seconds: float
    tokens: int
    flops: float  # of training; without architectures that the ledger does not know
    untold: int


def expenses(report: Report) -> tuple[Expense, ...]:
    """What the study was spent on, in the order of `PURPOSES`; purposes without a job are left out."""
    found: dict[str, list[tuple[float | None, int, float]]] = {purpose: [] for purpose in PURPOSES}
    for point in (report.study.attributes.get("calibration") or {}).get("points") or ():
        found["learning-rate calibration"].append(_of_point(point))
    on_front = {standing.number for standing in report.front}
    for trial in report.study.trials:
        if trial.measured is not None:
            found["timing before training"].append((trial.measured.seconds, 0, 0.0))
        per_token = 0 if trial.spec is None else training_flops_per_token(trial.spec)
        found[_purpose(trial, on_front)] += [(o.seconds, o.new_tokens, float(per_token * o.new_tokens)) for o in trial.rungs]
        spans = [failure.span for failure in trial.retries] + ([trial.failed] if failed_in_a_job(trial) else [])
        found["failed jobs"] += [(None if span is None else span.seconds, 0, 0.0) for span in spans]
    return tuple(
        Expense(
            purpose=purpose,
            jobs=len(jobs),
            seconds=sum(seconds for seconds, _, _ in jobs if seconds is not None),
            tokens=sum(tokens for _, tokens, _ in jobs),
            flops=sum(flops for _, _, flops in jobs),
            untold=sum(seconds is None for seconds, _, _ in jobs),
        )
        for purpose, jobs in found.items()
        if jobs
    )


def _of_point(point: Mapping[str, Any]) -> tuple[float | None, int, float]:
    tokens = int(point.get("tokens") or 0)
    spec = ArchSpec.from_dict({name: value for name, value in point["shape"].items() if name != "learning_rate"})
    seconds = point.get("seconds")
    return None if seconds is None else float(seconds), tokens, float(training_flops_per_token(spec) * tokens)


def _purpose(trial: TrialRecord, on_front: set[int]) -> str:
    if trial.repeat_of is not None:
        return "declared repeats"
    if trial.state == "complete":
        return "trials on the front" if trial.number in on_front else "dominated trials"
    return {
        "stopped": "stopped trials",
        "live": "trials still alive",
        "infeasible": "trained and then infeasible",
        "failed": "trials that failed later",
    }[trial.state]
