"""What a study was spent on: jobs, seconds, tokens and training FLOPs, by what became of what was trained.

Seconds are those that jobs took, all workers together. Those of trainings and calibrations are without waiting for the device
while another process timed something on it, which has a row of its own where spans tell it: with it the rows add up to the
time that workers were at work (timeline.py). FLOPs are arithmetic (cost.py), of tokens that the ledger tells of: what a failed
job had trained when it failed is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autonas.arch import ArchSpec
from autonas.cost import training_flops_per_token
from autonas.reporting.report import Report
from autonas.reporting.timeline import calibration_span, failed_in_a_job
from autonas.trial import JobSpan, StudyRecord, TrialRecord

WAITING = "waiting for the device"
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
    WAITING,
)
_LEAST_WAIT_S = 0.5  # of a whole study: less is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense:
    """What one purpose took. `untold` of its jobs left no time, and `seconds` are without theirs."""

    purpose: str
    jobs: int  # none of `WAITING`, which is that of jobs in other rows
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
    made = [
        Expense(
            purpose=purpose,
            jobs=len(jobs),
            seconds=math.fsum(seconds for seconds, _, _ in jobs if seconds is not None),
            tokens=sum(tokens for _, tokens, _ in jobs),
            flops=math.fsum(flops for _, _, flops in jobs),
            untold=sum(seconds is None for seconds, _, _ in jobs),
        )
        for purpose, jobs in found.items()
        if jobs
    ]
    if (waited_s := _waited_s(report.study)) >= _LEAST_WAIT_S:
        made.append(Expense(purpose=WAITING, jobs=0, seconds=waited_s, tokens=0, flops=0.0, untold=0))
    return tuple(made)


def expenses_text(report: Report) -> str:
    """What the seconds of each row are, and whether they add up to the time that workers were at work."""
    spans = [span for span, _ in _computing(report.study)]
    if not spans:
        return ""
    untold = spans.count(None)
    if untold == len(spans):
        return (
            "The time of trainings and calibrations is without waiting for the device; how long that was cannot be told, since "
            "none of them has left its span."
        )
    where = "a row of its own" if _waited_s(report.study) >= _LEAST_WAIT_S else f"less than {_LEAST_WAIT_S:g} s in all"
    text = (
        "The time of trainings and calibrations is without waiting for the device while another process timed something on it, "
        f"which is {where}."
    )
    if untold:
        return (
            f"{text} Of {len(spans)} of these jobs {untold} left no span: how long they waited is missing here, and what they "
            "took is missing where the time at work of workers is told."
        )
    return f"{text} So the rows add up to the time for which the workers above were at work."


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


def _waited_s(study: StudyRecord) -> float:
    """What trainings and calibrations took by the wall beyond their own seconds: these stand still while a job waits."""
    return math.fsum(span.seconds - seconds for span, seconds in _computing(study) if span is not None)


def _computing(study: StudyRecord) -> Iterator[tuple[JobSpan | None, float]]:
    """The span and the seconds without waiting of each training and calibration; other jobs are told by their span alone."""
    for point in (study.attributes.get("calibration") or {}).get("points") or ():
        if point.get("seconds") is not None:
            yield calibration_span(point), float(point["seconds"])
    for trial in study.trials:
        for outcome in trial.rungs:
            yield outcome.span, outcome.seconds
