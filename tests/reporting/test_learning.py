"""Learning curves as numbers: nothing moved, nothing made up, and thinned where there are many."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from autonas.reporting.front import build_report
from autonas.reporting.learning import MOST_CURVES, ORDER, kinds_of, learning
from tests.reporting.studies import RUNGS, make_study


@pytest.mark.parametrize("survivors", [1, 6])
def test_every_point_is_of_the_ledger(survivors: int) -> None:
    report = build_report(make_study(survivors=survivors))
    found = learning(report)
    assert found is not None
    for curve in found.curves:
        trial = report.study.trials[curve.trial]
        told = {point for outcome in trial.rungs for point in outcome.curve}
        assert set(curve.trunk) <= told and all(tokens <= RUNGS[-1] for tokens, _ in curve.trunk)
        assert [tokens for tokens, _ in curve.trunk] == sorted({tokens for tokens, _ in curve.trunk})
        assert [(rung, loss) for rung, _, loss in curve.scores] == [
            (outcome.rung, outcome.scores["val_loss"].value) for outcome in trial.rungs
        ]
        for fork, (rung, tokens, loss) in zip(curve.forks, curve.scores, strict=True):
            assert fork[-1] == (tokens, loss) and set(fork[:-1]) <= told
            assert all(RUNGS[rung] <= later for later, _ in fork[1:])
            assert all(a <= b for (a, _), (b, _) in itertools.pairwise(fork))


def test_every_trained_trial_is_there_once_and_repeats_are_not() -> None:
    report = build_report(make_study())
    found = learning(report)
    assert found is not None
    trained = {trial.number for trial in report.study.trials if trial.rungs and trial.repeat_of is None}
    assert sorted(curve.trial for curve in found.curves) == sorted(trained) and found.trained == len(trained)


def test_what_matters_most_comes_last() -> None:
    found = learning(build_report(make_study(trials=30, survivors=12)))
    assert found is not None
    places = [ORDER.index(curve.kind) for curve in found.curves]
    assert places == sorted(places) and found.curves[-1].kind == "knee"


def test_the_first_steps_are_cut_off_above_a_unigram_model() -> None:
    report = build_report(make_study())
    found = learning(report)
    assert found is not None
    assert max(loss for curve in found.curves for _, loss in curve.trunk) <= 6.41 + 0.3
    assert [(b.name, b.rung) for b in found.baselines] == [("unigram", 0), ("bigram", 0), ("unigram", 1), ("bigram", 1)]


def test_many_curves_have_fewer_points() -> None:
    few = learning(build_report(make_study(trials=20, curve_points=400, documents=4, samples=8)))
    many = learning(build_report(make_study(trials=140, curve_points=400, documents=4, samples=8)))
    assert few is not None and many is not None
    assert max(len(curve.trunk) for curve in few.curves) > 60
    assert max(len(curve.trunk) for curve in many.curves) <= 2 * 26


def test_of_too_many_trials_the_front_is_kept_and_the_rest_is_spread_out() -> None:
    study = make_study(trials=30, survivors=6, infeasible=0, failures=0, documents=2, curve_points=3, samples=4)
    stopped = next(trial for trial in study.trials if trial.state == "stopped")
    more = tuple(dataclasses.replace(stopped, number=len(study.trials) + i) for i in range(2 * MOST_CURVES))
    report = build_report(dataclasses.replace(study, trials=study.trials + more))
    found = learning(report)
    assert found is not None and len(found.curves) == MOST_CURVES < found.trained
    shown = {curve.trial for curve in found.curves}
    assert {standing.number for standing in report.standings} <= shown
    assert len({curve.trial for curve in found.curves}) == MOST_CURVES
    assert max(shown) > len(study.trials) + 2 * MOST_CURVES - 10


def test_a_complete_trial_that_lacks_a_score_is_a_final_one() -> None:
    study = make_study()
    complete = next(trial for trial in study.trials if trial.state == "complete")
    kinds = kinds_of(build_report(dataclasses.replace(study, trials=(complete,), timeline=())))
    assert set(kinds.values()) <= set(ORDER)
    bare = dataclasses.replace(complete, number=0, scores={})
    assert kinds_of(build_report(dataclasses.replace(study, trials=(bare,), timeline=()))) == {0: "final"}


def test_nothing_is_drawn_before_a_trial_was_scored() -> None:
    assert learning(build_report(dataclasses.replace(make_study(), trials=(), timeline=()))) is None
