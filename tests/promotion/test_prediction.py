"""A promotion's prediction: there before the run, checked after it, through a kill between the two."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import autonas
from autonas.engine.base import JobProgress
from autonas.policy.prediction import Interval, Predicted
from autonas.policy.replica import FullRun
from autonas.promotion.prediction import Overtaking, check_prediction, overtaking, predict_run, write_prediction
from autonas.reporting.front import build_report
from autonas.reporting.report import Report
from autonas.trial import Budget, Score, TrainingSettings
from tests.promotion.conftest import INLINE, STEPS, Run
from tests.reporting.studies import make_study, with_losses


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_run_is_predicted_before_it_begins_and_checked_when_it_has_ended(study: Path) -> None:
    said: list[str] = []
    seen: list[Any] = []

    def first(step: JobProgress, total: int) -> None:
        if not seen:
            (folder,) = (study / "runs").iterdir()
            seen.append(read(folder / "prediction.json"))

    run = autonas.promote("small", steps=STEPS, engine=INLINE, say=said.append, on_progress=first)
    before = read(run / "prediction.json")
    assert seen == [before], "it was there at the first step, and did not change"
    assert set(before) == {"val_loss", "collapse_rate", "text"}
    found = read(run / "evaluation.json")
    for name, each in found["prediction_check"].items():
        assert each["measured"] == found["scores"][name]["value"]
        assert each["predicted"] == before[name]["value"]
        inside = [i["level"] for i in before[name]["intervals"] if i["low"] <= each["measured"] <= i["high"]]
        assert each["within"] == min(inside, default=None)
        assert f"prediction of {name}: {each['text']}" in said
    assert set(found["prediction_check"]) == {"val_loss", "collapse_rate"}
    assert any("It is predicted to end with val_loss " in text for text in said)


def test_a_dry_run_says_what_is_predicted(study: Path, run: Run) -> None:
    code, out, err = run("promote", "small", "--engine", "inline", "--steps", "2000", "--dry-run", "--json")
    assert code == 0, err
    predicted = json.loads(out)["predicted"]
    (inner, outer) = predicted["val_loss"]["intervals"]
    assert outer["low"] < inner["low"] < predicted["val_loss"]["value"] < inner["high"] < outer["high"]
    assert "learning curves of up to" in predicted["val_loss"]["basis"]
    code, out, _ = run("promote", "small", "--engine", "inline", "--steps", "2000", "--dry-run")
    assert "It is predicted to end with val_loss " in out


def test_a_run_that_is_gone_on_with_is_held_to_what_was_predicted_before_it(study: Path) -> None:
    def interrupt(step: JobProgress, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", steps=STEPS, engine=INLINE, on_progress=interrupt)
    (folder,) = (study / "runs").iterdir()
    before = read(folder / "prediction.json")
    autonas.promote("small", resume=True, engine=INLINE)
    assert read(folder / "prediction.json") == before
    assert set(read(folder / "evaluation.json")["prediction_check"]) == {"val_loss", "collapse_rate"}


def sure(value: float) -> Predicted:
    intervals = tuple(Interval(level=level, low=value - 1e-3, high=value + 1e-3) for level in (0.8, 0.95))
    return Predicted(value=value, intervals=intervals, unit="nats/token", basis="a test")


def test_a_prediction_that_failed_is_said_to_have_failed(tmp_path: Path) -> None:
    write_prediction(tmp_path, {"val_loss": sure(3.0)})
    score = {"value": 4.0, "low": 3.9, "high": 4.1, "unit": "nats/token"}
    (tmp_path / "evaluation.json").write_text(json.dumps({"scores": {"val_loss": score}, "tokens": 5}))
    (text,) = check_prediction(tmp_path)
    assert text.startswith("prediction of val_loss: 3.000 (80%: 2.999–3.001")
    assert text.endswith("measured 4.000: outside of every interval")
    found = read(tmp_path / "evaluation.json")
    assert found["tokens"] == 5, "the rest stays"
    assert found["prediction_check"]["val_loss"]["within"] is None


@pytest.mark.parametrize("content", [None, "[]", "{", '{"val_loss": 3}'])
def test_a_run_without_a_prediction_is_not_checked(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "evaluation.json").write_text('{"scores": {}}')
    if content is not None:
        (tmp_path / "prediction.json").write_text(content)
    assert check_prediction(tmp_path) == []
    assert (tmp_path / "evaluation.json").read_text() == '{"scores": {}}'


# A trial that would overtake the pick

GENTLE, STEEP = 4.2, 6.0  # losses at the first rung of curves that end it at about 4


def crossing(*, first: float, params: float = 0.99) -> tuple[Report, int, int]:
    """A study's report with the pick, which ends its rungs at 4.00, and another of the front: 4.05, from `first` before."""
    study = make_study(survivors=7, repeats=0)
    pick, other, *rest = [trial.number for trial in study.trials if trial.state == "complete"]
    study = with_losses(study, {pick: 4.0, other: 4.05, **dict.fromkeys(rest, 4.5)})
    trials = list(study.trials)
    for number, before in {pick: GENTLE, other: first, **dict.fromkeys(rest, 5.0)}.items():
        rung = trials[number].rungs[0]
        early = {**rung.scores, "val_loss": dataclasses.replace(rung.scores["val_loss"], value=before, low=before, high=before)}
        rungs = (dataclasses.replace(rung, scores=early), *trials[number].rungs[1:])
        trials[number] = dataclasses.replace(trials[number], rungs=rungs)
    same = trials[pick]
    size = Score.exact(params * same.scores["params"].value, "parameters")
    scores = {**same.scores, "params": size}
    last = dataclasses.replace(
        trials[other].rungs[-1], scores={**same.rungs[-1].scores, "val_loss": trials[other].rungs[-1].scores["val_loss"]}
    )
    trials[other] = dataclasses.replace(trials[other], spec=same.spec, scores=scores, rungs=(*trials[other].rungs[:-1], last))
    return build_report(dataclasses.replace(study, trials=tuple(trials))), pick, other


