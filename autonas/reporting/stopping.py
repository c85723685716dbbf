"""Why trials were stopped, as far as the ledger shows: how each stood where it was stopped, and who went on from there.

A scheduler judges trials at one rung by what is known there: losses at that rung and what was known before training. The ledger
keeps these scores and who went on. It does not keep which trials had been scored by then, nor forecasts: what is said is how
things stand in the ledger now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.reporting.quantities import tokens_text
from autonas.reporting.report import Report
from autonas.trial import StudyRecord, TrialRecord

Array = NDArray[np.float64]
_NAMED = 3  # trials that are named; the rest are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a stopped trial stood at the rung where it was stopped, by the objectives that are judged there."""

    trial: int
    rung: int
    tokens: int
    loss: float | None  # nats per token, at that rung
    rank: int | None  # by that loss, 1 for the lowest, among `scored`
    scored: int  # trials scored there that are no repeats and did not fail
    judged: tuple[str, ...]  # titles of the objectives
    went_on: int  # of the scored
    num_ahead: int  # of them, at least as good in every objective judged there
    ahead: tuple[int, ...]  # the first few of these, the lowest loss first
    num_resting_ahead: int  # the same of trials that have not gone on
    resting_ahead: tuple[int, ...]


def stops(report: Report) -> tuple[Stop, ...]:
    """Every stopped trial, rung by rung, the lowest loss first."""
    rungs: dict[int, list[int]] = {}
    for trial in report.stopped:
        if trial.rungs and trial.repeat_of is None:
            rungs.setdefault(trial.rungs[-1].rung, []).append(trial.number)
    found = [stop for rung, numbers in sorted(rungs.items()) for stop in _at_rung(report, rung, numbers)]
    return tuple(sorted(found, key=lambda stop: (stop.rung, stop.rank or math.inf, stop.trial)))


def stop_text(report: Report, trial: TrialRecord) -> str:
    """Why a trial was stopped, in a sentence or two; empty for a trial that was not."""
    if trial.state != "stopped":
        return ""
    if not trial.rungs or trial.repeat_of is not None:
        return "Stopped; why cannot be told: it was not judged at a rung."
    (stop,) = _at_rung(report, trial.rungs[-1].rung, [trial.number])
    return text_of(stop)


def text_of(stop: Stop) -> str:
    """A stop in a sentence or two."""
    judged = _listed(stop.judged)
    place = f"Stopped at rung {stop.rung} ({tokens_text(stop.tokens)} tokens)"
    if stop.loss is not None and stop.rank is not None:
        place += f" with a loss of {stop.loss:.3f}, {_ordinal(stop.rank)} of {stop.scored} scored there"
    if stop.num_ahead:
        verb = "was" if stop.num_ahead == 1 else "were"
        return f"{place}: {_trials(stop.ahead, stop.num_ahead)} went on and {verb} at least as good in {judged}."
    if stop.num_resting_ahead:
        verbs = ("was", "has") if stop.num_resting_ahead == 1 else ("were", "have")
        others = _trials(stop.resting_ahead, stop.num_resting_ahead)
        return (
            f"{place}: no trial that went on was at least as good in {judged}; {others} {verbs[0]}, and {verbs[1]} not gone on "
            "either."
        )
    went_on = f"{stop.went_on or 'none'} went on"
    return f"{place}: no trial was at least as good in {judged}; {went_on}, and it was not chosen."


def rule_text(study: StudyRecord) -> str:
    """How the study's scheduler decides who is stopped, and what of it cannot be told from the ledger."""
    budget = study.recipe["budget"]
    scheduler = budget.get("scheduler", "auto")
    if scheduler == "auto":
        scheduler = "gain" if budget.get("sampler", "autonas") == "autonas" else "pareto"
    factor, least = budget.get("reduction_factor"), budget.get("min_survivors")
    share = "a part of its trials" if factor is None else f"about one trial in {factor:g}"
    share += "" if factor is None or least is None else f", but no fewer than {least},"
    no_stops = "Every trial goes to the end: nothing is stopped but for want of time."
    told = {
        "gain": "The scheduler goes on with the job of the largest expected gain in hypervolume for its price. It stops a "
        "waiting trial whose forecast is, as good as surely, dominated by a finished one, and the others when no tokens are "
        "left for them; the forecasts are not in the ledger.",
        "pareto": f"The scheduler lets {share} go on from a rung: the best in each objective, then by non-dominated rank and, "
        "within a rank, the one farthest from those chosen. When no more trials come, the others are stopped.",
        "full": no_stops,
        "curves": no_stops,
    }.get(scheduler, "How the scheduler decides cannot be told: the recipe names one that this version does not know.")
    closed = study.attributes.get("closed")
    short = isinstance(closed, str) and closed.startswith("time is up;")
    return f"{told} Some were stopped because the study's time was up; which cannot be told." if short else told


def _at_rung(report: Report, rung: int, numbers: Sequence[int]) -> list[Stop]:
    """The stopped trials of these numbers among all that were scored at the rung."""
    judged = [objective for objective in report.objectives if objective.known != "final"]
    judged = [objective for objective in judged if not objective.before_training] + [o for o in judged if o.before_training]
    here = [t for t in report.study.trials if len(t.rungs) > rung and t.repeat_of is None and t.state != "failed"]
    rows = np.array([_row(trial, rung, judged) for trial in here], dtype=np.float64).reshape(len(here), len(judged))
    losses = [_loss(trial, rung) for trial in here]
    order = np.sort([loss for loss in losses if loss is not None])
    on = np.array([len(trial.rungs) > rung + 1 or trial.state == "complete" for trial in here], dtype=bool)
    of_number = np.array([trial.number for trial in here])
    places: Mapping[int, int] = {trial.number: i for i, trial in enumerate(here)}
    best_first = np.argsort([math.inf if loss is None else loss for loss in losses], kind="stable")
    columns, of_number, on = rows[best_first].T, of_number[best_first], on[best_first]
    result = []
    for number in numbers:
        own, loss = rows[places[number]], losses[places[number]]
        ahead = of_number != number
        for column, value in zip(columns, own, strict=True):
            ahead &= column <= value  # where a score is missing, NaN, nobody is
        went, rested = of_number[ahead & on], of_number[ahead & ~on]
        result.append(
            Stop(
                trial=number,
                rung=rung,
                tokens=report.rung_tokens[rung],
                loss=loss,
                rank=None if loss is None else int(np.searchsorted(order, loss)) + 1,
                scored=len(here),
                judged=tuple(_named(objective) for objective in judged),
                went_on=int(on.sum()),
                num_ahead=len(went),
                ahead=tuple(went[:_NAMED].tolist()),
                num_resting_ahead=len(rested),
                resting_ahead=tuple(rested[:_NAMED].tolist()),
            )
        )
    return result


def _row(trial: TrialRecord, rung: int, judged: Sequence[Objective]) -> list[float]:
    scores = [trial.score(objective.name, rung) for objective in judged]
    return [math.nan if score is None else score.value for score in scores]


def _loss(trial: TrialRecord, rung: int) -> float | None:
    score = trial.rungs[rung].scores.get("val_loss")
    return None if score is None else score.value


def _named(objective: Objective) -> str:
    return objective.title[:1].lower() + objective.title[1:]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _trials(first: Sequence[int], count: int) -> str:
    if count == 1:
        return f"trial {first[0]}"
    if count == len(first):
        return f"trials {_listed([str(number) for number in first])}"
    return f"trials {', '.join(map(str, first))} and {count - len(first)} more"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
