"""What a page chooses by: the front's values as compared, and draws of what they may truly be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autonas.reporting import history
from autonas.reporting.choice import choice_data
from autonas.reporting.front import build_report
from tests.reporting.studies import make_study


def test_there_is_nothing_to_choose_without_a_front() -> None:
    assert choice_data(build_report(make_study(survivors=0, repeats=0))) is None


@pytest.mark.parametrize("survivors", [1, 6, 40])
def test_values_are_the_fronts_and_draws_lie_around_them(survivors: int) -> None:
    report = build_report(make_study(trials=60, survivors=survivors, repeats=0))
    data = json.loads(json.dumps(choice_data(report), allow_nan=False))
    front, width = report.front, len(report.objectives)
    assert data["trials"] == [standing.number for standing in front]
    values = np.array(data["values"]).reshape(len(front), width)
    assert np.allclose(values, history.values([s.trial for s in front], report.objectives), rtol=1e-8)
    names = [report.objectives[k].name for k in data["drawn"]]
    assert "params" not in names and {"val_loss", "latency"} <= set(names), "an exact objective is not drawn"
    draws = np.array(data["draws"]).reshape(data["num_draws"], len(front), len(names))
    for place, name in enumerate(names):
        for i, standing in enumerate(front):
            score = standing.trial.scores[name]
            low, high = history.compared(np.array([[score.low], [score.high]]), [report.objectives[data["drawn"][place]]])[:, 0]
            own = draws[:, i, place]
            reach = max(high - low, 1e-9)
            assert low - reach < np.median(own) < high + reach


def test_large_fronts_have_fewer_draws_and_few_bytes() -> None:
    sizes = {}
    for survivors in (6, 60):
        report = build_report(make_study(trials=80, survivors=survivors))
        data = choice_data(report)
        assert data is not None
        sizes[survivors] = data["num_draws"]
        assert len(json.dumps(data)) < 400_000
    assert sizes[6] == 400 > sizes[60] >= 100


def test_the_same_report_gives_the_same_draws() -> None:
    study = make_study()
    assert choice_data(build_report(study)) == choice_data(build_report(study))


def test_exact_objectives_alone_need_no_draws() -> None:
    data = choice_data(build_report(make_study(objectives=("params", "memory"))))
    assert data is not None and data["num_draws"] == 0 and data["draws"] == []
