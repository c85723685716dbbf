"""What a study has spent on training: in all, and by the moment at which each of its trials ended.

Training is that of jobs that were scored; jobs that failed are not among them. Floating-point operations are arithmetic
(cost.py): a measure that does not depend on the machine.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autonas import cost
from autonas.reporting.history import moment
from autonas.trial import JobSpan, Outcome, StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What training jobs took, all workers together."""

    seconds: float
    search_s: float  # of them, without those of declared repeats, which measure noise and find nothing
    tokens: int
    flops: float  # forward and backward, of the tokens that each job trained itself


def total_flops(study: StudyRecord) -> float:
    """Training FLOPs of all trials: forward and backward, of the tokens that each of them trained itself."""
    return math.fsum(_flops(trial, outcome) for trial, outcome in _jobs(study))


def spent_by(study: StudyRecord) -> dict[int, Spending]:
    """By trial, in order of ending: what all jobs had taken that had ended when it had, those of trials that waited included.

    A job counts from the moment at which its span ended, by its host's clock set to the one of the timeline, and from the end
    of its trial at the latest; one without a span from the end of its trial. So it never falls, and is never more than all.
    Trials that the timeline does not tell of come last, in their order; what they have been trained with counts there.
    """
    trials = {trial.number: trial for trial in study.trials}
    told = {number: moment(text) for number, text in study.timeline if number in trials}
    behind = _behind(study, told)
    jobs = list(_jobs(study))
    dated = [
        (ended(outcome.span) + behind.get(host(outcome.span), datetime.timedelta(0)), i)
        for i, (_, outcome) in enumerate(jobs)
        if outcome.span is not None
    ]
    dated.sort(reverse=True)  # the next to end is the last
    own: dict[int, list[int]] = {}
    for i, (trial, _) in enumerate(jobs):
        own.setdefault(trial.number, []).append(i)
    counted: set[int] = set()
    seconds, searching, tokens, flops = 0.0, 0.0, 0, 0.0
    spent: dict[int, Spending] = {}
    for number in [*told, *sorted(set(trials) - set(told))]:
        new = set(own.get(number, ()))
        while number in told and dated and dated[-1][0] <= told[number]:
            new.add(dated.pop()[1])
        for i in sorted(new - counted):
            trial, outcome = jobs[i]
            seconds += outcome.seconds
            searching += outcome.seconds if trial.repeat_of is None else 0.0
            tokens += outcome.new_tokens
            flops += _flops(trial, outcome)
        counted |= new
        spent[number] = Spending(seconds=seconds, search_s=searching, tokens=tokens, flops=flops)
    return spent


def is_dated(study: StudyRecord) -> bool:
    """Whether the ledger tells when each trial and each training job ended."""
    return bool(study.timeline) and all(outcome.span is not None for _, outcome in _jobs(study))


def spending_rule(study: StudyRecord) -> str:
    """From when on training counts, for the reader of a curve against it; empty where nothing has been trained."""
    spans = [outcome.span for _, outcome in _jobs(study)]
    if not spans:
        return ""
    if not study.timeline:
        return "When trials ended is not in the ledger: they go by their number, and the training of each counts with it."
    untold = spans.count(None)
    if not untold:
        return "A job's training counts from its end on, also where its trial then waited for the next rung."
    some = "No training job" if untold == len(spans) else f"Of {len(spans)} training jobs only {len(spans) - untold}"
    return (
        f"{some} left word of when it ended; training without it counts from the end of its trial on, so that what waiting "
        "trials had cost is missing until then, and the hypervolume seems to come earlier than it did."
    )


def ended(span: JobSpan) -> datetime.datetime:
    """When a job ended, by its worker's clock."""
    return moment(span.began_at) + datetime.timedelta(seconds=span.seconds)


def host(span: JobSpan) -> str:
    """The machine of a worker, whose processes share a clock."""
    return span.worker.rpartition(":")[0]


def _behind(study: StudyRecord, told: Mapping[int, datetime.datetime]) -> dict[str, datetime.timedelta]:
    """By how much the clock of each host is behind that of the timeline, at most; negative where it is ahead.

    A trial is complete as soon as its last job has ended. The least time between the two on a host is what clocks differ by,
    and what word of an outcome takes at least (a tenth of a second and less).
    """
    found: dict[str, datetime.timedelta] = {}
    for trial in study.trials:
        span = trial.rungs[-1].span if trial.state == "complete" and trial.rungs else None
        if span is not None and trial.number in told:
            gap = told[trial.number] - ended(span)
            found[host(span)] = min(gap, found.get(host(span), gap))
    return found


def _jobs(study: StudyRecord) -> Iterator[tuple[TrialRecord, Outcome]]:
    return ((trial, outcome) for trial in study.trials for outcome in trial.rungs)


def _flops(trial: TrialRecord, outcome: Outcome) -> float:
    return 0.0 if trial.spec is None else float(cost.training_flops_per_token(trial.spec) * outcome.new_tokens)
