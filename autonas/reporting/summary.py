"""The report in three short paragraphs: what was searched and how far, what came out, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autonas.objective import Objective
from autonas.reporting.history import elapsed_s
from autonas.reporting.quantities import duration_text, interval_text, score_text, tokens_text
from autonas.reporting.report import RungSummary, SeedNoise, Standing
from autonas.trial import StudyRecord

# A front member is called sure when it stays on the front in so many draws.
SURE = 0.8


def summary(
    study: StudyRecord,
    standings: Sequence[Standing],
    objectives: Sequence[Objective],
    noise: SeedNoise,
    rungs: Sequence[RungSummary],
) -> tuple[str, ...]:
    """The paragraphs, in plain text."""
    searched = " ".join([_what(study, rungs), *_where(study)])
    front = [standing for standing in standings if standing.on_front]
    if not front:
        return (searched, "No trial has completed the last rung, so there is no front.")
    reached = f"{_count(len(standings), 'trial')} finished the last rung and {_count(len(front), 'is', 'are')} on the front."
    sure = sum(standing.probability >= SURE for standing in front)
    repeats = f"{_count(noise.repeats, 'repeat')} and a prior" if noise.repeats else "a prior alone, as nothing was repeated"
    certain = (
        f"Of the front, {sure} of {len(front)} would stay on it with a probability of {100 * SURE:.0f} % or more. "
        f"Training seeds move the loss by {noise.deviation:.3f} nats (one standard deviation, from {repeats}), "
        f"and trials against each other by {noise.between_trials:.3f}."
    )
    return (searched, " ".join([reached, *_best(front, objectives)]), certain)


def _what(study: StudyRecord, rungs: Sequence[RungSummary]) -> str:
    begun = sum(
        bool(t.rungs) or t.state in ("live", "failed", "stopped", "complete") for t in study.trials if t.repeat_of is None
    )
    unfit = sum(t.state == "infeasible" and not t.rungs for t in study.trials)
    turned = f", {unfit} more turned away before training" if unfit else ""
    longest = tokens_text(rungs[-1].tokens + (rungs[-1].cooldown_tokens or 0))
    return f"{_count(begun, 'architecture')} trained on up to {longest} tokens{turned}."


def _where(study: StudyRecord) -> list[str]:
    machine: Mapping[str, Any] = study.attributes.get("environment") or {}
    elapsed = elapsed_s(study)
    cores, processor = machine.get("cores"), machine.get("processor")
    place = " of ".join(str(part) for part in (f"{cores} cores" if cores else None, processor) if part)
    if elapsed is None:
        return [f"Run on {place}."] if place else []
    return [f"It took {duration_text(elapsed)}{f' on {place}' if place else ''}."]


def _best(front: Sequence[Standing], objectives: Sequence[Objective]) -> list[str]:
    first = objectives[0]
    best = min(front, key=lambda standing: standing.trial.scores[first.name].value)
    sentences = [f"Best {first.title.lower()}: trial {best.number} with {_with_interval(best, first)}."]
    knee = next((standing for standing in front if standing.is_knee), None)
    if knee is not None and len(front) > 1:
        listed = ", ".join(f"{o.title.lower()} {_with_interval(knee, o)}" for o in objectives)
        sentences.append(f"The knee, the best compromise, is trial {knee.number}: {listed}.")
    return sentences


def _with_interval(standing: Standing, objective: Objective) -> str:
    score = standing.trial.scores[objective.name]
    unit = "" if score.unit in ("share", "bytes", "parameters") else f" {score.unit}"
    interval = interval_text(score)
    return f"{score_text(score)}{unit}{f' ({interval})' if interval else ''}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
