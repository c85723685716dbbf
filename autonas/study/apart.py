"""Jobs of a study that are no trial's: the sweep of learning rates, and latencies. They leave only what they measured."""

from __future__ import annotations

import dataclasses
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autonas.arch import ArchSpec
from autonas.errors import ClusterError, InfeasibleArch
from autonas.policy import calibration
from autonas.study.files import trial_folder
from autonas.trial import Budget, Job, JobSpan, Outcome, Score, TrainingSettings, to_json

if TYPE_CHECKING:
    from autonas.study.search import Search

# Such jobs have no trial in the ledger; their names and folders are told apart by these numbers.
_LATENCY_TRIAL = 90_000
CALIBRATION_TRIAL = 95_000


def run_apart(search: Search, jobs: Sequence[Job], ended: Callable[[Job, Outcome], None]) -> None:
    """Run jobs that are no trial's, as many at once as there is room for; trials that end meanwhile are remembered.

    A job whose worker was lost is tried again as often as a trial's would be.
    """
    waiting, under_way = deque(jobs), dict[int, Job]()
    tries: dict[int, int] = {}
    while waiting or under_way:
        while waiting and len(search.running) + len(under_way) < search.engine.capacity:
            job = waiting.popleft()
            under_way[job.trial] = job
            # Its limit is told by now, and not when it was made: it may have waited long for its turn.
            search.engine.start(dataclasses.replace(job, time_limit_s=search.clock.job_limit_s()))
        for outcome in search.engine.wait():
            asked = under_way.get(outcome.trial)
            if asked is None:
                search.remember(outcome)
            elif outcome.attempt == asked.attempt:
                del under_way[outcome.trial]
                tries[outcome.trial] = tries.get(outcome.trial, 0) + 1
                if search.is_worth_retrying(outcome, tries[outcome.trial] - 1):
                    waiting.appendleft(dataclasses.replace(asked, attempt=search.next_attempt()))
                else:
                    ended(asked, outcome)


def measure_latency(search: Search, spec: ArchSpec, number: int) -> tuple[dict[str, Score], JobSpan | None]:
    """The latency scores of the architecture that may become trial `number`, and the job that measured them.

    Raises:
        InfeasibleArch: it cannot be measured.
        ClusterError: its worker was lost again and again.
    """
    budget = Budget(rung=0, tokens=0, cooldown_tokens=0)
    outcomes: list[Outcome] = []
    job = search.job("latency", _LATENCY_TRIAL + number, spec, budget, objectives=("latency",))
    run_apart(search, [job], lambda _, outcome: outcomes.append(outcome))
    (outcome,) = outcomes
    if outcome.failure is not None and outcome.failure.kind == "preempted":
        # No fault of the architecture, which would be told infeasible for ever.
        raise ClusterError(f"a latency could not be measured: {outcome.failure.message}. Go on with --resume.")
    if outcome.failure is not None:
        raise InfeasibleArch("latency", f"its latency could not be measured: {outcome.failure.message}")
    return dict(outcome.scores), outcome.span


def calibrate(search: Search) -> TrainingSettings:
    """The study's base learning rate: as the recipe says, or measured once and then read from the ledger."""
    sweep, training = search.recipe.calibration, search.recipe.training
    if not sweep.enabled:
        return training
    shapes = calibration.calibration_shapes(search.recipe.space, search.recipe.search.seed)
    points = calibration.points(shapes, sweep)
    # In the points' order, whatever the order of their ends; None for those that are still to be measured.
    stored = (search.ledger.read().attributes.get("calibration") or {}).get("points", [])
    measured = [_find(stored, point) for point in points]

    def ended(job: Job, outcome: Outcome) -> None:
        number = job.trial - CALIBRATION_TRIAL
        shutil.rmtree(trial_folder(search.folder, job.trial), ignore_errors=True)
        measured[number] = _entry(points[number], outcome)
        search.ledger.set_attribute("calibration", {"points": [entry for entry in measured if entry is not None]})
        search.keep_time()

    jobs = [_calibration_job(search, number, point) for number, point in enumerate(points) if measured[number] is None]
    if jobs:
        rates = ", ".join(f"{rate:g}" for rate in sorted(sweep.rates))
        search.watcher.say(f"calibrating the learning rate: {rates} on {len(shapes)} shapes, {len(jobs)} runs to go")
    run_apart(search, jobs, ended)
    entries = [entry for entry in measured if entry is not None]
    assert len(entries) == len(points)
    choice = calibration.choose(list(zip(points, [entry["val_loss"] for entry in entries], strict=True)))
    search.ledger.set_attribute(
        "calibration",
        {
            "points": entries,
            "chosen": choice.rate,
            "regret": dict(choice.regret),
            "note": choice.note,
            "at_edge": choice.at_edge,
        },
    )
    search.watcher.say(f"learning rate: {choice.note}")
    return dataclasses.replace(training, learning_rate=choice.rate)


def _calibration_job(search: Search, number: int, point: calibration.Point) -> Job:
    tokens = search.recipe.calibration.tokens
    budget = Budget(rung=0, tokens=tokens, cooldown_tokens=max(1, round(tokens * search.recipe.search.cooldown_share)))
    job = search.job("train", CALIBRATION_TRIAL + number, point.spec, budget, objectives=("val_loss",))
    # The rate is a setting here and not part of the spec, whose fingerprint draws the weights: all rates begin alike. One that
    # diverges must fail: going on at half of it would be the score of another rate.
    training = dataclasses.replace(search.recipe.training, learning_rate=point.rate, rollbacks=0)
    return dataclasses.replace(job, training=training)


def _entry(point: calibration.Point, outcome: Outcome) -> dict[str, Any]:
    return {
        "shape": to_json(point.spec),
        "rate": point.rate,
        "val_loss": outcome.scores["val_loss"].value if outcome.ok else None,
        "failure": None if outcome.failure is None else outcome.failure.kind,
        "tokens": outcome.tokens,
        "seconds": outcome.seconds,
        "span": to_json(outcome.span),
    }


def _find(stored: Sequence[dict[str, Any]], point: calibration.Point) -> dict[str, Any] | None:
    shape = to_json(point.spec)
    return next((entry for entry in stored if entry["rate"] == point.rate and entry["shape"] == shape), None)
