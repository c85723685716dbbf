"""A promotion's prediction: made from its study before the run, written into the run's folder, and checked when it has ended.

How it is reckoned is in policy/prediction.py. `prediction.json` holds it; `evaluation.json` gets a `prediction_check`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.objective import Objective
from autonas.policy.arms import SMALLEST_EFFECT
from autonas.policy.extrapolation import Curve
from autonas.policy.prediction import (
    Checked,
    Ending,
    Predicted,
    ReplicaEnd,
    check,
    predict_collapse,
    predict_loss,
    prediction_text,
)
from autonas.policy.replica import FullRun, Replica, block_params
from autonas.promotion.replicas import Choice
from autonas.reporting.finals import finals, seed_noise
from autonas.reporting.report import FinalTrial, Report
from autonas.run_folder import write_json
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord, from_json, to_json

RECORD = "prediction.json"
_LOSSES = ("val_loss", "bits_per_byte")
_AS_MUCH = 1.05  # times the pick's score passes for no more


def predict_run(
    study: StudyRecord,
    trial: int,
    full: FullRun,
    *,
    replica: Replica | None = None,
    choice: Choice | None = None,
    revised: Mapping[str, Score] | None = None,
    new_seeds: int = 0,
) -> dict[str, Predicted]:
    """The scores that the full run of this trial of the study's front will end with; `choice` is what its replicas said.

    `revised` are its scores at the last rung after a second look with so many `new_seeds`, in place of the study's.
    """
    revised = revised or {}
    own = [each for each in study.trials if each.rungs and trial in (each.number, each.repeat_of) and each.state != "failed"]
    curves = [_curve([each]) for each in study.trials if each.rungs and each.spec is not None and each.repeat_of is None]
    ended = None if replica is None or choice is None else replica_end(replica, choice)
    run = ending(full)
    noise = seed_noise(finals(study)).deviation
    curve = _curve(own)
    if "val_loss" in revised:
        curve = dataclasses.replace(curve, losses=(*curve.losses[:-1], revised["val_loss"].value))
    found = {"val_loss": predict_loss(curves, curve, run, noise=noise, seeds=len(own) + new_seeds, replica=ended)}
    last = own[0].rungs[-1]
    collapse = last.scores.get("collapse_rate")
    if collapse is not None:
        if (better := revised.get("collapse_rate")) is not None:  # the run is measured with as many samples as the trial was
            collapse = dataclasses.replace(better, n=collapse.n)
        found["collapse_rate"] = predict_collapse(collapse, last.tokens, run, ended)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaking:
    """Another trial of the front that is predicted to end its full run with a lower loss than the pick, at hardly more cost."""

    trial: int
    predicted: Predicted  # its loss
    text: str


def overtaking(
    report: Report, trial: int, full: FullRun, predicted: Mapping[str, Predicted], limits: Mapping[str, float]
) -> Overtaking | None:
    """Of the front's trials within the limits, the one that is predicted to end lowest; None where that is the picked `trial`.

    It has to be lower than the pick's run as `predicted` by what is worth a choice, and in nothing else worse than the pick by
    more than a twentieth, unless chance explains it.
    """
    own = next(standing.trial for standing in report.standings if standing.number == trial)
    found: Overtaking | None = None
    for standing in report.front:
        other = standing.trial
        if other.number == trial or not _costs_no_more(other, own, report.objectives):
            continue
        if any(other.scores[name].value > most for name, most in limits.items()):
            continue
        loss = predict_run(report.study, other.number, dataclasses.replace(full, spec=other.spec))["val_loss"]
        least = predicted["val_loss"].value - SMALLEST_EFFECT if found is None else found.predicted.value
        if loss.value < least:
            text = (
                f"By its learning curve trial {other.number} would end lower, with val_loss {prediction_text(loss)}, "
                f"and costs as much, to a twentieth, or less: --trial {other.number} promotes it."
            )
            found = Overtaking(trial=other.number, predicted=loss, text=text)
    return found


def _costs_no_more(other: FinalTrial, own: FinalTrial, objectives: Sequence[Objective]) -> bool:
    for objective in objectives:
        if objective.name in _LOSSES:
            continue
        its, mine = other.scores[objective.name], own.scores[objective.name]
        if its.value > mine.value * _AS_MUCH and its.low > mine.high:
            return False
    return True


def replica_end(replica: Replica, choice: Choice) -> ReplicaEnd | None:
    """How the replica ended with the values that the run has; None where none did."""
    same = [outcome for arm, outcome in choice.outcomes if dict(arm.changes) == dict(choice.values) and outcome.ok]
    if not same:
        return None
    rates = [outcome.scores["collapse_rate"] for outcome in same if "collapse_rate" in outcome.scores]
    return ReplicaEnd(
        ending=ending(replica.run),
        loss=math.fsum(outcome.scores["val_loss"].value for outcome in same) / len(same),
        seeds=len(same),
        collapse_rate=_mean(rates) if rates else None,
    )


def _mean(rates: list[Score]) -> Score:
    """A typical one of these: its interval is not narrower for there being several."""
    value, low, high = (math.fsum(getattr(rate, end) for rate in rates) / len(rates) for end in ("value", "low", "high"))
    return Score(value=value, low=min(low, value), high=max(high, value), unit=rates[0].unit, n=rates[0].n)


def _curve(runs: list[TrialRecord]) -> Curve:
    """The learning curve of an architecture, whose losses are means over those of its trainings that reached a rung."""
    longest = max(runs, key=lambda run: len(run.rungs))
    spec: ArchSpec | None = longest.spec
    assert spec is not None
    return Curve(
        tokens=tuple(outcome.tokens for outcome in longest.rungs),
        losses=tuple(_loss([run.rungs[rung] for run in runs if len(run.rungs) > rung]) for rung in range(len(longest.rungs))),
        block_params=block_params(spec),
    )


def _loss(outcomes: list[Outcome]) -> float:
    return math.fsum(outcome.scores["val_loss"].value for outcome in outcomes) / len(outcomes)


def ending(run: FullRun) -> Ending:
    """A run as its prediction sees it."""
    return Ending(
        tokens=run.tokens,
        unique_tokens=run.num_windows * run.spec.context_length,
        params=cost.count_params(run.spec),
    )


def predictions_text(predicted: Mapping[str, Predicted]) -> str:
    """All of them, in a sentence."""
    return "It is predicted to end with " + " and ".join(f"{name} {prediction_text(p)}" for name, p in predicted.items()) + "."


def write_prediction(folder: Path, predicted: Mapping[str, Predicted]) -> None:
    """Keep the prediction beside its run. Raises ResourceError."""
    write_json(folder / RECORD, {**to_json(predicted), "text": predictions_text(predicted)})


def check_prediction(folder: Path) -> list[str]:
    """Put the prediction's check into the evaluation of the run in `folder`; returns it in words, nothing where none was made.

    Raises:
        ResourceError: the evaluation cannot be written.
    """
    try:
        written = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        predicted = {name: from_json(Predicted, value) for name, value in written.items() if name != "text"}
        evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        scores = {name: from_json(Score, value) for name, value in evaluation["scores"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # no promotion's, or one of an earlier version
    checked = check(predicted, scores)
    write_json(folder / "evaluation.json", {**evaluation, "prediction_check": _record(checked)})
    return [f"prediction of {name}: {each.text}" for name, each in checked.items()]


def _record(checked: Mapping[str, Checked]) -> dict[str, Any]:
    return {
        name: {
            "predicted": each.predicted.value,
            "measured": each.measured,
            "intervals": to_json(each.predicted.intervals),
            "within": each.within,
            "text": each.text,
        }
        for name, each in checked.items()
    }
