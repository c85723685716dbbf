"""The report of a study, worked out from its ledger: standings with their probabilities, and everything around them.

The entry of the package for data; numpy only. HTML is in render.py, the terminal's table in text.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autonas import pareto
from autonas.objective import OBJECTIVES, Objective
from autonas.reporting import history, uncertainty
from autonas.reporting.alarms import alarms
from autonas.reporting.finals import finals, rung_tokens, seed_noise
from autonas.reporting.report import FinalTrial, Report, SeedNoise, Standing
from autonas.reporting.summary import summary
from autonas.trial import Score, StudyRecord

__all__ = ["Report", "build_report", "finals", "front_json"]


def build_report(study: StudyRecord) -> Report:
    """Everything a report says, a pure function of the record. A study without a finished trial has a report that says so."""
    objectives = tuple(OBJECTIVES[name] for name in study.recipe["objectives"])
    reached = finals(study)
    noise = seed_noise(reached)
    placed = [trial for trial in reached if all(objective.name in trial.scores for objective in objectives)]
    unplaced = tuple(trial.number for trial in reached if trial not in placed)
    standings = _standings(placed, objectives, noise)
    nats = uncertainty.document_nats(placed)
    num_documents = None if nats is None else nats.shape[1]
    rungs = history.rung_summaries(study)
    return Report(
        study=study,
        objectives=objectives,
        rung_tokens=rung_tokens(study),
        standings=standings,
        unplaced=unplaced,
        seed_noise=noise,
        num_draws=uncertainty.num_draws_for(len(placed)),
        num_documents=num_documents,
        hypervolume=history.hypervolume(study, placed, objectives),
        hypervolume_rule=history.hypervolume_rule(objectives),
        rungs=rungs,
        dropped=history.dropped(study),
        stopped=tuple(trial for trial in study.trials if trial.state == "stopped"),
        alarms=alarms(standings, objectives, noise, num_documents=num_documents, unplaced=unplaced),
        train_seconds=sum(outcome.seconds for trial in study.trials for outcome in trial.rungs),
        elapsed_s=history.elapsed_s(study),
        summary=summary(study, standings, objectives, noise, rungs),
    )


def front_json(study: StudyRecord) -> list[dict[str, Any]]:
    """What `autonas front --json` prints: the front's trials, best first objective first. `seeds` counts trainings."""
    return [_entry(standing) for standing in build_report(study).front]


def _standings(trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise) -> tuple[Standing, ...]:
    if not trials:
        return ()
    rows = history.values(trials, objectives)
    on_front = pareto.non_dominated(rows)
    knee = pareto.knee(rows)
    probabilities = uncertainty.front_probabilities(
        uncertainty.draw_scores(trials, objectives, noise, uncertainty.num_draws_for(len(trials)))
    )
    with_loss = [trial for trial in trials if "val_loss" in trial.scores]
    best = min(with_loss, key=lambda trial: (trial.scores["val_loss"].value, trial.number), default=None)
    standings = [
        Standing(
            trial=trial,
            on_front=bool(on_front[i]),
            probability=float(probabilities[i]),
            is_knee=i == knee,
            difference=None if best is None else uncertainty.difference(trial, best, noise),
        )
        for i, trial in enumerate(trials)
    ]
    first = objectives[0].name
    return tuple(sorted(standings, key=lambda s: (not s.on_front, s.trial.scores[first].value, s.number)))


def _entry(standing: Standing) -> dict[str, Any]:
    trial = standing.trial
    entry: dict[str, Any] = {
        "trial": trial.number,
        "fingerprint": trial.spec.fingerprint,
        "spec": trial.spec.to_dict(),
        "scores": {name: _score_entry(score) for name, score in trial.scores.items()},
        "rung": trial.outcome.rung,
        "seeds": trial.seeds,
        "tokens": trial.outcome.tokens,
        "probability": standing.probability,
        "knee": standing.is_knee,
        "repeats": [run.number for run in trial.runs[1:]],
    }
    if standing.difference is not None:
        entry["difference"] = {"value": standing.difference.value, "error": standing.difference.error}
    return entry


def _score_entry(score: Score) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": score.value, "low": score.low, "high": score.high, "unit": score.unit}
    if score.n is not None:
        entry["n"] = score.n
    if score.note:
        entry["note"] = score.note
    return entry
