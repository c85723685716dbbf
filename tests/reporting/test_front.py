"""The report as data, and what `autonas front --json` prints."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from autonas import pareto
from autonas.arch import ArchSpec
from autonas.reporting.front import build_report, front_json
from autonas.reporting.history import values
from autonas.trial import StudyRecord, TrialState, from_json, to_json
from tests.reporting.studies import make_study


def only(study: StudyRecord, *states: TrialState) -> StudyRecord:
    return dataclasses.replace(study, trials=tuple(trial for trial in study.trials if trial.state in states))


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_no_final_trial_dominates(seed: int) -> None:
    report = build_report(make_study(trials=25, survivors=20, seed=seed))
    rows = values([standing.trial for standing in report.standings], report.objectives)
    assert [standing.on_front for standing in report.standings] == list(pareto.non_dominated(rows))
    flags = [standing.on_front for standing in report.standings]
    assert flags == sorted(flags, reverse=True), "the front comes first"
    assert report.knee is not None and report.knee.on_front
    assert sum(standing.is_knee for standing in report.standings) == 1


def test_every_final_trial_has_a_probability_and_the_front_has_the_greater_ones() -> None:
    report = build_report(make_study(trials=40, survivors=40, repeats=3))
    on = [standing.probability for standing in report.standings if standing.on_front]
    off = [standing.probability for standing in report.standings if not standing.on_front]
    assert all(0 <= probability <= 1 for probability in on + off)
    assert np.mean(on) > np.mean(off)


def test_differences_are_from_the_lowest_loss() -> None:
    report = build_report(make_study(survivors=9))
    best = min(standing.trial.scores["val_loss"].value for standing in report.standings)
    for standing in report.standings:
        assert standing.difference is not None
        assert standing.difference.value == pytest.approx(standing.trial.scores["val_loss"].value - best)
        assert standing.difference.error >= standing.difference.evaluation_error >= 0


def test_the_json_front_has_the_promised_shape_and_survives_json() -> None:
    study = make_study()
    entries = json.loads(json.dumps(front_json(study)))
    assert [entry["trial"] for entry in entries] == [standing.number for standing in build_report(study).front]
    for entry in entries:
        assert {"trial", "fingerprint", "spec", "scores", "rung", "seeds"} <= set(entry)
        assert ArchSpec.from_dict(entry["spec"]).fingerprint == entry["fingerprint"]
        assert set(study.recipe["objectives"]) <= set(entry["scores"])
        for score in entry["scores"].values():
            assert {"value", "low", "high", "unit"} <= set(score) and score["low"] <= score["value"] <= score["high"]
        assert entry["rung"] == 1 and entry["seeds"] == 1 + len(entry["repeats"])


def test_the_same_record_gives_the_same_report_after_a_way_through_json() -> None:
    study = make_study()
    again = from_json(StudyRecord, json.loads(json.dumps(to_json(study))))
    assert front_json(again) == front_json(study)
    assert build_report(again).summary == build_report(study).summary


@pytest.mark.parametrize("states", [(), ("infeasible",), ("failed", "infeasible"), ("stopped",)])
def test_a_study_without_a_finished_trial_has_a_report_that_says_so(states: tuple[TrialState, ...]) -> None:
    study = only(make_study(), *states)
    report = build_report(study)
    assert front_json(study) == [] and report.front == () and report.knee is None
    assert "no front" in report.summary[-1]


def test_a_single_final_trial_is_the_front_and_sure_of_it() -> None:
    study = make_study(survivors=1, repeats=0)
    (standing,) = build_report(study).standings
    assert standing.on_front and standing.is_knee and standing.probability == 1.0


def test_objectives_may_leave_out_the_loss() -> None:
    report = build_report(make_study(objectives=("params", "latency")))
    assert report.front and all(standing.difference is not None for standing in report.standings)


def test_reporting_needs_neither_torch_nor_optuna() -> None:
    code = "import sys, autonas.reporting.front, autonas.pages.study_page, autonas.reporting.text; "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'optuna', 'ray')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