def overtaken(report: Report, pick: int, limits: dict[str, float] | None = None) -> Overtaking | None:
    spec = report.study.trials[pick].spec
    assert spec is not None
    budget = Budget(rung=0, tokens=20_000_000, cooldown_tokens=4_000_000)
    full = FullRun(spec=spec, training=TrainingSettings(), budget=budget, corpus_tokens=10**9)
    return overtaking(report, pick, full, predict_run(report.study, pick, full), limits or {})


def test_a_trial_whose_curve_is_steeper_is_named_and_one_whose_is_not_is_not() -> None:
    report, pick, other = crossing(first=STEEP)
    found = overtaken(report, pick)
    assert found is not None and found.trial == other
    assert found.text.startswith(f"By its learning curve trial {other} would end lower, with val_loss ")
    assert found.text.endswith(f"--trial {other} promotes it.")
    assert overtaken(report, other) is None, "nothing overtakes what is steeper itself"
    report, pick, _ = crossing(first=GENTLE)
    assert overtaken(report, pick) is None


def test_what_costs_more_or_is_beyond_a_limit_overtakes_nothing() -> None:
    report, pick, other = crossing(first=STEEP, params=0.9)
    most = report.study.trials[other].scores["params"].value
    assert overtaken(report, pick, {"params": most}) is not None
    assert overtaken(report, pick, {"params": most - 1}) is None
    report, pick, other = crossing(first=STEEP, params=0.9)
    trials = list(report.study.trials)
    for number, factor in ((pick, 0.5), (other, 2.0)):
        scores = trials[number].scores
        size = Score.exact(factor * scores["params"].value, "parameters")
        trials[number] = dataclasses.replace(trials[number], scores={**scores, "params": size})
    dearer = build_report(dataclasses.replace(report.study, trials=tuple(trials)))
    assert overtaken(dearer, pick) is None
