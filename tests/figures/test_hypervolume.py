"""The drawing of the hypervolume: the report's numbers where they belong, and nothing that cannot be told."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.figures.hypervolume import MOST_POINTS, Against, hypervolume, is_told, thinned
from autonas.reporting.front import build_report
from autonas.reporting.report import HypervolumePoint, Report
from tests.figures.drawings import Drawing, check, drawn, trials_of
from tests.reporting.studies import make_study, make_waiting_study, with_controls


def with_tokens(report: Report) -> Report:
    """Ten thousand tokens more at each point."""
    points = tuple(dataclasses.replace(p, tokens=10_000 * (i + 1)) for i, p in enumerate(report.hypervolume))
    return dataclasses.replace(report, hypervolume=points)


def marks(drawing: Drawing) -> dict[int, tuple[float, float]]:
    (trace,) = (trace for trace in drawing["data"] if "customdata" in trace)
    return {number: (x, y) for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True)}


@pytest.mark.parametrize("survivors", [1, 6, 40])
@pytest.mark.parametrize("against", ["train_s", "elapsed_s", "tokens"])
def test_points_are_the_reports(survivors: int, against: Against) -> None:
    study = with_controls(make_study(trials=survivors, survivors=survivors, documents=6, samples=16))
    report = with_tokens(build_report(study))
    drawing = drawn(hypervolume(report, against))
    check(drawing)
    found = marks(drawing)
    assert set(found) == {point.trial for point in report.hypervolume} == trials_of(drawing)
    scales = {found[point.trial][0] / getattr(point, against) for point in report.hypervolume if getattr(point, against) > 0}
    assert max(scales) == pytest.approx(min(scales)), "one unit for all"
    assert all(found[point.trial][1] == point.value for point in report.hypervolume)
    low, high = drawing["layout"]["xaxis"]["range"]
    assert low == 0.0 and all(x <= high for x, _ in found.values())
    assert max(point.high for point in report.hypervolume) <= drawing["layout"]["yaxis"]["range"][1]


def test_the_line_lies_in_its_band_and_both_are_held_until_the_next_trial() -> None:
    report = build_report(make_study(trials=30, survivors=30))
    drawing = drawn(hypervolume(report))
    (low, high), line = drawing["data"][:2], drawing["data"][-2]
    assert high["fill"] == "tonexty" and {trace["line"]["shape"] for trace in (low, high, line)} == {"hv"}
    assert low["x"] == high["x"] == line["x"][1:]
    assert all(a <= b <= c for a, b, c in zip(low["y"], line["y"][1:], high["y"], strict=True))
    assert low["y"][:-1] == [point.low for point in report.hypervolume]


def test_random_search_is_drawn_beside_it_and_the_forecast_behind() -> None:
    report = build_report(with_controls(make_study(trials=40, survivors=40)))
    control, prospect = report.control, report.prospect
    assert control is not None and prospect is not None
    drawing = drawn(hypervolume(report))
    seen, beyond = (t for t in drawing["data"] if t.get("hovertemplate", "").startswith("random search"))
    assert (seen["line"]["dash"], beyond["line"]["dash"]) == ("solid", "dash")
    assert (seen["x"][-1], seen["y"][-1]) == (beyond["x"][0], beyond["y"][0]), "scaled up from where it ends"
    assert seen["y"] + beyond["y"][1:] == [value for _, value in control.curve]
    (forecast,) = (t for t in drawing["data"] if t.get("hovertemplate", "").startswith("forecast"))
    assert forecast["y"] == [report.hypervolume[-1].value, prospect.value + prospect.gain]
    assert forecast["error_y"]["array"][1] == pytest.approx(prospect.high - prospect.gain)
    assert forecast["error_y"]["arrayminus"][1] == pytest.approx(prospect.gain - prospect.low)
    assert forecast["x"][1] > forecast["x"][0] >= max(x for x, _ in marks(drawing).values())
    labels = {note["text"]: note["yanchor"] for note in drawing["layout"]["annotations"]}
    assert len(set(labels.values())) == 2, "one above its line, the other below"


@pytest.mark.parametrize("against", ["train_s", "elapsed_s", "tokens"])
def test_random_search_has_its_interval_where_it_is_scaled_up_to(against: Against) -> None:
    report = build_report(with_controls(make_waiting_study(trials=40, survivors=14)))
    control = report.control
    assert control is not None
    reached = {"train_s": control, "elapsed_s": control.by_elapsed, "tokens": control.by_tokens}[against]
    assert reached is not None and reached.low is not None and reached.high is not None
    value, low, high = reached.value, reached.low, reached.high
    drawing = drawn(hypervolume(report, against))
    check(drawing)
    (end,) = (t for t in drawing["data"] if t.get("hovertemplate", "").startswith("as much random search"))
    seen, beyond = (t for t in drawing["data"] if t.get("hovertemplate", "").startswith("random search"))
    assert (end["x"], end["y"]) == ([beyond["x"][-1]], [beyond["y"][-1]]) and end["y"] == [value]
    assert end["y"][0] + end["error_y"]["array"][0] == pytest.approx(high)
    assert end["y"][0] - end["error_y"]["arrayminus"][0] == pytest.approx(low)
    assert "95 %" in end["hovertemplate"] and high <= drawing["layout"]["yaxis"]["range"][1]
    assert beyond["x"][-1] <= drawing["layout"]["xaxis"]["range"][1] and seen["x"][-1] == beyond["x"][0]
    assert beyond["x"][-1] >= max(x for x, _ in marks(drawing).values()) * (1 - 1e-9), "as much as all of the study"


@pytest.mark.parametrize("against", ["elapsed_s", "tokens"])
def test_where_it_cannot_be_told_it_is_not_drawn(against: Against) -> None:
    study = with_controls(make_study(trials=40, survivors=40))
    unspanned = tuple(
        dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, span=None) for o in t.rungs)) for t in study.trials
    )
    report = with_tokens(build_report(dataclasses.replace(study, trials=unspanned)))
    drawing = drawn(hypervolume(report, against))
    assert not any(t.get("hovertemplate", "").startswith(("random", "as much random", "forecast")) for t in drawing["data"])


def test_what_cannot_be_told_is_not_drawn() -> None:
    report = build_report(make_study(survivors=5))
    drawing = drawn(hypervolume(report))
    assert not any(t.get("hovertemplate", "").startswith(("random", "as much random", "forecast")) for t in drawing["data"])
    assert hypervolume(report, "tokens") is None, "none of them is in the ledger"
    lost = dataclasses.replace(report, study=dataclasses.replace(report.study, timeline=()))
    assert hypervolume(lost, "elapsed_s") is None and not is_told(lost, "elapsed_s") and is_told(lost, "train_s")
    empty = build_report(make_study(survivors=0))
    assert all(hypervolume(empty, against) is None for against in ("train_s", "elapsed_s", "tokens"))


def test_of_thousands_of_moments_the_last_is_kept() -> None:
    points = [
        HypervolumePoint(trial=i, elapsed_s=i, train_s=i, search_s=i, tokens=i, value=i / 1e5, low=i / 1e5, high=i / 1e5)
        for i in range(7001)
    ]
    shown = thinned(points)
    assert len(shown) <= MOST_POINTS + 1 and shown[-1] is points[-1] and shown[0] is points[0]
    assert thinned(points[:1]) == points[:1] and thinned(points[:40]) == points[:40]
