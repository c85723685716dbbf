"""The drawing of importances: shares and intervals as worked out, in one order, and names that cannot act."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.figures.importance import MOST_DIMENSIONS, importance, tells
from autonas.reporting.front import build_report
from autonas.reporting.importance import DimensionShare, Importance, importances
from autonas.reporting.report import Report
from tests.figures.drawings import check, drawn, texts
from tests.reporting.studies import make_study


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(make_study(trials=40, survivors=14, documents=4, samples=8))


def made(report: Report, names: list[str], explained: float | None = 0.5) -> Importance:
    shares = tuple(DimensionShare(name=name, value=0.5 / (i + 1), low=0.0, high=0.6) for i, name in enumerate(names))
    return Importance(objective=report.objectives[0], rung=0, trials=40, used=40, explained=explained, shares=shares)


def test_shares_and_intervals_are_those_worked_out(report: Report) -> None:
    found = importances(report)
    drawing = drawn(importance(report, found))
    check(drawing)
    told = [each for each in found if tells(each)]
    assert [note["text"] for note in drawing["layout"]["annotations"]] == [each.objective.title for each in told]
    names = drawing["layout"]["yaxis"]["ticktext"]
    for each, trace in zip(told, drawing["data"], strict=True):
        shares = {share.name: share for share in each.shares}
        seen = zip(trace["x"], trace["y"], trace["error_x"]["array"], trace["error_x"]["arrayminus"], strict=True)
        for x, y, above, below in seen:
            share = shares[names[y]]
            assert (x, x + above, x - below) == pytest.approx((share.value, share.high, share.low), abs=2e-4)
    assert drawn(importance(report)) == drawing, "worked out where it is not given"


def test_dimensions_are_in_one_order_and_the_largest_come_first(report: Report) -> None:
    drawing = drawn(importance(report))
    layout = drawing["layout"]
    axes = [layout[name] for name in layout if name.startswith("yaxis")]
    assert len({tuple(axis["ticktext"]) for axis in axes}) == 1
    largest: dict[int, float] = {}
    for trace in drawing["data"]:
        for x, y in zip(trace["x"], trace["y"], strict=True):
            largest[y] = max(largest.get(y, 0.0), x)
    assert [largest[y] for y in sorted(largest)] == sorted(largest.values(), reverse=True)


def test_of_many_dimensions_the_first_are_drawn(report: Report) -> None:
    drawing = drawn(importance(report, [made(report, [f"d{i}" for i in range(50)])]))
    assert drawing["layout"]["yaxis"]["ticktext"] == [f"d{i}" for i in range(MOST_DIMENSIONS)]
    assert len(drawing["data"][0]["x"]) == MOST_DIMENSIONS


def test_hostile_names_are_texts(report: Report) -> None:
    drawing = drawn(importance(report, [made(report, ["<img src=x>%{x}", "a\x00\u202eb", "n" * 300])]))
    assert not any("<img" in text or "\x00" in text or "\u202e" in text or "%{x}" in text for text in texts(drawing))
    assert max(map(len, drawing["layout"]["yaxis"]["ticktext"])) < 60


def test_nothing_is_drawn_where_nothing_is_explained(report: Report) -> None:
    assert importance(report, [made(report, ["a"], explained=-0.1)]) is None
    assert importance(report, [made(report, [])]) is None
    assert importance(build_report(dataclasses.replace(report.study, trials=(), timeline=()))) is None
