"""Importances against functions whose variance is known, and what no order, unit or name may change."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from autonas.objective import OBJECTIVES
from autonas.reporting.front import build_report
from autonas.reporting.importance import ENOUGH_TRIALS, LEAST_TRIALS, importance, importance_text, importances
from autonas.reporting.report import Report
from autonas.trial import Score, StudyRecord, TrialRecord
from tests.reporting.studies import make_study

LOSS, PARAMS = OBJECTIVES["val_loss"], OBJECTIVES["params"]
Function = Callable[[Mapping[str, Any]], float]


def drawn(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Params drawn at random: three that may matter, and two that do not."""
    rng = np.random.default_rng(seed)
    return [
        {
            "depth": int(rng.integers(12)),
            "kind": str(rng.choice(["x", "y", "z"])),
            "tied": bool(rng.random() < 0.5),
            "idle": float(rng.random()),
            "still": str(rng.choice(["p", "q"])),
        }
        for _ in range(count)
    ]


def report_of(params: list[dict[str, Any]], size: Function, *, loss: Function | None = None, rungs: int = 1) -> Report:
    """The report of a study in which `size` gives the logarithm of parameters, and `loss` the losses of all rungs."""
    study = make_study(trials=len(params), survivors=0, repeats=0, infeasible=0, failures=0, documents=4, curve_points=4)
    trials = []
    for trial, own in zip(study.trials, params, strict=True):
        scores = {**trial.scores, "params": Score.exact(float(np.exp(size(own))), "parameters")}
        outcomes = trial.rungs
        if loss is not None:
            score = Score.exact(loss(own), "nats/token")
            outcomes = tuple(
                dataclasses.replace(outcomes[0], rung=rung, scores={**outcomes[0].scores, "val_loss": score})
                for rung in range(rungs)
            )
        trials.append(dataclasses.replace(trial, params=own, scores=scores, rungs=outcomes))
    return build_report(dataclasses.replace(study, trials=tuple(trials)))


TRUTH = {"depth": 5 / 8, "kind": 2 / 8, "tied": 1 / 8}  # of what follows


def additive(params: Mapping[str, Any]) -> float:
    """Of its variance 5/8 are due to depth, 2/8 to kind and 1/8 to tied."""
    depth = (params["depth"] - 5.5) / np.sqrt(143 / 12)
    kind = {"x": -1.0, "y": 0.0, "z": 1.0}[params["kind"]] / np.sqrt(2 / 3)
    tied = 1.0 if params["tied"] else -1.0
    return float(np.sqrt(5) * depth + np.sqrt(2) * kind + tied) / 8


def constant(params: Mapping[str, Any]) -> float:
    return 1.0


@pytest.mark.parametrize(("count", "error"), [(60, 0.15), (200, 0.05)])
def test_shares_of_an_additive_function_are_its_variances(count: int, error: float) -> None:
    several = [importance(report_of(drawn(count, seed), additive), PARAMS) for seed in range(6)]
    shares = [{share.name: share.value for share in found.shares} for found in several]
    for name, truth in {**TRUTH, "idle": 0.0, "still": 0.0}.items():
        assert abs(np.mean([each[name] for each in shares]) - truth) < error, name
    assert all(sum(each.values()) == pytest.approx(1.0) for each in shares)
    assert all(found.explained is not None and found.explained > 0.7 for found in several)


def test_the_interval_holds_the_truth_of_what_matters_and_narrows() -> None:
    held, widths = 0, []
    for count in (30, 90):
        for seed in range(8):
            shares = {share.name: share for share in importance(report_of(drawn(count, seed), additive), PARAMS).shares}
            held += sum(shares[name].low <= value <= shares[name].high for name, value in TRUTH.items())
            widths.append(shares["depth"].high - shares["depth"].low)
            assert all(share.low <= share.value <= share.high for share in shares.values())
    assert held >= 0.75 * 2 * 8 * len(TRUTH)
    assert np.mean(widths[8:]) < np.mean(widths[:8])


def test_what_two_dimensions_do_together_is_not_laid_on_a_third() -> None:
    def together(params: Mapping[str, Any]) -> float:
        deep = bool(params["depth"] > 5)
        return float(deep == params["tied"]) + 0.4 * deep

    shares = {share.name: share.value for share in importance(report_of(drawn(200), together), PARAMS).shares}
    assert min(shares["depth"], shares["tied"]) > 3 * max(shares["idle"], shares["still"], shares["kind"])


