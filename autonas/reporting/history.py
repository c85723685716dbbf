"""What happened in a study, in order: what each rung saw, and what was dropped and why; when, and how values are compared."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.reporting.agreement import agreement
from autonas.reporting.finals import rung_tokens
from autonas.reporting.report import Dropped, FinalTrial, RungSummary
from autonas.trial import Outcome, StudyRecord, TrialRecord

Array = NDArray[np.float64]


def values(trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Array:
    """The objectives (N, K) as compared."""
    rows = [[trial.scores[objective.name].value for objective in objectives] for trial in trials]
    return compared(np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives)), objectives)


def compared(rows: Array, objectives: Sequence[Objective]) -> Array:
    """Values (…, K) in their units as compared: sizes and times as logarithms (a ratio counts the same at every size)."""
    logarithmic = np.array([objective.logarithmic for objective in objectives], dtype=bool)
    return np.where(logarithmic, np.log(np.maximum(rows, 1e-12)), rows)


def rung_summaries(study: StudyRecord) -> tuple[RungSummary, ...]:
    """What each rung saw. Declared repeats are left out: they are measurements of noise, not candidates."""
    tokens = rung_tokens(study)
    trials = [trial for trial in study.trials if trial.repeat_of is None]
    return tuple(_rung_summary(trials, rung, tokens) for rung in range(len(tokens)))


def dropped(study: StudyRecord) -> tuple[Dropped, ...]:
    """Infeasible trials by rule and failed ones by kind, the most frequent first."""
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for trial in study.trials:
        if trial.state == "infeasible":
            groups.setdefault(("infeasible", rule_of(trial)), []).append(trial)
        elif trial.state == "failed":
            groups.setdefault(("failed", trial.failure or "error"), []).append(trial)
    result = [
        Dropped(
            how="infeasible" if how == "infeasible" else "failed",
            reason=reason,
            trials=tuple(trial.number for trial in group),
            example=next((trial for trial in reversed(group) if trial.nearest), group[-1]),
        )
        for (how, reason), group in groups.items()
    ]
    return tuple(sorted(result, key=lambda entry: (entry.how != "infeasible", -entry.count, entry.reason)))


def rule_of(trial: TrialRecord) -> str:
    """The rule that an infeasible trial breaks: its reason up to the first colon, where the ledger writes `rule: message`."""
    rule, colon, _ = trial.reason.partition(": ")
    return rule if colon else (trial.reason or "unknown rule")


def started_at(study: StudyRecord) -> datetime.datetime | None:
    """When the study began, if the ledger says so."""
    text = study.attributes.get("started_at")
    return moment(text) if isinstance(text, str) else None


def elapsed_s(study: StudyRecord) -> float | None:
    """Seconds that the study ran, without pauses before a resume; where the ledger does not say, from beginning to end."""
    if isinstance(spent := study.attributes.get("spent_s"), int | float):
        return float(spent)
    begun, ended = started_at(study), study.attributes.get("ended_at")
    if begun is None:
        return None
    texts = [ended] if isinstance(ended, str) else [text for _, text in study.timeline[-1:]]
    return max((moment(text) - begun).total_seconds() for text in texts) if texts else None


def moment(text: str) -> datetime.datetime:
    """An ISO time; one without a zone is UTC."""
    parsed = datetime.datetime.fromisoformat(text)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=datetime.UTC)


def _rung_summary(trials: Sequence[TrialRecord], rung: int, rungs: Sequence[int]) -> RungSummary:
    tokens, last = rungs[rung], len(rungs) - 1
    here = [trial for trial in trials if len(trial.rungs) > rung]
    resting = [trial for trial in here if len(trial.rungs) == rung + 1]
    outcomes = [trial.rungs[rung] for trial in here]
    losses = [outcome.scores["val_loss"].value for outcome in outcomes if "val_loss" in outcome.scores]
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.baselines))
    reached = [outcome.tokens for outcome in outcomes]
    return RungSummary(
        rung=rung,
        tokens=tokens,
        cooldown_tokens=max(reached) - tokens if reached else None,
        scored=len(here),
        advanced=sum(trial.state == "complete" for trial in resting) if rung == last else len(here) - sum(map(_rests, resting)),
        stopped=sum(trial.state == "stopped" for trial in resting),
        infeasible=sum(trial.state == "infeasible" for trial in resting),
        failed=sum(trial.state == "failed" and len(trial.rungs) == rung for trial in trials),
        waiting=sum(trial.state == "live" for trial in resting),
        best=min(losses, default=None),
        median=statistics.median(losses) if losses else None,
        baselines={name: _span([o.baselines[name] for o in outcomes if name in o.baselines]) for name in names},
        beaten={name: sum(beats(o, name) for o in outcomes) for name in names},
        median_seconds=statistics.median(o.seconds for o in outcomes) if outcomes else None,
        with_next=agreement(trials, rung, rung + 1) if rung + 1 < last else None,
        with_last=agreement(trials, rung, last) if rung < last else None,
    )


def _rests(trial: TrialRecord) -> bool:
    """Whether the trial ended or waits where it was last scored; one that failed later had gone on from there."""
    return trial.state != "failed"


def beats(outcome: Outcome, baseline: str) -> bool:
    """Whether an outcome's loss is below that baseline of the same tokens."""
    score = outcome.scores.get("val_loss")
    return score is not None and baseline in outcome.baselines and score.value < outcome.baselines[baseline]


def _span(numbers: Sequence[float]) -> tuple[float, float]:
    return min(numbers), max(numbers)
