"""The drawing of what a study was spent on."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.figures.cost import cost
from autonas.reporting.expenses import WAITING, expenses
from autonas.reporting.front import build_report
from tests.figures.drawings import check, drawn
from tests.reporting.studies import make_study
from tests.reporting.test_expenses import with_waiting


def test_bars_are_the_expenses_and_their_shares() -> None:
    report = build_report(make_study())
    drawing = drawn(cost(report))
    check(drawing)
    found = [expense for expense in expenses(report) if expense.seconds > 0]
    assert drawing["layout"]["yaxis"]["ticktext"] == [expense.purpose for expense in found]
    (bars,) = drawing["data"]
    scale = found[0].seconds / bars["x"][0]
    assert bars["x"] == pytest.approx([expense.seconds / scale for expense in found], rel=1e-2)
    assert sum(int(text.removesuffix(" %")) for text in bars["text"]) == pytest.approx(100, abs=len(found))


def test_waiting_is_a_bar_without_jobs_of_its_own() -> None:
    report = build_report(with_waiting(make_study(), 4.0))
    (bars,) = drawn(cost(report))["data"]
    assert "job" not in bars["hovertext"][-1] and bars["hovertext"][-1].startswith(f"{WAITING}: ")
    found = [expense.seconds for expense in expenses(report)]
    assert bars["x"][-1] / sum(bars["x"]) == pytest.approx(found[-1] / sum(found), rel=1e-3)


def test_nothing_is_drawn_before_a_job_has_ended() -> None:
    empty = dataclasses.replace(make_study(), trials=(), timeline=(), attributes={})
    assert cost(build_report(empty)) is None
