"""The report in a real browser, with the network off: it opens everywhere, and all of its views say what the ledger says."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from autonas.reporting.front import build_report
from tests.browsing import browser, findings_of_axe, needs_chromium, requests_of
from tests.pages.test_study_page import EVIL, poisoned
from tests.pages.views import columns, numbered, opened, point_at, wait_for
from tests.reporting.studies import make_study

__all__ = ["browser"]  # a fixture
pytestmark = needs_chromium

# It opens


@pytest.mark.parametrize(
    ("width", "dark"),
    [(390, False), (1280, True)]
    + [
        pytest.param(width, dark, marks=pytest.mark.slow)
        for width, dark in ((390, True), (1280, False), (2560, False), (2560, True))
    ],
)
def test_it_opens_offline_without_an_error_a_request_or_a_barrier(browser: Any, tmp_path: Path, width: int, dark: bool) -> None:
    opened(browser, make_study(), tmp_path, width=width, dark=dark)
    assert browser.get_log("browser") == [] and requests_of(browser) == []
    drawn = browser.execute_script("return [...document.querySelectorAll('.plotly .scatterlayer')].length")
    assert drawn >= 6
    assert findings_of_axe(browser) == []
    browser.execute_script("document.querySelector('.front-table a.trial').click()")
    browser.execute_script("document.getElementById('inspector').animate([], 0)")
    assert findings_of_axe(browser) == [] and browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("objectives", "width"),
    [(6, 320), (4, 390), (2, 2560)]
    + [pytest.param(o, width, marks=pytest.mark.slow) for o in (2, 4, 6) for width in (320, 390, 1280, 2560)],
)
def test_the_page_never_scrolls_sideways(browser: Any, tmp_path: Path, width: int, objectives: int) -> None:
    names = ("val_loss", "params", "latency", "collapse_rate", "memory", "bits_per_byte")[:objectives]
    opened(browser, make_study(objectives=names), tmp_path, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # Text that is cut off without a way to reach it would be no better.
    clipped = """return [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth
        && getComputedStyle(e).overflowX === 'hidden' && !e.closest('.plotly')).length"""
    assert browser.execute_script(clipped) == 0


@pytest.mark.parametrize(("width", "then"), [(1400, 1100), (390, 844), (844, 390)])
def test_figures_follow_the_width_of_a_window_and_stay_apart(browser: Any, tmp_path: Path, width: int, then: int) -> None:
    opened(browser, make_study(trials=30, survivors=12), tmp_path, width=width)
    numbered(browser)
    metrics = {"width": then, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    figures = "[...document.querySelectorAll('.plotly[data-figure]')]"
    own = "Math.abs(figure.querySelector('.main-svg').clientWidth - figure.clientWidth) <= 1"
    assert wait_for(browser, f"{figures}.every((figure) => {own})")
    heights = (
        f"return {figures}.map((figure) => [figure.clientHeight, autonas.data.figures[figure.dataset.figure].layout.height])"
    )
    assert all(shown == meant for shown, meant in browser.execute_script(heights))
    assert wait_for(browser, "new Promise((done) => setTimeout(() => done(true), 300))")
    numbered(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= then
    assert browser.get_log("browser") == []


def test_a_study_with_one_objective_or_without_a_front_opens_too(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(objectives=("val_loss",)), tmp_path)
    assert browser.get_log("browser") == [] and browser.find_element("id", "recommended").text.startswith("Trial")
    opened(browser, dataclasses.replace(make_study(), trials=(), timeline=(), attributes={}), tmp_path)
    assert browser.get_log("browser") == []
    assert "no front" in browser.find_element("css selector", "header").text


def test_hostile_text_does_nothing(browser: Any, tmp_path: Path) -> None:
    opened(browser, poisoned(), tmp_path)
    assert browser.get_log("browser") == []
    point_at(browser, ".front-table tbody tr a.trial", click=True)
    assert "</script>" in browser.find_element("id", "inspector").text
    browser.execute_script("document.querySelector('.all a, .all tr').click()")
    assert not browser.find_elements("css selector", "img[src=x]") and browser.get_log("browser") == []
    assert any(EVIL[:20] in cell for row in columns(browser).values() for cell in row.values() if cell)


# All views agree with the ledger


def test_the_table_the_figures_and_the_csv_say_what_the_ledger_says(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=40, survivors=16, infeasible=8, failures=2)
    report = build_report(study)
    opened(browser, study, tmp_path)
    rows = columns(browser)
    assert sorted(rows) == [trial.number for trial in study.trials]
    kinds = {s.number: "knee" if s.is_knee else "front" if s.on_front else "final" for s in report.standings}
    for trial in study.trials:
        row = rows[trial.number]
        assert row["kind"] == kinds.get(trial.number, "repeat" if trial.repeat_of is not None else trial.state)
        assert (row["width"] or None) == (str((trial.spec.to_dict() if trial.spec else trial.params)["width"]))
        assert row["fingerprint"] == (trial.spec.fingerprint if trial.spec else "")
    for standing in report.standings:
        for name, score in standing.trial.scores.items():
            own = rows[standing.number]
            told = [float(own[key]) for key in (name, f"{name}_low", f"{name}_high")]
            assert told == pytest.approx([score.value, score.low, score.high], rel=1e-5)
    heads = browser.execute_script(
        """return [...document.querySelectorAll(".front-table tbody tr")].map(
            (row) => [row.dataset.trial, ...[...row.cells].slice(2, 6).map((cell) => Number(cell.dataset.value))])"""
    )
    assert {int(number) for number, *_ in heads} == set(kinds)
    for number, *values in heads:
        wanted = [float(rows[int(number)][objective.name]) for objective in report.objectives]
        assert values == pytest.approx(wanted, rel=1e-5)
    drawn = browser.execute_script(
        """return document.getElementById("figure-scatter-val_loss-params").data.filter((trace) => !trace.xaxis).flatMap(
            (trace) => trace.x.map((x, i) => [trace.customdata[i][0], x, trace.y[i]]))"""
    )
    for number, x, y in drawn:
        assert (x, y) == pytest.approx((float(rows[number]["val_loss"]), float(rows[number]["params"])), rel=1e-5)
    assert set(kinds) <= {number for number, *_ in drawn}


def test_a_formula_in_a_name_is_text_in_the_csv(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    trials = (dataclasses.replace(study.trials[0], reason='=1+1,"x"\n2'), *study.trials[1:])
    opened(browser, dataclasses.replace(study, trials=trials), tmp_path)
    assert columns(browser)[0]["reason"] == '\'=1+1,"x"\n2'


def test_every_figure_gives_its_data_as_csv(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    opened(browser, study, tmp_path)
    names = browser.execute_script("return Object.keys(autonas.data.figures)")
    for name in names:
        rows = list(csv.DictReader(io.StringIO(browser.execute_script("return autonas.figureCsv(arguments[0])", name))))
        assert rows and all(row["x is"] and (row["x"] or row["y"]) for row in rows), name
    rows = list(csv.DictReader(io.StringIO(browser.execute_script("return autonas.figureCsv('scatter-val_loss-latency')"))))
    standings = {standing.number: standing.trial.scores for standing in build_report(study).standings}
    told = {int(row["trial"]): row for row in rows if row["series"] in ("front", "knee")}
    for number, row in told.items():
        scores = standings[number]
        wanted = [scores["val_loss"].value, scores["val_loss"].low, scores["latency"].value, scores["latency"].high]
        assert [float(row[key]) for key in ("x", "x_low", "y", "y_high")] == pytest.approx(wanted, rel=1e-4)
    assert browser.find_elements("css selector", ".modebar-btn[data-title='Download its data as CSV']")


# Colours


def test_dark_follows_the_reader_and_the_switch(browser: Any, tmp_path: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    figure = "return document.getElementById('figure-scatter-val_loss-params').layout.paper_bgcolor"
    light, dark = "rgb(255, 255, 251)", "rgb(20, 22, 26)"
    for wanted, paper, is_dark in ((light, "#fffffb", False), (dark, "#14161a", True)):
        opened(browser, make_study(), tmp_path, dark=is_dark)
        assert browser.execute_script(background) == wanted and browser.execute_script(figure) == paper
    browser.find_element("id", "theme").click()
    assert browser.execute_script(background) == light
    wait_for(browser, f"({figure.removeprefix('return ')}) === '#fffffb'")
