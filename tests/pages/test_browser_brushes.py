"""Brushes, kinds of trials and zooms, in a real browser, by mouse, finger and keys."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from autonas.reporting.front import build_report
from tests.browsing import browser, needs_chromium, webdriver
from tests.pages.views import (
    DELETE,
    ESCAPE,
    UP,
    columns,
    kept,
    lit,
    marked,
    numbered,
    opened,
    point_at,
    point_in_figure,
    wait_for,
)
from tests.reporting.studies import make_study

__all__ = ["browser"]  # a fixture
pytestmark = needs_chromium


def test_brushing_an_axis_keeps_exactly_the_trials_within(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=40, survivors=16)
    opened(browser, study, tmp_path)
    axis = browser.find_element("css selector", ".brushable[data-title='layers']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", axis)
    box = browser.execute_script("return arguments[0].querySelector('.brush-area').getBoundingClientRect().toJSON()", axis)
    # layers 1 to 4, equally spaced from the bottom: the lower half holds 1 and 2
    x, middle, end = (round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] * 0.55), round(box["bottom"]) - 1)
    actions = webdriver.ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(x, middle).pointer_down()
    actions.w3c_actions.pointer_action.move_to_location(x, end - 20).move_to_location(x, end).pointer_up()
    actions.perform()
    trials = {t.number: t for t in study.trials if t.repeat_of is None and t.spec is not None}
    within = {number for number, trial in trials.items() if trial.spec is not None and trial.spec.layers <= 2}
    assert kept(browser) == within and 0 < len(within) < len(trials)
    final = {standing.number for standing in build_report(study).standings}
    assert f"{len(within & final)} of the {len(final)} trials shown" in browser.find_element("id", "brushed").text
    faded = browser.execute_script(
        "return [...document.querySelectorAll('.front-table tr.out')].map(r => Number(r.dataset.trial))"
    )
    assert set(faded) == final - within
    chosen = browser.execute_script(
        """return document.getElementById("figure-scatter-val_loss-params").data.flatMap(
            (trace) => (trace.selectedpoints || []).map((i) => trace.customdata[i][0]))"""
    )
    assert set(chosen) == {number for number in within if columns(browser)[number]["params"]}
    axis.send_keys(DELETE)
    assert kept(browser) == set(trials)


def test_brushes_move_by_arrow_keys(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=40, survivors=16), tmp_path)
    everything = kept(browser)
    axis = browser.find_element("css selector", ".brushable[data-title='width']")
    browser.execute_script("arguments[0].focus()", axis)
    axis.send_keys(UP)
    narrow = kept(browser)
    assert narrow < everything and axis.get_attribute("aria-valuetext") in ("32 to 96", "32 to 64", "64 to 96"), (
        "in its own words"
    )
    axis.send_keys(UP, UP, UP, UP)
    assert kept(browser) != narrow
    axis.send_keys(ESCAPE)
    assert kept(browser) == everything and axis.get_attribute("aria-valuetext") == "everything"


def test_other_kinds_of_trials_can_be_shown_and_hidden(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=40, survivors=16, failures=2)
    opened(browser, study, tmp_path)
    state = """return document.getElementById("figure-scatter-val_loss-params").data
        .filter((trace) => trace.visible !== false).map((trace) => trace.meta.kind)"""
    assert set(browser.execute_script(state)) == {"final", "front", "knee"}
    for kind in ("stopped", "final"):
        browser.find_element("css selector", f"#kinds input[value={kind}]").click()
    assert set(browser.execute_script(state)) == {"stopped", "front", "knee"}
    hidden = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert browser.execute_script(hidden, ".front-table tr.final") == "none"
    assert browser.execute_script(hidden, "svg.parallel .mark.stopped") != "none"


def test_a_trial_without_one_of_two_scores_stands_at_the_edge_and_is_no_value(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=40, survivors=16, failures=2)
    number, params = next((t.number, t.scores["params"].value) for t in study.trials if t.state == "failed")
    opened(browser, study, tmp_path)
    name = "scatter-val_loss-params"  # its loss is not known: at the right, at its parameters
    browser.find_element("css selector", "#kinds input[value=infeasible]").click()
    browser.find_element("css selector", "#kinds input[value=failed]").click()
    whole = browser.execute_script(f"return {RANGES}")
    point_in_figure(browser, name, number)
    assert wait_for(browser, "document.querySelector('.hoverlayer .hovertext')") and lit(browser) >= {str(number)}
    hovered = browser.execute_script("return document.querySelector('.hoverlayer').textContent")
    assert f"Trial {number}" in hovered and "Validation loss: none" in hovered and "failed: not comparable" in hovered
    place = f"""(() => {{ const panel = document.querySelector("#figure-{name} .nsewdrag").getBoundingClientRect();
        const figure = document.getElementById("figure-{name}");
        const found = [...figure.querySelectorAll(".x2y .scatterlayer .point")].map((node) => node.getBoundingClientRect());
        return found.length && found.every((box) => Math.abs(box.x + box.width / 2 - panel.right) < 5); }})()"""
    assert wait_for(browser, place)
    ring = [shape for shape in marked(browser, name) if shape.get("xref") == "x2"]
    assert any(shape["yanchor"] == params and shape["xanchor"] == 1 for shape in ring), "it is ringed there"
    # What is zoomed, and gone back to, is the values alone.
    browser.execute_script(f"Plotly.relayout('figure-{name}', {{'xaxis.range[0]': 4, 'xaxis.range[1]': 4.5}})")
    assert wait_for(browser, place)
    browser.find_element("css selector", f"#figure-{name} .modebar-btn[data-title='Reset axes']").click()
    assert wait_for(browser, f"JSON.stringify({RANGES}) === {json.dumps(json.dumps(whole, separators=(',', ':')))}")
    browser.find_element("id", "theme").click()
    assert wait_for(browser, place)
    rows = list(csv.DictReader(io.StringIO(browser.execute_script("return autonas.figureCsv(arguments[0])", name))))
    (row,) = (row for row in rows if row["trial"] == str(number))
    assert (row["x"], float(row["y"]), row["x is"], row["panel"]) == ("", params, "Validation loss, nats/token", "1")
    assert browser.get_log("browser") == []


def test_zooming_one_panel_zooms_the_same_objective_in_the_others(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    zoom = "Plotly.relayout('figure-scatter-val_loss-params', {'xaxis.range[0]': 4, 'xaxis.range[1]': 4.5})"
    browser.execute_script(zoom)
    read = "document.getElementById('figure-scatter-val_loss-latency').layout.xaxis.range"
    assert wait_for(browser, f"({read} || []).join() === '4,4.5'")
    assert (
        browser.execute_script("return document.getElementById('figure-scatter-params-latency').layout.xaxis.range.join()")
        != "4,4.5"
    )


RANGES = """[...document.querySelectorAll(".plotly[id^=figure-scatter-]")].map(
    (figure) => ["xaxis", "yaxis"].map((axis) => figure._fullLayout[axis].range.map((end) => Number(end.toFixed(3)))))"""


def test_pointing_at_trials_leaves_zooming_and_going_back_as_they_were(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=40, survivors=16)
    knee = build_report(study).knee
    assert knee is not None
    opened(browser, study, tmp_path)
    whole = browser.execute_script(f"return {RANGES}")
    for row in (1, 4, 2):
        point_at(browser, f".front-table tbody tr:nth-child({row})")
        assert wait_for(browser, "document.querySelector('.lit')")
    point_at(browser, "h1")
    near = [round(knee.trial.scores["val_loss"].value + away, 3) for away in (-0.02, 0.2)]
    zoom = f"{{'xaxis.range[0]': {near[0]}, 'xaxis.range[1]': {near[1]}}}"
    browser.execute_script(f"Plotly.relayout('figure-scatter-val_loss-params', {zoom})")
    followed = f"JSON.stringify({RANGES}).split('[{near[0]},{near[1]}]').length === 4"
    assert wait_for(browser, followed), "the other two of the loss follow"
    assert wait_for(browser, "new Promise((done) => setTimeout(() => done(true), 200))")
    assert all(str(knee.number) in numbers for numbers in numbered(browser)), "numbers are placed anew, and none is cut off"
    browser.execute_script(
        "Plotly.relayout('figure-scatter-val_loss-params', {'xaxis.autorange': true, 'yaxis.autorange': true})"
    )
    assert wait_for(browser, f"JSON.stringify({RANGES}) === {json.dumps(json.dumps(whole, separators=(',', ':')))}")
    assert browser.get_log("browser") == []


def test_the_whole_can_be_gone_back_to_after_a_change_of_colours(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=40, survivors=16), tmp_path)
    own = "document.getElementById('figure-scatter-val_loss-params')"
    read = f"{own}._fullLayout.xaxis.range.map((end) => end.toPrecision(5)).join()"
    whole = browser.execute_script(f"return {read}")
    browser.execute_script(f"Plotly.relayout({own}, {{'xaxis.range[0]': 5, 'xaxis.range[1]': 5.2, dragmode: 'pan'}})")
    browser.find_element("id", "theme").click()
    assert wait_for(browser, f"{own}.layout.paper_bgcolor === '#14161a' && {read} === '5.0000,5.2000'")
    assert browser.execute_script(f"return {own}.layout.dragmode") == "pan"
    browser.execute_script(f"{own}.querySelector('.modebar-btn[data-val=reset]').dispatchEvent(new MouseEvent('click'))")
    assert wait_for(browser, f"{read} === {whole!r}")
    browser.find_element("id", "theme").click()


def test_brushing_takes_the_bars_of_what_is_dropped_too(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=40, survivors=16), tmp_path)
    bars = """[...document.getElementById("figure-scatter-val_loss-latency").data].flatMap((trace) => trace.customdata.flatMap(
        (own, i) => trace.error_x?.array?.[i] ? [own[0]] : []))"""
    every = set(browser.execute_script(f"return {bars}"))
    axis = browser.find_element("css selector", ".brushable[data-title='width']")
    axis.send_keys(UP)
    assert every & kept(browser) != every and set(browser.execute_script(f"return {bars}")) == every & kept(browser)
    axis.send_keys(ESCAPE)
    assert set(browser.execute_script(f"return {bars}")) == every


def test_a_finger_brushes_too(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=40, survivors=16), tmp_path, width=390)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        everything = kept(browser)
        axis = browser.find_element("css selector", ".brushable[data-title='layers']")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", axis)
        box = browser.execute_script("return arguments[0].querySelector('.brush-area').getBoundingClientRect().toJSON()", axis)
        x, top = box["x"] + box["width"] / 2, box["y"]
        for kind, share in (("touchStart", 0.5), *(("touchMove", 0.5 + 0.05 * i) for i in range(1, 9)), ("touchEnd", None)):
            points = [] if share is None else [{"x": x, "y": top + share * box["height"]}]
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        assert 0 < len(kept(browser)) < len(everything)
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_brushes_zooms_and_marks_outlast_a_change_of_colours(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=40, survivors=16), tmp_path)
    axis = browser.find_element("css selector", ".brushable[data-title='width']")
    axis.send_keys(UP)
    browser.execute_script("Plotly.relayout('figure-scatter-val_loss-params', {'yaxis.range[0]': 5, 'yaxis.range[1]': 5.2})")
    state = """const figure = document.getElementById("figure-scatter-val_loss-params");
        return JSON.stringify([figure.data.map((trace) => trace.selectedpoints), figure.layout.yaxis.range,
            figure.layout.yaxis.tickmode, figure.layout.shapes.length])"""
    before = browser.execute_script(state)
    browser.find_element("id", "theme").click()
    assert wait_for(browser, f"(() => {{{state}}})() === {before!r}")


def test_nothing_is_ringed_where_nothing_is_shown(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    stopped = next(trial.number for trial in study.trials if trial.state == "stopped")
    opened(browser, study, tmp_path)
    rings = """return document.getElementById("figure-scatter-val_loss-params").layout.shapes
        .filter((shape) => shape.path.startsWith("M9,0")).length"""
    browser.execute_script(f"location.hash = '#trial-{stopped}'")
    wait_for(browser, "!document.getElementById('inspector').hidden")
    assert browser.execute_script(rings) == 0
    browser.find_element("css selector", "#kinds input[value=stopped]").click()
    assert browser.execute_script(rings) == 1
