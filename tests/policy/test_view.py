"""A study as arrays: what is kept up change by change is what a look at the whole record gives."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest

from autonas.policy.problem import SpaceProblem
from autonas.policy.view import View
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord
from tests.policy.test_adaptive import SPACE

OBJECTIVES = ("val_loss", "params", "collapse_rate")
NUM_RUNGS = 3
ARRAYS = (
    "numbers",
    "values",
    "variances",
    "before",
    "reached",
    "features",
    "pace",
    "efforts",
    "scored",
    "paused",
)
FACTS = ("known", "fresh", "at_end", "num_begun", "num_outcomes", "seconds", "trailing_infeasible")


def outcome(trial: int, rung: int, draws: random.Random) -> Outcome:
    loss = 4.0 + draws.random()
    scores = {"val_loss": Score(value=loss, low=loss - 0.1, high=loss + 0.1, unit="nats/token")}
    if rung == NUM_RUNGS - 1:
        scores["collapse_rate"] = Score(value=0.2, low=0.1, high=0.4, unit="share")
    seconds = draws.random()
    return Outcome(kind="train", trial=trial, attempt=1, rung=rung, seconds=seconds, scores=scores, tokens=100, new_tokens=50)


def changed(trials: list[TrialRecord], problem: SpaceProblem, draws: random.Random) -> None:
    """One thing that may happen in a study."""
    live = [trial for trial in trials if trial.state == "live"]
    kind = draws.choice(["begin", "infeasible", "retry", "repeat", *["rung"] * 4, "end"])
    number = len(trials)
    if kind in ("begin", "infeasible") or not live:
        (params,) = problem.draw(np.random.default_rng(draws.randrange(2**32)), 1)
        exact = {"params": Score.exact(float(draws.randrange(1, 10**6)), "parameters")}
        trials.append(
            TrialRecord(number=number, state="live", params=params, spec=None, scores=exact)
            if kind != "infeasible"
            else TrialRecord(number=number, state="infeasible", params=params, spec=None)
        )
        return
    picked = draws.choice(live)
    if kind == "rung" and len(picked.rungs) < NUM_RUNGS:
        rungs = (*picked.rungs, outcome(picked.number, len(picked.rungs), draws))
        trials[picked.number] = dataclasses.replace(picked, rungs=rungs)
    elif kind == "repeat" and (ended := [t for t in trials if t.state == "complete" and t.repeat_of is None]):
        original = draws.choice(ended)
        trials.append(dataclasses.replace(original, number=number, state="live", rungs=(), repeat_of=original.number))
    elif kind == "retry" and picked.repeat_of is None:
        trials[picked.number] = dataclasses.replace(picked, state="failed")
        trials.append(dataclasses.replace(picked, number=number, rungs=(), retry_of=picked.number))
    elif kind == "end" and picked.rungs:
        ends = ["complete"] if len(picked.rungs) == NUM_RUNGS else ["stopped", "failed", "infeasible"]
        trials[picked.number] = dataclasses.replace(picked, state=draws.choice(ends))  # type: ignore[arg-type]


def seen(view: View) -> dict[str, Any]:
    groups = {name: getattr(view, name) for name in FACTS}
    return {**groups, "fresh": set(view.fresh), "at_end": set(view.at_end)}


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_up_is_what_the_whole_record_says(seed: int) -> None:
    draws = random.Random(seed)
    problem = SpaceProblem(SPACE, OBJECTIVES)
    view, trials = View(problem, NUM_RUNGS), list[TrialRecord]()
    for _ in range(250):
        for _ in range(draws.choice([1, 1, 1, 5])):
            changed(trials, problem, draws)
        study = StudyRecord(name="s", recipe={}, attributes={}, trials=tuple(trials))
        view.update(study)
    fresh = View(problem, NUM_RUNGS)
    fresh.update(study)
    assert sorted(view.numbers) == sorted(fresh.numbers)
    order = [[each.row(int(number)) for number in sorted(view.numbers)] for each in (view, fresh)]
    for name in ARRAYS:
        kept, whole = (getattr(each, name)[rows] for each, rows in zip((view, fresh), order, strict=True))
        np.testing.assert_array_equal(kept, whole, err_msg=name)
    kept, whole = seen(view), seen(fresh)
    assert kept.pop("seconds") == pytest.approx(whole.pop("seconds"))
    assert kept == whole


def test_who_waits_who_is_at_the_end_and_who_needs_a_first_job_is_told_apart() -> None:
    problem = SpaceProblem(SPACE, OBJECTIVES)
    draws = random.Random(0)
    params = problem.draw(np.random.default_rng(0), 5)
    rungs = [0, 1, 2, 3, 3]
    states = ["live", "live", "stopped", "live", "complete"]
    trials = tuple(
        TrialRecord(
            number=n,
            state=state,  # type: ignore[arg-type]
            params=params[n],
            spec=None,
            rungs=tuple(outcome(n, rung, draws) for rung in range(rungs[n])),
        )
        for n, state in enumerate(states)
    )
    view = View(problem, NUM_RUNGS)
    view.update(StudyRecord(name="s", recipe={}, attributes={}, trials=trials))
    assert (list(view.fresh), list(view.at_end)) == ([0], [3])
    assert view.numbers[view.paused].tolist() == [1, 3]
    assert view.numbers[view.scored].tolist() == [3, 4]
