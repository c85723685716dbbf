"""The drawing of who worked when: every job at its place, pauses cut out, thinning that says so, hostile hosts."""

from __future__ import annotations

import pytest

from autonas.figures.timeline import MOST_LANES, MOST_SEGMENTS, thinning_text, timeline
from autonas.figures.timeline import drawn as shown_of
from autonas.reporting.front import build_report
from autonas.reporting.timeline import timeline as timeline_of
from autonas.reporting.timeline import working_s
from autonas.trial import StudyRecord
from tests.figures.drawings import Drawing, check, drawn, texts, trials_of
from tests.reporting.studies import make_study, recipe, without_spans
from tests.reporting.test_timeline import Job, study_of


def drawing_of(jobs: list[Job]) -> Drawing:
    return drawn(timeline(build_report(reported(jobs))))


def reported(jobs: list[Job]) -> StudyRecord:
    """A study of these jobs that a report can be made of."""
    study = study_of(jobs)
    return type(study)(name="s", recipe=recipe(), attributes={}, trials=study.trials)


def bars(drawing: Drawing) -> list[tuple[float, float, int, int | None]]:
    """(begin, length, lane, trial) of every bar, in the axis' unit."""
    found = []
    for trace in drawing["data"]:
        found += list(zip(trace["base"], trace["x"], trace["y"], trace["customdata"], strict=True))
    return sorted(found, key=lambda bar: (bar[2], bar[0]))


def test_every_job_is_a_bar_in_the_lane_of_its_worker() -> None:
    report = build_report(make_study())
    found = timeline_of(report.study)
    assert found is not None
    drawing = drawn(timeline(report))
    check(drawing)
    assert len(bars(drawing)) == len(found.segments)
    assert trials_of(drawing) == {segment.trial for segment in found.segments if segment.trial is not None}
    unit = 60.0
    expected = sorted(
        (
            round(working_s(found, s.begin_s) / unit, 5),
            round(s.seconds / unit, 5),
            ["node-1:4001", "node-1:4002"].index(s.worker),
        )
        for s in found.segments
    )
    assert sorted(bar[:3] for bar in bars(drawing)) == expected
    assert drawing["layout"]["yaxis"]["ticktext"] == ["worker 1", "worker 2"]
    looks = [(trace["marker"]["color"], trace["marker"]["pattern"]["shape"]) for trace in drawing["data"]]
    assert {trace["marker"]["pattern"]["fillmode"] for trace in drawing["data"]} == {"overlay"}, "the colour stays seen"
    assert len({colour for colour, _ in looks}) == len({shape for _, shape in looks}) == len(looks)


def test_a_gap_stays_and_a_pause_is_cut_out_and_marked() -> None:
    drawing = drawing_of([("a:1", 0, 60), ("a:1", 90, 60), ("a:1", 100_000, 60)])
    assert [bar[:2] for bar in bars(drawing)] == [(0.0, 1.0), (1.5, 1.0), (2.5, 1.0)]
    (line,) = drawing["layout"]["shapes"]
    assert line["x0"] == line["x1"] == 2.5
    assert "pauses cut out" in drawing["layout"]["xaxis"]["title"]["text"]


def test_jobs_of_one_worker_at_the_same_time_do_not_hide_one_another() -> None:
    drawing = drawing_of([("a:1", 0, 60), ("a:1", 10, 60), ("b:1", 0, 60)])
    assert [bar[2] for bar in bars(drawing)] == [0, 1, 2]
    assert drawing["layout"]["yaxis"]["ticktext"] == ["worker 1", "", "worker 2"]


def test_of_too_many_jobs_neighbours_are_one_bar_and_it_is_said() -> None:
    many = 3 * MOST_SEGMENTS
    jobs = [("a:1", 10.0 * i + (300.0 if i > many // 2 else 0.0), 900.0 if i == many - 1 else 1.0 + i % 7) for i in range(many)]
    report = build_report(reported(jobs))
    found = timeline_of(report.study)
    assert found is not None
    drawing = drawn(timeline(report))
    check(drawing)
    made = bars(drawing)
    assert MOST_SEGMENTS // 4 < len(made) <= MOST_SEGMENTS
    ends = [begin + length for begin, length, *_ in made]
    assert all(end <= begin + 1e-4 for end, (begin, *_) in zip(ends, made[1:], strict=False)), "none hides another"
    gaps = [begin - end for end, (begin, *_) in zip(ends, made[1:], strict=False)]
    assert max(gaps) * 3600 > 290, "time in which nobody worked is still seen"
    assert made[-1][3] == many - 1, "a long job is a bar of its own"
    assert f"Of {many:,} jobs" in thinning_text(found) and "are one bar" in thinning_text(found)
    few = timeline_of(make_study())
    assert few is not None and thinning_text(few) == "" and len(shown_of(few)) == len(few.segments)


def test_of_too_many_workers_the_first_are_drawn_and_it_is_said() -> None:
    report = build_report(reported([(f"host:{i}", float(i), 30.0) for i in range(MOST_LANES + 5)]))
    found = timeline_of(report.study)
    assert found is not None and len(bars(drawn(timeline(report)))) == MOST_LANES
    assert f"first {MOST_LANES} of {MOST_LANES + 5} lanes" in thinning_text(found)


def test_a_hostile_host_is_a_text() -> None:
    drawing = drawing_of([("<b>x</b>%{base}\x1b:1", 0, 60)])
    assert not any("<b>" in text or "\x1b" in text or "%{base}" in text for text in texts(drawing))


@pytest.mark.parametrize("study", [without_spans(make_study()), make_study(trials=0, infeasible=0, failures=0, repeats=0)])
def test_without_spans_there_is_nothing_to_draw(study: StudyRecord) -> None:
    assert timeline(build_report(without_spans(study))) is None
