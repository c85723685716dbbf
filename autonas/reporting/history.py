"""What happened in a study, in order: its hypervolume as trials ended, what each rung saw, and what was dropped and why."""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.objective import Objective
from autonas.reporting.finals import rung_tokens
from autonas.reporting.report import Dropped, FinalTrial, HypervolumePoint, RungSummary
from autonas.trial import Outcome, StudyRecord, TrialRecord

Array = NDArray[np.float64]

# Beyond the worst final trial in every objective, so that the extremes of the front count.
REFERENCE = 1.1
# Measuring it takes a tenth of a second on a front of two hundred in four objectives; a long study's is measured so many times.
_MOMENTS = 40


def values(trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Array:
    """The objectives (N, K) as compared: sizes and times as logarithms (a ratio counts the same at every size)."""
    rows = [
        [
            math.log(max(trial.scores[o.name].value, 1e-12)) if o.before_training else trial.scores[o.name].value
            for o in objectives
        ]
        for trial in trials
    ]
    return np.array(rows, dtype=np.float64).reshape(len(trials), len(objectives))


def hypervolume_rule(objectives: Sequence[Objective]) -> str:
    """How the hypervolume is measured, for the reader."""
    logs = [o.title.lower() for o in objectives if o.before_training]
    scale = f"; {', '.join(logs)} on a log scale" if logs else ""
    return (
        f"Each objective is mapped to 0–1 between the best and the worst final trial{scale}. The reference point is "
        f"{REFERENCE:g} in every objective; the value is the share of the box up to it that is dominated. It belongs to this "
        f"study and is not comparable with another's. Trials enter with their final scores, repeats included."
    )


def hypervolume(
    study: StudyRecord, trials: Sequence[FinalTrial], objectives: Sequence[Objective]
) -> tuple[HypervolumePoint, ...]:
    """The dominated share of the reference box after each final trial ended, in order of ending."""
    if not trials:
        return ()
    rows = pareto.normalised(values(trials, objectives))
    place = {trial.number: i for i, trial in enumerate(trials)}
    begun = started_at(study)
    reference = np.full(len(objectives), REFERENCE)
    points: list[HypervolumePoint] = []
    ended_finals = [(number, ended) for number, ended in study.timeline if number in place]
    front = np.empty((0, len(objectives)))
    every = -(-len(ended_finals) // _MOMENTS)
    for count, (number, ended) in enumerate(ended_finals, 1):
        row = rows[place[number]]
        if not np.any(np.all(front <= row, axis=1)):
            front = np.vstack([front[~np.all(row <= front, axis=1)], row])
        if count % every and count < len(ended_finals):
            continue
        share = pareto.hypervolume(front, reference) / REFERENCE ** len(objectives)
        elapsed = (moment(ended) - begun).total_seconds() if begun is not None else float(len(points))
        points.append(HypervolumePoint(trial=number, elapsed_s=max(elapsed, 0.0), value=share))
    return tuple(points)


def rung_summaries(study: StudyRecord) -> tuple[RungSummary, ...]:
    """What each rung saw. Declared repeats are left out: they are measurements of noise, not candidates."""
    tokens = rung_tokens(study)
    trials = [trial for trial in study.trials if trial.repeat_of is None]
    return tuple(_rung_summary(trials, rung, tokens[rung], rung == len(tokens) - 1) for rung in range(len(tokens)))


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


def _rung_summary(trials: Sequence[TrialRecord], rung: int, tokens: int, is_last: bool) -> RungSummary:
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
        advanced=sum(trial.state == "complete" for trial in resting) if is_last else len(here) - sum(map(_rests, resting)),
        stopped=sum(trial.state == "stopped" for trial in resting),
        infeasible=sum(trial.state == "infeasible" for trial in resting),
        failed=sum(trial.state == "failed" and len(trial.rungs) == rung for trial in trials),
        waiting=sum(trial.state == "live" for trial in resting),
        best=min(losses, default=None),
        median=statistics.median(losses) if losses else None,
        baselines={name: _span([o.baselines[name] for o in outcomes if name in o.baselines]) for name in names},
        beaten={name: sum(beats(o, name) for o in outcomes) for name in names},
        median_seconds=statistics.median(o.seconds for o in outcomes) if outcomes else None,
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
