"""The section "The search": every figure has its place and its text, and no text of a study is more than text."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from autonas.pages.html import page_environment
from autonas.pages.search_section import MOST_ROWS, flow, search_figures, search_section
from autonas.reporting.expenses import WAITING
from autonas.reporting.front import build_report
from autonas.reporting.importance import importances
from autonas.reporting.quantities import duration_text
from autonas.reporting.report import Report
from autonas.reporting.timeline import timeline
from autonas.trial import JobSpan, StudyRecord
from tests.pages.test_study_page import Page
from tests.reporting.studies import make_study, make_waiting_study, with_controls, without_spans
from tests.reporting.test_expenses import with_waiting

EVIL = "</script><img src=x onerror=alert(1)>{{ 7*7 }}'\"&<!--\x00\x1b[31m\u202e"


def rendered(report: Report) -> str:
    template = page_environment().from_string('{% from "search.html" import search_section %}{{ search_section(search) }}')
    return template.render(search=search_section(report))


def small(**changes: Any) -> StudyRecord:
    return make_study(documents=4, samples=8, curve_points=10, **changes)


STUDIES = {
    "finished": with_controls(small(trials=40, survivors=14)),
    "without spans": without_spans(small()),
    "nobody went on": small(survivors=0),
    "everybody went on": small(trials=6, survivors=6, repeats=0, infeasible=0, failures=0),
    "infeasible alone": small(trials=0, survivors=0, repeats=0, infeasible=3, failures=0),
    "empty": dataclasses.replace(small(), trials=(), timeline=(), attributes={}),
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES.keys())
def test_every_figure_has_its_place_and_every_place_its_figure(study: StudyRecord) -> None:
    report = build_report(study)
    section = Page(rendered(report))
    places = [attributes for _, attributes in section.elements if "data-figure" in attributes]
    assert sorted(str(place["data-figure"]) for place in places) == sorted(search_figures(report))
    for place in places:
        assert place["id"] == f"figure-{place['data-figure']}" and place["role"] == "img" and place["class"] == "plotly"
        label = str(place["aria-label"])
        assert label.endswith(".") and len(label) > 30 and "None" not in label and "nan" not in label
    names = [attributes["id"] for _, attributes in section.elements if "id" in attributes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES.keys())
def test_no_number_is_left_blank(study: StudyRecord) -> None:
    text = " ".join(Page(rendered(build_report(study))).text)
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b|\{\{|\{%", text)


def test_what_the_figures_show_is_there_in_words_and_tables() -> None:
    report = build_report(STUDIES["finished"])
    section = Page(rendered(report))
    text = " ".join(" ".join(section.text).split())
    for stop in report.stopped:
        assert f"#trial-{stop.number}" in {attributes.get("href") for _, attributes in section.elements}
    for point in report.hypervolume:
        assert f"{point.value:.3f}" in text and f"{point.low:.3f}–{point.high:.3f}" in text
    for said in ("Kendall's τ", "of that width", "busy", "declared repeats", "Random search alone", "node-1:4001"):
        assert said in text


def test_random_search_and_times_are_told_as_they_were_counted() -> None:
    study = with_controls(make_waiting_study(trials=40, survivors=14))
    report = build_report(with_waiting(study, 6.0))
    text = " ".join(" ".join(Page(rendered(report)).text).split())
    assert "with its 95 % interval at the end" in text and "beside random search with as many tokens" in text
    assert "Beside it, random search at the soonest" in text and "were stopped by this search's own scheduler" in text
    lanes = timeline(report.study)
    assert lanes is not None
    assert f"{duration_text(lanes.busy_s)} in all" in text and "add up to the time for which the workers above" in text
    assert f"{WAITING} – {duration_text(6.0 * sum(len(t.rungs) for t in study.trials))}" in text
    unspanned = tuple(
        dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, span=None) for o in t.rungs)) for t in study.trials
    )
    untold = " ".join(" ".join(Page(rendered(build_report(dataclasses.replace(study, trials=unspanned)))).text).split())
    assert "Random search is missing here: the study paused, or not every job" in untold and "at the soonest" not in untold
    plain = " ".join(Page(rendered(build_report(small()))).text)
    assert "Random search is missing here" not in plain and "as many tokens" not in plain


def test_given_importances_are_taken() -> None:
    report = build_report(STUDIES["finished"])
    found = importances(report)
    assert search_section(report, found) == search_section(report)
    none = [dataclasses.replace(each, shares=(), explained=None, problem="it was not asked") for each in found]
    assert "importance" not in search_figures(report, none)
    assert not search_section(report, none)["importance"]["drawn"]


def test_every_sampled_trial_is_in_the_flow() -> None:
    study = STUDIES["finished"]
    report = build_report(study)
    sampled, first, *_ = flow(report)
    originals = [trial for trial in study.trials if trial.repeat_of is None]
    assert sum(part["count"] for part in sampled["parts"]) == len(originals)
    assert sum(part["count"] for part in first["parts"]) == sampled["parts"][0]["count"]
    for row in flow(report):
        assert sum(part["width"] for part in row["parts"]) <= 100.01


def test_texts_of_a_study_stay_texts() -> None:
    study = small(trials=20)
    spec = next(trial.spec for trial in study.trials if trial.spec)
    trials = []
    for trial in study.trials:
        params = {EVIL: trial.number % 2, **trial.params}
        measured = None if trial.measured is None else JobSpan(worker=EVIL, began_at=trial.measured.began_at, seconds=1.0)
        rungs = tuple(dataclasses.replace(o, baselines={EVIL: 4.0, **o.baselines}) for o in trial.rungs)
        reason = f"{EVIL}: {EVIL}" if trial.state in ("infeasible", "failed") else trial.reason
        nearest = {EVIL: EVIL} if trial.nearest else None
        trials.append(
            dataclasses.replace(trial, params=params, measured=measured, rungs=rungs, reason=reason, nearest=nearest, spec=spec)
        )
    attributes = {**study.attributes, "closed": EVIL}
    recipe = {**study.recipe, "budget": {**study.recipe["budget"], "scheduler": EVIL}}
    report = build_report(dataclasses.replace(study, name=EVIL, trials=tuple(trials), attributes=attributes, recipe=recipe))
    text = rendered(report)
    section = Page(text)
    assert not {tag for tag, _ in section.elements} & {"img", "script"}
    assert not any(name.startswith("on") for _, attributes in section.elements for name in attributes)
    assert not any(character in text for character in "\x00\x1b\u202e")
    for figure in search_figures(report).values():
        assert "<img" not in figure.to_json() and "\\u003cimg" not in figure.to_json() and "\u202e" not in figure.to_json()


def test_a_table_of_thousands_ends_and_says_so() -> None:
    study = small(trials=4, survivors=1, repeats=0, infeasible=0, failures=0)
    stopped = next(trial for trial in study.trials if trial.state == "stopped")
    more = tuple(dataclasses.replace(stopped, number=len(study.trials) + i) for i in range(MOST_ROWS))
    stops = search_section(build_report(dataclasses.replace(study, trials=study.trials + more)))["stops"]
    assert len(stops["rows"]) == MOST_ROWS and stops["count"] == MOST_ROWS + 3
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 3}" in stops["more"]
