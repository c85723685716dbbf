"""The drawing of learning curves: every trial at its place, lines that do not run into one another, names that cannot act."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from autonas.figures.curves import curves
from autonas.figures.theme import LIGHT, MARKS
from autonas.reporting.front import build_report
from autonas.reporting.learning import learning
from tests.figures.drawings import check, drawn, texts, trials_of
from tests.reporting.studies import make_study


@pytest.mark.parametrize("trials", [1, 15, 60])
def test_every_trained_trial_is_drawn(trials: int) -> None:
    report = build_report(make_study(trials=trials, survivors=min(trials, 6), documents=4, samples=8))
    drawing = drawn(curves(report))
    check(drawing)
    assert trials_of(drawing) == {trial.number for trial in report.study.trials if trial.rungs and trial.repeat_of is None}
    assert len(drawing["data"]) <= 3 * len(MARKS) + 4, "one trace a kind, not one a trial"


def test_lines_of_two_trials_are_apart() -> None:
    drawing = drawn(curves(build_report(make_study())))
    lines = [trace for trace in drawing["data"] if trace["mode"] == "lines" and "customdata" in trace]
    assert {trace["line"]["dash"] for trace in lines} == {"solid", "dot"}
    for trace in lines:
        for here, after in itertools.pairwise(trace["customdata"]):
            assert here == after or None in (here, after)
        for x, y, trial in zip(trace["x"], trace["y"], trace["customdata"], strict=True):
            assert (x is None) == (y is None) == (trial is None)


def test_scores_are_the_ledgers_and_have_the_colour_of_their_trial() -> None:
    report = build_report(make_study())
    found = learning(report)
    assert found is not None
    drawing = drawn(curves(report))
    kinds = {curve.trial: curve.kind for curve in found.curves}
    seen = 0
    for trace in drawing["data"]:
        if trace["mode"] != "markers":
            continue
        for trial, tokens, loss in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
            outcome = next(o for o in report.study.trials[trial].rungs if o.tokens == tokens)
            assert loss == pytest.approx(outcome.scores["val_loss"].value, abs=1e-4)
            colour, symbol, _ = MARKS[kinds[trial]]
            assert (trace["marker"]["color"], trace["marker"]["symbol"]) == (LIGHT[colour], symbol)
            seen += 1
    assert seen == sum(len(curve.scores) for curve in found.curves)


def test_a_hostile_baseline_is_a_text() -> None:
    study = make_study(documents=4, samples=8)
    evil = "<b>big%{x}</b>\x1b\u202e" + "x" * 80
    trials = tuple(
        dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, baselines={evil: 5.0, **o.baselines}) for o in t.rungs))
        for t in study.trials
    )
    drawing = drawn(curves(build_report(dataclasses.replace(study, trials=trials))))
    assert not any("<b>" in text or "\x1b" in text or "\u202e" in text or "big%{" in text for text in texts(drawing))
    assert any("&lt;b&gt;" in text for text in texts(drawing))


def test_nothing_is_drawn_before_a_trial_was_scored() -> None:
    assert curves(build_report(dataclasses.replace(make_study(), trials=(), timeline=()))) is None
