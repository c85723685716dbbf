"""What each rung saw, and what was dropped; how values are compared, and when things were."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autonas import pareto
from autonas.objective import OBJECTIVES
from autonas.reporting import history
from autonas.reporting.finals import finals
from autonas.trial import Score
from tests.reporting.studies import OBJECTIVES as NAMES
from tests.reporting.studies import make_study

JUDGED = tuple(OBJECTIVES[name] for name in NAMES)


def test_a_ratio_of_sizes_counts_the_same_at_every_size() -> None:
    trials = finals(make_study())[:3]
    sized = [
        dataclasses.replace(trial, scores={**trial.scores, "params": Score.exact(size, "parameters")})
        for trial, size in zip(trials, (1e5, 1e6, 1e7), strict=True)
    ]
    np.testing.assert_allclose(pareto.normalised(history.values(sized, JUDGED))[:, 1], [0, 0.5, 1])


@pytest.mark.parametrize("seed", range(4))
def test_every_trial_that_reached_a_rung_is_accounted_for_there(seed: int) -> None:
    study = make_study(seed=seed, failures=2)
    rungs = history.rung_summaries(study)
    for rung in rungs:
        assert rung.scored == rung.advanced + rung.stopped + rung.infeasible + rung.waiting
    assert rungs[1].scored + rungs[1].failed == rungs[0].advanced
    begun = [t for t in study.trials if t.repeat_of is None and t.state != "infeasible"]
    assert rungs[0].scored + rungs[0].failed == len(begun)


def test_a_trial_that_fails_after_a_rung_had_gone_on_from_it() -> None:
    study = make_study(failures=0)
    broken = next(trial for trial in study.trials if trial.state == "complete")
    changed = dataclasses.replace(broken, state="failed", failure="nan", reason="NaN", rungs=broken.rungs[:1])
    trials = tuple(changed if trial.number == broken.number else trial for trial in study.trials)
    first, last = history.rung_summaries(dataclasses.replace(study, trials=trials))
    assert first.advanced == 6 and last.scored == 5 and last.failed == 1


def test_repeats_are_not_counted_as_candidates() -> None:
    one, other = history.rung_summaries(make_study(repeats=0)), history.rung_summaries(make_study(repeats=3))
    assert [rung.scored for rung in one] == [rung.scored for rung in other]


def test_infeasible_trials_are_counted_by_the_rule_they_break() -> None:
    study = make_study(infeasible=7)
    entries = history.dropped(study)
    rules = {entry.reason: entry for entry in entries if entry.how == "infeasible"}
    assert set(rules) == {"width % heads == 0", "params"}
    assert sum(entry.count for entry in rules.values()) == 7
    assert all(entry.example.nearest for entry in rules.values())
    assert [entry.reason for entry in entries if entry.how == "failed"] == ["diverged"]


def test_time_comes_from_the_ledger_however_it_is_written() -> None:
    study = make_study()
    assert history.elapsed_s(study) == 452.0
    told = {key: value for key, value in study.attributes.items() if key != "spent_s"}
    assert history.elapsed_s(dataclasses.replace(study, attributes=told)) == 452.0
    running = {**told, "ended_at": None, "started_at": "2026-03-14T09:26:53"}
    assert history.elapsed_s(dataclasses.replace(study, attributes=running)) == pytest.approx(440.0)
    assert history.elapsed_s(dataclasses.replace(study, attributes={})) is None
