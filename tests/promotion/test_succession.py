"""When a run makes way for the next candidate: its collapse against everything that was to be expected of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autonas.errors import FAILURE_KINDS, StudyError
from autonas.policy.prediction import Interval, Predicted
from autonas.promotion.evidence import Judged, SecondLook, Seen
from autonas.promotion.prediction import write_prediction
from autonas.promotion.succession import YIELDING, why_next
from autonas.trial import Finding, Score, to_json


def rate(value: float, low: float, high: float) -> Score:
    return Score(value=value, low=low, high=high, unit="share", n=100)


def look(study: Score, again: Score | None = None) -> SecondLook:
    seen = Seen(study=study, again=again, together=study)
    judged = Judged(trial=3, probability=0.7, by_study=0.6, by_retest=0.7, luck=0.0, scores={"collapse_rate": seen})
    return SecondLook(candidates=(judged,), seeds=2, training_deviation=0.05, reason="")


def ended(folder: Path, collapse: Score, *findings: Finding, predicted_high: float | None = None) -> Path:
    """A run's folder with this rate in its evaluation, and a prediction of it."""
    values = {"scores": {"collapse_rate": to_json(collapse)}, "findings": [to_json(finding) for finding in findings]}
    (folder / "evaluation.json").write_text(json.dumps(values))
    if predicted_high is not None:
        ends = (Interval(level=0.8, low=0.0, high=predicted_high / 2), Interval(level=0.95, low=0.0, high=predicted_high))
        write_prediction(folder, {"collapse_rate": Predicted(value=0.01, intervals=ends, unit="share", basis="")})
    return folder


@pytest.mark.parametrize(
    ("collapse", "again", "predicted_high", "collapsed"),
    [
        (rate(0.30, 0.22, 0.39), None, 0.10, True),
        (rate(0.30, 0.22, 0.39), None, None, True),
        (rate(0.30, 0.22, 0.39), None, 0.25, False),  # the prediction said that it may
        (rate(0.30, 0.22, 0.39), rate(0.2, 0.1, 0.24), 0.10, False),  # and so did the new trainings
        (rate(0.12, 0.07, 0.20), None, 0.10, False),  # above, but by no more than chance
        (rate(0.00, 0.00, 0.04), None, 0.10, False),
    ],
)
def test_a_run_is_collapsed_where_its_interval_lies_above_all_that_was_to_be_expected(
    tmp_path: Path, collapse: Score, again: Score | None, predicted_high: float | None, collapsed: bool
) -> None:
    folder = ended(tmp_path, collapse, predicted_high=predicted_high)
    why = why_next(folder, 3, look(rate(0.02, 0.0, 0.08), again), {})
    assert bool(why) == collapsed
    if collapsed:
        highest = 0.08 if predicted_high is None else predicted_high
        assert why == f"it collapsed: its collapse_rate is 30.0% (95 %: 22.0%–39.0%), and no more than {highest:.1%} " + (
            "was to be expected"
        )


def test_a_limit_of_the_user_counts_whatever_was_to_be_expected(tmp_path: Path) -> None:
    folder = ended(tmp_path, rate(0.30, 0.22, 0.39), predicted_high=1.0)
    known = look(rate(0.3, 0.2, 0.4))
    assert why_next(folder, 3, known, {"collapse_rate": 0.25}) == ""
    assert "above the limit of 20.0%" in why_next(folder, 3, known, {"collapse_rate": 0.2})


@pytest.mark.parametrize(
    ("check", "severity", "believed"),
    [
        ("loss_floor", "alarm", False),
        ("constant", "alarm", False),
        ("loss_floor", "note", True),
        ("rising_loss", "alarm", True),
    ],
)
def test_scores_that_cannot_be_believed_are_a_reason_and_other_alarms_are_none(
    tmp_path: Path, check: str, severity: Any, believed: bool
) -> None:
    folder = ended(tmp_path, rate(0.0, 0.0, 0.04), Finding(check=check, severity=severity, text="planted"))
    why = why_next(folder, 3, look(rate(0.02, 0.0, 0.08)), {})
    assert why == ("" if believed else f"what was measured cannot be believed: {check}: planted")


def test_what_is_no_fault_of_a_candidate_is_no_reason() -> None:
    assert set(FAILURE_KINDS) - YIELDING == {"out_of_memory", "timeout", "preempted", "error"}


def test_an_evaluation_that_cannot_be_read_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"scores": {"collapse_rate": 3}}')
    with pytest.raises(StudyError, match="cannot be read"):
        why_next(tmp_path, 3, look(rate(0.02, 0.0, 0.08)), {})
