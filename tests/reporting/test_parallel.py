"""Parallel coordinates: which line lies where, and which trials have no place on an axis."""

from __future__ import annotations

import dataclasses
import re

from autonas.reporting.front import build_report
from autonas.reporting.marks import marks
from autonas.reporting.parallel import parallel
from autonas.trial import StudyRecord
from tests.reporting.studies import make_study


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_it_shows_what_varies_and_all_objectives() -> None:
    report = build_report(make_study())
    drawing = parallel(report, marks(report))
    assert drawing is not None
    titles = [axis.title for axis in drawing.axes]
    assert titles[-4:] == [objective.title for objective in report.objectives]
    assert "vocab size" not in titles and "width" in titles
    finals = {standing.number for standing in report.standings}
    assert {line.trial for line in drawing.lines} == {t.number for t in report.study.trials if t.repeat_of is None and t.spec}
    for line in drawing.lines:
        places = coordinates(line.path)
        assert (len(places) == len(titles)) == (line.trial in finals)
        assert all(drawing.top <= y <= drawing.bottom for _, y in places)
    tied = next(axis for axis in drawing.axes if axis.title == "tied embeddings")
    assert {tick.text for tick in tied.ticks} == {"yes", "no"}


def test_a_stopped_trial_has_no_place_where_only_the_last_rung_counts() -> None:
    report = build_report(make_study())
    drawing = parallel(report, marks(report))
    assert drawing is not None
    axes = {axis.x: axis.name for axis in drawing.axes}
    for line in drawing.lines:
        if line.kind == "stopped":
            there = {axes[x] for x, _ in coordinates(line.path)}
            assert {"params", "latency"} <= there and not {"val_loss", "collapse_rate"} & there


def test_better_lies_lower_and_order_is_kept() -> None:
    report = build_report(make_study(trials=30, survivors=15))
    drawing = parallel(report, marks(report))
    assert drawing is not None
    x = next(axis.x for axis in drawing.axes if axis.name == "val_loss")
    heights = {line.trial: dict(coordinates(line.path)).get(x) for line in drawing.lines}
    losses = {standing.number: standing.trial.scores["val_loss"].value for standing in report.standings}
    order = sorted(losses, key=lambda number: losses[number])
    lowest_first = [heights[number] for number in order]
    assert lowest_first == sorted(lowest_first, reverse=True)  # type: ignore[type-var]


def test_fewer_than_two_final_trials_are_nothing_to_compare() -> None:
    for survivors in (0, 1):
        report = build_report(make_study(survivors=survivors, repeats=0))
        assert parallel(report, marks(report)) is None


def test_a_study_in_which_everything_is_equal_can_be_drawn() -> None:
    study = make_study(survivors=3, repeats=0)
    first = next(trial for trial in study.trials if trial.state == "complete")
    twins = tuple(dataclasses.replace(first, number=number) for number in range(3))
    same: StudyRecord = dataclasses.replace(study, trials=twins, timeline=tuple((n, study.timeline[0][1]) for n in range(3)))
    report = build_report(same)
    drawing = parallel(report, marks(report))
    assert all(standing.on_front for standing in report.standings) and drawing is not None and len(drawing.lines) == 3