def test_noise_alone_explains_nothing_and_the_text_says_so() -> None:
    rng = np.random.default_rng(7)
    report = report_of(drawn(80), lambda _: float(rng.standard_normal()))
    found = importance(report, PARAMS)
    assert found.explained is not None and found.explained < 0.05
    if found.explained <= 0.0:
        assert "say nothing" in importance_text(found, report)


def test_the_same_ledger_gives_the_same_shares_and_units_do_not_matter() -> None:
    params = drawn(50)
    first = importance(report_of(params, additive), PARAMS)
    assert importance(report_of(params, additive), PARAMS) == first
    wider = importance(report_of(params, lambda own: 3.0 + additive(own)), PARAMS)  # a size times e³
    assert [share.name for share in wider.shares] == [share.name for share in first.shares]
    assert [share.value for share in wider.shares] == pytest.approx([share.value for share in first.shares], abs=0.02)


def test_a_dimension_that_not_all_trials_have_is_no_obstacle() -> None:
    params = drawn(40)
    for own in params[::3]:
        del own["idle"]
    shares = {share.name: share.value for share in importance(report_of(params, additive), PARAMS).shares}
    assert shares["depth"] > 0.4 and shares["idle"] < 0.15


def test_losses_are_taken_from_one_rung_and_never_mixed() -> None:
    study = make_study(trials=60, survivors=20, repeats=2, documents=4, curve_points=4, samples=16)
    report = build_report(study)
    first = importance(report, LOSS)
    assert (first.rung, first.trials) == (0, 60), "20 at the last rung are too few to prefer it"
    deeper = build_report(make_study(trials=60, survivors=ENOUGH_TRIALS, documents=4, curve_points=4, samples=16))
    found = importance(deeper, LOSS)
    assert (found.rung, found.trials) == (1, ENOUGH_TRIALS)
    assert "only trials that went on" in importance_text(found, deeper)
    changed = [
        dataclasses.replace(trial, rungs=(trial.rungs[0], with_loss(trial, 1, 9.0))) if len(trial.rungs) > 1 else trial
        for trial in study.trials
    ]
    same = build_report(dataclasses.replace(study, trials=tuple(changed)))
    assert importance(same, LOSS) == first, "what was scored at another rung has no part in it"


def with_loss(trial: TrialRecord, rung: int, loss: float) -> Any:
    outcome = trial.rungs[rung]
    return dataclasses.replace(outcome, scores={**outcome.scores, "val_loss": Score.exact(loss, "nats/token")})


def test_repeats_are_left_out_and_infeasible_trials_of_known_size_are_not() -> None:
    study = make_study(trials=20, infeasible=0, failures=0, repeats=2, survivors=6)
    assert importance(build_report(study), PARAMS).trials == 20
    trials = tuple(dataclasses.replace(t, state="infeasible") if t.number == 0 else t for t in study.trials)
    assert importance(build_report(dataclasses.replace(study, trials=trials)), PARAMS).trials == 20


@pytest.mark.parametrize(
    ("params", "size", "says"),
    [
        (drawn(LEAST_TRIALS - 1), additive, f"it takes {LEAST_TRIALS}"),
        ([{"depth": 3}] * 20, constant, "same params"),
        (drawn(20), constant, "same score"),
    ],
)
def test_what_cannot_be_told_is_said(params: list[dict[str, Any]], size: Function, says: str) -> None:
    report = report_of(params, size)
    found = importance(report, PARAMS)
    assert found.shares == () and found.explained is None
    assert says in importance_text(found, report) and "cannot be told" in importance_text(found, report)


def test_every_objective_has_an_answer_in_a_study_without_trials() -> None:
    study = dataclasses.replace(make_study(), trials=(), timeline=())
    report = build_report(study)
    assert [found.objective for found in importances(report)] == list(report.objectives)
    assert all("cannot be told: 0 trials" in importance_text(found, report) for found in importances(report))


def test_of_thousands_a_sample_is_taken_and_said() -> None:
    study = make_study(trials=20, survivors=0, repeats=0, infeasible=0, failures=0, documents=2, curve_points=2, samples=4)
    many = many_of(study, 2500)
    report = build_report(many)
    found = importance(report, PARAMS)
    assert (found.trials, found.used) == (2500, 1000)
    assert "1000 of them drawn at random" in importance_text(found, report)


def many_of(study: StudyRecord, count: int) -> StudyRecord:
    trials = tuple(dataclasses.replace(study.trials[i % len(study.trials)], number=i) for i in range(count))
    return dataclasses.replace(study, trials=trials, timeline=())


def test_nobody_waits_for_the_forest_before_it_is_asked() -> None:
    code = "import sys, autonas.pages.search_section; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
