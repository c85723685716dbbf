"""Losses at one rung against a later one: pairs of the ledger, one panel each, with τ as the report tells it."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.figures.ranks import ranks
from autonas.reporting.front import build_report
from autonas.reporting.progress import agreement_text, agreements
from autonas.trial import StudyRecord
from tests.figures.drawings import check, drawn, trials_of
from tests.reporting.studies import make_study


def with_three_rungs(study: StudyRecord) -> StudyRecord:
    """The study with another rung, at which the complete trials' losses are lower by a tenth."""
    trials = []
    for trial in study.trials:
        if len(trial.rungs) == 2:
            last = trial.rungs[1]
            score = last.scores["val_loss"]
            lower = dataclasses.replace(score, value=score.value * 0.9, low=score.low * 0.9, high=score.high * 0.9)
            third = dataclasses.replace(last, rung=2, scores={**last.scores, "val_loss": lower}, tokens=2 * last.tokens)
            trial = dataclasses.replace(trial, rungs=(*trial.rungs, third))
        trials.append(trial)
    budget = {**study.recipe["budget"], "rungs": [*study.recipe["budget"]["rungs"], 2_097_152]}
    return dataclasses.replace(study, trials=tuple(trials), recipe={**study.recipe, "budget": budget})


def test_every_pair_of_rungs_has_its_panel_and_its_trials() -> None:
    report = build_report(with_three_rungs(make_study(trials=20, survivors=8)))
    drawing = drawn(ranks(report))
    check(drawing)
    pairs = agreements(report)
    assert [(pair.rung, pair.later) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    titles = [note["text"] for note in drawing["layout"]["annotations"]]
    assert titles == [f"rung {pair.rung} → {pair.later}: τ {agreement_text(pair)}" for pair in pairs]
    for place, pair in enumerate(pairs, 1):
        axis = "x" if place == 1 else f"x{place}"
        own = [trace for trace in drawing["data"] if trace["xaxis"] == axis]
        assert sum(len(trace["customdata"]) for trace in own) == pair.pairs
        for trace in own:
            for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
                rungs = report.study.trials[number].rungs
                assert x == pytest.approx(rungs[pair.rung].scores["val_loss"].value, abs=1e-4)
                assert y == pytest.approx(rungs[pair.later].scores["val_loss"].value, abs=1e-4)


def test_repeats_are_not_drawn() -> None:
    study = make_study(repeats=2)
    drawing = drawn(ranks(build_report(study)))
    assert trials_of(drawing).isdisjoint(trial.number for trial in study.trials if trial.repeat_of is not None)


def test_too_few_trials_are_drawn_without_a_claim() -> None:
    drawing = drawn(ranks(build_report(make_study(survivors=3, repeats=0))))
    assert "cannot be told from 3 trials" in drawing["layout"]["annotations"][0]["text"]


def test_nothing_is_drawn_where_nobody_went_on() -> None:
    assert ranks(build_report(make_study(survivors=0))) is None
    assert ranks(build_report(dataclasses.replace(make_study(), trials=(), timeline=()))) is None
