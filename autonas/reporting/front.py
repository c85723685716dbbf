"""The report of a study, worked out from its ledger: standings with their probabilities, and everything around them.

The entry of the package for data; numpy only. HTML is in pages/, the terminal's table in text.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.objective import OBJECTIVES, Objective
from autonas.reporting import history, uncertainty, volume
from autonas.reporting.alarms import alarms
from autonas.reporting.control import random_control
from autonas.reporting.finals import finals, rung_tokens, seed_noise
from autonas.reporting.nearness import within_noise
from autonas.reporting.prospect import prospect
from autonas.reporting.report import FinalTrial, HypervolumePoint, Report, SeedNoise, Standing
from autonas.reporting.spending import spending_rule
from autonas.reporting.summary import summary
from autonas.trial import Score, StudyRecord

__all__ = ["Report", "build_report", "finals", "front_json", "hypervolume_so_far"]


def build_report(study: StudyRecord) -> Report:
    """Everything a report says, a pure function of the record. A study without a finished trial has a report that says so."""
    objectives = tuple(OBJECTIVES[name] for name in study.recipe["objectives"])
    reached = finals(study)
    noise = seed_noise(reached)
    placed = [trial for trial in reached if all(objective.name in trial.scores for objective in objectives)]
    unplaced = tuple(trial.number for trial in reached if trial not in placed)
    num_draws = uncertainty.num_draws_for(len(placed))
    draws = uncertainty.draw_scores(placed, objectives, noise, num_draws) if placed else None
    standings = _standings(placed, objectives, noise, draws)
    nats = uncertainty.document_nats(placed)
    num_documents = None if nats is None else nats.shape[1]
    rungs = history.rung_summaries(study)
    train_seconds = sum(outcome.seconds for trial in study.trials for outcome in trial.rungs)
    train_tokens = sum(outcome.new_tokens for trial in study.trials for outcome in trial.rungs)
    box = volume.spanned_box(study, placed, objectives) if placed else None
    points: tuple[HypervolumePoint, ...] = ()
    control = None
    if box is not None:
        points = volume.hypervolume(study, placed, objectives, noise)
        rows = volume.likely(placed, objectives, noise)
        numbers = [trial.number for trial in placed]
        control = random_control(study, numbers, rows, box, train_seconds, train_tokens, points[-1].elapsed_s)
    return Report(
        study=study,
        objectives=objectives,
        rung_tokens=rung_tokens(study),
        standings=standings,
        unplaced=unplaced,
        seed_noise=noise,
        num_draws=num_draws,
        num_documents=num_documents,
        hypervolume=points,
        hypervolume_measured=None if box is None else volume.volume_of(history.values(placed, objectives), box),
        hypervolume_rule="" if box is None else f"{volume.rule(box)} {spending_rule(study)}",
        reference={} if box is None else box.reference(),
        reference_is_fixed=box is not None and box.is_fixed,
        control=control,
        prospect=prospect(points, sum(o.seconds for t in study.trials if t.repeat_of is None for o in t.rungs)),
        rungs=rungs,
        dropped=history.dropped(study),
        stopped=tuple(trial for trial in study.trials if trial.state == "stopped"),
        alarms=alarms(standings, objectives, noise, num_documents=num_documents, unplaced=unplaced),
        train_seconds=train_seconds,
        train_tokens=train_tokens,
        elapsed_s=history.elapsed_s(study),
        summary=summary(study, standings, objectives, noise, rungs),
    )


def hypervolume_so_far(study: StudyRecord) -> float | None:
    """The hypervolume without its interval: quick enough to ask after every trial. None without a final trial."""
    objectives = tuple(OBJECTIVES[name] for name in study.recipe["objectives"])
    reached = finals(study)
    placed = [trial for trial in reached if all(objective.name in trial.scores for objective in objectives)]
    if not placed:
        return None
    rows = volume.likely(placed, objectives, seed_noise(reached))
    return volume.volume_of(rows, volume.spanned_box(study, placed, objectives))


def front_json(study: StudyRecord) -> list[dict[str, Any]]:
    """What `autonas front --json` prints: the front's trials, best first objective first. `seeds` counts trainings.

    `within_noise` names the trials that one dominates, but that are off the front by no more than noise.
    """
    return front_entries(build_report(study))


def front_entries(report: Report) -> list[dict[str, Any]]:
    """As `front_json`, of a report."""
    return [_entry(standing, _close_behind(standing, report)) for standing in report.front]


def _standings(
    trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise, draws: NDArray[np.float64] | None
) -> tuple[Standing, ...]:
    if draws is None:
        return ()
    rows = history.values(trials, objectives)
    on_front = pareto.non_dominated(rows)
    knee = pareto.knee(rows)
    near = within_noise(trials, objectives, noise)
    probabilities = uncertainty.front_probabilities(draws)
    with_loss = [trial for trial in trials if "val_loss" in trial.scores]
    best = min(with_loss, key=lambda trial: (trial.scores["val_loss"].value, trial.number), default=None)
    standings = [
        Standing(
            trial=trial,
            on_front=bool(on_front[i]),
            within_noise=bool(near[i]),
            probability=float(probabilities[i]),
            is_knee=i == knee,
            difference=None if best is None else uncertainty.difference(trial, best, noise),
        )
        for i, trial in enumerate(trials)
    ]
    first = objectives[0].name
    return tuple(sorted(standings, key=lambda s: (not s.on_front, s.trial.scores[first].value, s.number)))


def _close_behind(standing: Standing, report: Report) -> list[int]:
    mine, *others = (
        [s.trial.scores[objective.name].value for objective in report.objectives] for s in (standing, *report.near)
    )
    behind = (all(a <= b for a, b in zip(mine, values, strict=True)) for values in others)
    return sorted(near.number for near, is_behind in zip(report.near, behind, strict=True) if is_behind)


def _entry(standing: Standing, within_noise: list[int]) -> dict[str, Any]:
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
        "within_noise": within_noise,
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
