"""Which generations a report shows: those of the whole front at any size, and in words those that it leaves out."""

from __future__ import annotations

import dataclasses
import re

import pytest

from autonas.pages.study_page import render
from autonas.reporting.front import build_report
from autonas.reporting.generations import (
    MAX_SAMPLED_TRIALS,
    SAMPLES_PER_KIND,
    degenerate,
    generations,
    left_out_text,
    samples_per_kind,
)
from autonas.reporting.report import Report
from tests.reporting.studies import make_study


@pytest.fixture(scope="module")
def large() -> Report:
    return build_report(make_study(trials=70, survivors=60, repeats=0, curve_points=4, samples=24, documents=8))


def with_front(report: Report, size: int) -> Report:
    """The report with its first so many trials on the front."""
    standings = tuple(
        dataclasses.replace(standing, on_front=place < size, is_knee=place == 0)
        for place, standing in enumerate(report.standings)
    )
    return dataclasses.replace(report, standings=standings)


@pytest.mark.parametrize("size", [1, 39, 40, 41, 60])
def test_the_whole_front_is_shown_whatever_its_size(large: Report, size: int) -> None:
    report = with_front(large, size)
    shown = generations(report)
    front = [standing.number for standing in report.standings if standing.on_front]
    assert [entry.number for entry in shown][:size] == front
    assert len(shown) == max(size, MAX_SAMPLED_TRIALS)
    assert all(entry.shown for entry in shown)


def test_the_front_comes_first_wherever_it_stands(large: Report) -> None:
    turned = dataclasses.replace(with_front(large, 50), standings=with_front(large, 50).standings[::-1])
    assert {entry.number for entry in generations(turned)} == {s.number for s in turned.standings if s.on_front}


def test_a_larger_front_shows_fewer_of_each_and_no_more_in_all_until_one_is_left() -> None:
    counts = [samples_per_kind(n) for n in range(1, 400)]
    assert counts[:MAX_SAMPLED_TRIALS] == [SAMPLES_PER_KIND] * MAX_SAMPLED_TRIALS
    assert counts == sorted(counts, reverse=True) and counts[-1] == 1
    budget = SAMPLES_PER_KIND * MAX_SAMPLED_TRIALS
    assert all(n * count <= budget for n, count in enumerate(counts, 1) if count > 1)


def test_a_collapsed_sample_is_shown_even_where_one_of_each_kind_is(large: Report) -> None:
    report = with_front(large, 60)
    assert samples_per_kind(60) == 2
    for entry in generations(report):
        own = next(s.trial.outcome.samples for s in report.standings if s.number == entry.number)
        there = any(degenerate(sample.detectors) for sample in own)
        assert any(sample.detectors for sample in entry.shown) == there


def test_what_is_left_out_is_counted(large: Report) -> None:
    final = len(large.standings)
    assert final > MAX_SAMPLED_TRIALS
    report = with_front(large, 10)
    assert left_out_text(report).startswith(f"Of {final - MAX_SAMPLED_TRIALS} dominated final trials none are shown")
    assert left_out_text(report) in re.sub(r"\s+", " ", render(report))
    crowded = with_front(large, 50)
    assert f"of {final - 50} dominated" in left_out_text(crowded).lower()
    assert f"of each of the front's 50 trials {samples_per_kind(50)} of each kind are shown" in left_out_text(crowded)
    assert left_out_text(build_report(make_study())) == ""


def test_trials_without_samples_on_record_are_told_apart_from_those_left_out(large: Report) -> None:
    standings = list(large.standings)
    trial = standings[0].trial
    bare = dataclasses.replace(trial, outcome=dataclasses.replace(trial.outcome, samples=()))
    standings[0] = dataclasses.replace(standings[0], trial=bare)
    told = left_out_text(dataclasses.replace(large, standings=tuple(standings)))
    assert "; of 1 final trial none are on record." in told
    assert f"Of {len(standings) - 1 - MAX_SAMPLED_TRIALS} dominated" in told or len(large.front) > MAX_SAMPLED_TRIALS
