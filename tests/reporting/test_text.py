"""The front on a terminal."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from autonas.objective import OBJECTIVES
from autonas.reporting.columns import WIDTH, columns_of
from autonas.reporting.front import build_report
from autonas.reporting.text import text_front
from autonas.trial import TrialRecord
from tests.reporting.studies import make_study, with_controls

NAMES = [name for name in OBJECTIVES if name != "prefill_latency"]


@pytest.mark.parametrize("width", [40, 60, WIDTH])
@pytest.mark.parametrize("count", range(1, len(NAMES) + 1))
def test_no_line_is_wider_than_a_terminal(count: int, width: int) -> None:
    study = make_study(objectives=NAMES[:count], trials=30, survivors=25)
    text = text_front(study, width=width, promote="autonas promote quickstart")
    assert max(map(columns_of, text.splitlines())) <= width
    assert all(name in text for name in NAMES[:count])


@settings(derandomize=True, deadline=None, max_examples=12, phases=[Phase.explicit, Phase.generate])
@example(objectives=NAMES[:6], name="x" * 200, seed=0, trials=300, scale=1.0)
@given(
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=6, unique=True),
    st.text(st.characters(exclude_characters="/\\\0\n", exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.integers(0, 5),
    st.sampled_from([5, 40]),
    st.sampled_from([1e-6, 1.0, 1e9]),
)
def test_no_study_has_a_wider_line(objectives: list[str], name: str, seed: int, trials: int, scale: float) -> None:
    small = {"documents": 3, "curve_points": 2, "samples": 2}
    study = make_study(objectives=objectives, trials=trials, survivors=trials, seed=seed, **small)
    study = dataclasses.replace(study, name=name, trials=tuple(_scaled(trial, scale) for trial in study.trials))
    command = shlex.join(["autonas", "promote", name])
    lines = text_front(study, promote=command).split("\n")
    assert max(map(columns_of, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)


def _scaled(trial: TrialRecord, scale: float) -> TrialRecord:
    """The trial with so many times its latency."""
    if "latency" not in trial.scores:
        return trial
    s = trial.scores["latency"]
    latency = dataclasses.replace(s, value=s.value * scale, low=s.low * scale, high=s.high * scale)
    return dataclasses.replace(trial, scores={**trial.scores, "latency": latency})


def test_every_front_trial_has_an_aligned_row_in_each_table_and_the_knee_a_star() -> None:
    study = make_study(trials=30, survivors=25)
    report = build_report(study)
    scores, sure, *_ = text_front(study).split("\n\n")
    architectures = [row for row in sure.splitlines()[1:] if not row.startswith(" " * 12)]  # without what goes on from above
    for rows in (scores.splitlines()[2:], architectures):
        assert [int(row.lstrip("* ").split()[0]) for row in rows] == [standing.number for standing in report.front]
        assert [row.startswith("*") for row in rows] == [standing.is_knee for standing in report.front]
    assert len({row.index("%") for row in architectures}) == 1, "probabilities stand below one another"
    assert len({row.rindex("(") for row in scores.splitlines()[2:]}) == 1, "so do intervals"


def test_units_stand_below_the_heads_of_their_columns() -> None:
    head, units, row, *_ = text_front(make_study(objectives=("val_loss", "latency"))).splitlines()
    assert head.split() == ["trial", "val_loss", "latency"] and units.split() == ["nats/token", "ms/token"]
    for name, unit in (("val_loss", "nats/token"), ("latency", "ms/token")):
        assert head.index(name) + len(name) == units.index(unit) + len(unit)
    assert len(row) <= len(head)


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
