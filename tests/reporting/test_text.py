"""The front on a terminal."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.objective import OBJECTIVES
from autonas.reporting.front import build_report
from autonas.reporting.text import WIDTH, text_front
from tests.reporting.studies import make_study, with_controls

NAMES = [name for name in OBJECTIVES if name != "prefill_latency"]


@pytest.mark.parametrize("count", range(1, len(NAMES) + 1))
def test_no_line_is_wider_than_a_terminal(count: int) -> None:
    text = text_front(make_study(objectives=NAMES[:count], trials=30, survivors=25))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(name in text for name in NAMES[:count])


def test_every_front_trial_has_an_aligned_row_and_the_knee_a_star() -> None:
    study = make_study(trials=30, survivors=25)
    report = build_report(study)
    lines = text_front(study).splitlines()
    rows = lines[1 : 1 + len(report.front)]
    assert [int(row.lstrip("* ").split()[0]) for row in rows] == [standing.number for standing in report.front]
    assert [row.startswith("*") for row in rows] == [standing.is_knee for standing in report.front]
    ends = {row.index("%") for row in rows}
    assert len(ends) == 1, "probabilities stand below one another"


def test_how_sure_it_is_reaches_the_terminal() -> None:
    text = text_front(with_controls(make_study(trials=40, survivors=40)))
    words = " ".join(text.split())
    for part in (
        "P(front)",
        "Off the front by less than a standard error",
        "Hypervolume 0.",
        "Random search alone",
        "Another ",
    ):
        assert part in words
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_study_without_a_front_says_so() -> None:
    study = make_study()
    assert "no front" in text_front(dataclasses.replace(study, trials=()))


def test_alarms_reach_the_terminal() -> None:
    study = make_study()
    trials = tuple(
        dataclasses.replace(trial, rungs=tuple(dataclasses.replace(o, checks={}) for o in trial.rungs))
        for trial in study.trials
    )
    assert "ALARM Leak test missing" in text_front(dataclasses.replace(study, trials=trials))
