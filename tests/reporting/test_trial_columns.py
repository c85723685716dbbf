"""Trials as columns: the same as the ledger says, one value where all are equal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autonas import cost
from autonas.reporting.front import build_report
from autonas.reporting.trial_columns import trial_columns
from tests.reporting.studies import make_study


def at(column: Any, index: int) -> Any:
    return column[index] if isinstance(column, list) else column


@pytest.mark.parametrize("seed", range(3))
def test_every_trial_is_told_as_the_ledger_has_it(seed: int) -> None:
    study = make_study(trials=20, survivors=8, failures=2, seed=seed)
    report = build_report(study)
    columns = json.loads(json.dumps(trial_columns(report), allow_nan=False))
    standings = {standing.number: standing for standing in report.standings}
    assert columns["number"] == [trial.number for trial in study.trials]
    for i, trial in enumerate(study.trials):
        standing = standings.get(trial.number)
        assert at(columns["repeat_of"], i) == trial.repeat_of and at(columns["reason"], i) == trial.reason
        assert at(columns["rung"], i) == (trial.rungs[-1].rung if trial.rungs else None)
        if trial.spec is not None:
            assert at(columns["fingerprint"], i) == trial.spec.fingerprint
            assert {n: at(c, i) for n, c in columns["dimensions"].items() if at(c, i) is not None} == trial.spec.to_dict()
            assert sum(at(c, i) for c in columns["parts"]["params"].values()) == cost.count_params(trial.spec)
            assert sum(at(c, i) for c in columns["parts"]["flops"].values()) == cost.forward_flops_per_token(trial.spec)
        scores = standing.trial.scores if standing else {**trial.scores, **(trial.rungs[-1].scores if trial.rungs else {})}
        for name, column in columns["scores"].items():
            if name not in scores:
                assert at(column["value"], i) is None
                continue
            score = scores[name]
            told = [at(column[part], i) for part in ("value", "low", "high")]
            assert told == pytest.approx([score.value, score.low, score.high], rel=1e-5)
            assert columns["notes"][at(column["note"], i)] == score.note and column["unit"] == score.unit


def test_a_column_that_is_the_same_for_all_is_that_value() -> None:
    columns = trial_columns(build_report(make_study(repeats=0, infeasible=0)))
    assert columns["repeat_of"] is None and columns["dimensions"]["vocab_size"] == 2048
    assert isinstance(columns["dimensions"]["width"], list)


def test_kinds_are_those_of_the_front_or_what_became_of_a_trial() -> None:
    study = make_study(repeats=2)
    report = build_report(study)
    kinds = dict(zip(*(trial_columns(report)[name] for name in ("number", "kind")), strict=True))
    assert sum(kind == "knee" for kind in kinds.values()) == 1
    assert {n for n, kind in kinds.items() if kind in ("knee", "front")} == {s.number for s in report.front}
    assert {n for n, kind in kinds.items() if kind == "repeat"} == {t.number for t in study.trials if t.repeat_of is not None}
