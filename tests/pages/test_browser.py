"""The report in a real browser, with the network off: what is clicked, brushed and moved, and that all views agree."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from autonas.pages.study_page import write_report
from autonas.promotion.select import Preference, choose
from autonas.reporting.front import build_report
from autonas.trial import StudyRecord
from tests.browsing import CHROMEDRIVER, CHROMIUM, browser, findings_of_axe, needs_chromium, requests_of, show, webdriver
from tests.pages.test_study_page import EVIL, poisoned
from tests.reporting.studies import make_study

__all__ = ["CHROMEDRIVER", "CHROMIUM", "browser"]  # a fixture, and what other tests ask for
pytestmark = needs_chromium
ESCAPE, ENTER, UP, DELETE = "\ue00c", "\ue007", "\ue013", "\ue017"


def opened(browser: Any, study: StudyRecord, folder: Path, *, width: int = 1400, dark: bool = False) -> Any:
    """The browser with the study's report open at this width."""
    return show(browser, write_report(study, folder / "report.html"), width=width, dark=dark)


def lit(browser: Any) -> set[str]:
    return set(browser.execute_script("return [...document.querySelectorAll('.lit')].map(e => e.dataset.trial)"))


def point_at(browser: Any, selector: str, *, click: bool = False) -> None:
    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    actions = webdriver.ActionChains(browser).move_to_element(element)
    (actions.click() if click else actions).perform()


PLACE = """const [name, trial] = arguments, element = document.getElementById("figure-" + name);
    element.scrollIntoView({block: "center"});
    for (const [c, trace] of element.data.entries()) {
        const i = (trace.customdata || []).findIndex((own) => String(own[0]) === trial);
        if (i < 0 || trace.visible === false) continue;
        const shown = [...element.data.keys()].filter((k) => element.data[k].visible !== false);
        const node = element.querySelectorAll(".scatterlayer .trace .points")[shown.indexOf(c)];
        const box = node.children[i].getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }"""


def point_in_figure(browser: Any, name: str, trial: int, *, click: bool = False) -> None:
    """Move the pointer onto a trial's mark in a figure."""
    x, y = browser.execute_script(PLACE, name, str(trial))
    actions = webdriver.ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(round(x) - 3, round(y) - 2)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    if click:
        actions.w3c_actions.pointer_action.click()
    actions.perform()


def marked(browser: Any, name: str) -> list[dict[str, Any]]:
    """The shapes over a figure."""
    found: list[dict[str, Any]] = browser.execute_script(f"return document.getElementById('figure-{name}').layout.shapes || []")
    return found


def wait_for(browser: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 10).until(lambda driver: driver.execute_script(f"return {script}"))


def columns(browser: Any) -> dict[int, dict[str, str]]:
    """What the page offers as CSV, by trial."""
    rows = csv.DictReader(io.StringIO(browser.execute_script("return autonas.csv()")))
    return {int(row["number"]): row for row in rows}


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
        """return document.getElementById("figure-scatter-val_loss-params").data.flatMap(
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


# Pointing, clicking, keyboard


def test_pointing_at_a_trial_lights_it_in_every_view(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    knee = build_report(study).knee
    assert knee is not None
    opened(browser, study, tmp_path)
    point_in_figure(browser, "scatter-val_loss-params", knee.number)
    wait_for(browser, "document.querySelector('.lit')")
    assert lit(browser) == {str(knee.number)}
    assert all(browser.find_elements("css selector", f"{view} .lit") for view in ("svg.parallel", ".front-table", ".all"))
    for name in ("scatter-val_loss-params", "scatter-latency-collapse_rate"):
        assert any(shape["path"].startswith("M9,0") for shape in marked(browser, name))
    point_at(browser, "h1")
    wait_for(browser, "!document.querySelector('.lit')")
    middle = """const line = document.querySelector("svg.parallel .mark.knee .reach");
        line.scrollIntoView({block: "center"});
        const place = line.getPointAtLength(line.getTotalLength() * 0.43).matrixTransform(line.getScreenCTM());
        return [place.x, place.y];"""
    x, y = browser.execute_script(middle)
    actions = webdriver.ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    assert browser.find_element("id", "tip").text.startswith(f"Trial {knee.number}:")


def test_a_click_in_a_figure_shows_details_and_escape_puts_them_away(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    knee = build_report(study).knee
    assert knee is not None
    opened(browser, study, tmp_path)
    point_in_figure(browser, "scatter-params-latency", knee.number, click=True)
    inspector = browser.find_element("id", "inspector")
    wait_for(browser, "!document.getElementById('inspector').hidden")
    words = inspector.text
    for part in (
        "knee of the front",
        "Validation loss",
        "Nearest on the front",
        "Generations",
        "Architecture",
        "Attention",
        "embedding",
    ):
        assert part in words
    assert f"autonas promote quickstart --trial {knee.number}" in words and inspector.find_elements(
        "css selector", ".sample pre"
    )
    assert browser.current_url.endswith(f"#trial-{knee.number}")
    point_at(browser, "h1")
    assert lit(browser) != set(), "what was clicked stays"
    webdriver.ActionChains(browser).send_keys(ESCAPE).perform()
    assert not inspector.is_displayed() and lit(browser) == set()


def test_a_link_to_a_trial_opens_its_details(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    number = next(trial.number for trial in study.trials if trial.state == "stopped")
    path = write_report(study, tmp_path / "report.html")
    browser.get("about:blank")
    browser.get(f"{path.as_uri()}#trial-{number}")
    assert "stopped" in browser.find_element("id", "inspector").text
    assert "not to be compared with the front" in browser.find_element("id", "inspector").text


def test_the_parts_of_a_trial_add_up_to_its_parameters(browser: Any, tmp_path: Path) -> None:
    from autonas import cost

    study = make_study()
    opened(browser, study, tmp_path)
    read = """return ["params", "flops"].map((name) => Object.values(autonas.data.trials.parts[name]).reduce(
        (sum, column) => sum + (autonas.at(column, arguments[0]) || 0), 0))"""
    for trial in study.trials:
        if trial.spec is not None:
            told = browser.execute_script(read, trial.number)
            assert told == [cost.count_params(trial.spec), cost.forward_flops_per_token(trial.spec)]


def test_everything_works_from_the_keyboard(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    link = browser.find_element("css selector", ".front-table tbody tr:nth-child(2) a.trial")
    browser.execute_script("arguments[0].focus()", link)
    assert lit(browser) == {link.text}
    link.send_keys(ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "inspector"
    browser.find_element("css selector", "#inspector .close").send_keys(ENTER)
    assert browser.switch_to.active_element == link
    assert not browser.find_element("id", "inspector").is_displayed()
    dropped = browser.find_element("css selector", ".all tr.infeasible a.trial")
    browser.execute_script("document.querySelector('#trials details').open = true; arguments[0].focus()", dropped)
    dropped.send_keys(ENTER)
    assert "infeasible" in browser.find_element("id", "inspector").text


def test_a_drawer_takes_the_focus_and_gives_it_back_wherever_it_was_opened(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    path = write_report(study, tmp_path / "report.html")
    front = build_report(study).front
    browser.get("about:blank")
    browser.get(f"{path.as_uri()}#trial-{front[0].number}")
    assert browser.switch_to.active_element.get_attribute("id") == "inspector"
    browser.execute_script("document.querySelector('#inspector .neighbours a').click()")
    assert browser.switch_to.active_element.get_attribute("id") == "inspector"
    webdriver.ActionChains(browser).send_keys(ESCAPE).perform()
    assert browser.switch_to.active_element.get_attribute("class").startswith("trial")
    browser.execute_script(f"location.hash = '#trial-{front[-1].number}'")
    wait_for(browser, f"document.querySelector('#inspector h2')?.textContent === 'Trial {front[-1].number}'")


def test_a_table_sorts_by_numbers_both_ways(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=30, survivors=14), tmp_path)
    read = "return [...document.querySelectorAll('.front-table tbody tr')].map(r => Number(r.cells[3].dataset.value))"
    for order in (False, True):
        browser.find_element("css selector", ".front-table thead th:nth-child(4) button").click()
        sizes = browser.execute_script(read)
        assert sizes == sorted(sizes, reverse=order) and len(set(sizes)) > 5


# Which one to take

SET = """const form = document.getElementById("choice");
    for (const [name, value] of Object.entries(arguments[0])) form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
    const want = autonas.wanted(), found = autonas.choose(want);
    return {limits: want.limits, texts: want.texts, order: found.order.map((f) => autonas.data.choice.trials[f]),
        shares: [...found.shares].map(([f, n]) => [autonas.data.choice.trials[f], n]), none: found.none,
        told: document.getElementById("recommended").innerText,
        ringed: [...document.querySelectorAll(".front-table tr.recommended-trial")].map((r) => Number(r.dataset.trial))}"""


def preference_of(names: list[str], found: dict[str, Any], controls: dict[str, float | str]) -> Preference:
    """What the panel asks for, as `autonas promote` would read it from the command."""
    limits = {name: float(text) for name, text in zip(names, found["texts"], strict=True) if text is not None}
    weights = {key.removeprefix("weight-"): float(v) for key, v in controls.items() if key.startswith("weight-")}
    return Preference(select=str(controls.get("by", "knee")), limits=limits, weights=weights)


def test_the_recommended_trial_is_the_one_that_promote_would_pick(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30, seed=3)
    report = build_report(study)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in report.objectives]
    plain: dict[str, float | str] = {"by": "knee"}
    for name in names:
        plain |= {f"limit-{name}": 99, f"weight-{name}": 1}
    asked: list[dict[str, float | str]] = [{}, {"weight-params": 4, "weight-val_loss": 0.25}, {"weight-latency": 0}]
    asked += [{"limit-params": 3}, {"by": "latency"}]
    asked += [{"limit-val_loss": 2, "weight-collapse_rate": 3}, {"by": "val_loss", "limit-latency": 4}]
    for controls in asked:
        found = browser.execute_script(SET, plain | controls)
        pick = choose(report, preference_of(names, found, controls))
        assert found["order"][0] == pick.trial and found["ringed"] == [pick.trial], controls
        assert len(found["order"]) == pick.num_within
        assert f"Trial {pick.trial}" in found["told"] and "autonas promote quickstart" in found["told"]
        for name, text in zip(names, found["texts"], strict=True):
            assert (f"--limit {name}={text}" in found["told"]) == (text is not None)
        told = marked(browser, "scatter-val_loss-params")
        assert any(shape["path"].startswith("M13,0") for shape in told)


def test_every_limit_admits_what_promote_admits_and_its_shares_are_those_of_the_draws(browser: Any, tmp_path: Path) -> None:
    """A trial is within the limit that is its own value: on the page, in the command, and in every draw where it is exact."""
    import numpy as np

    from autonas.promotion.select import knee_distances

    study = make_study(trials=60, survivors=24, seed=4)
    report = build_report(study)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in report.objectives]
    data = browser.execute_script("return autonas.data.choice")
    drawn, count = data["drawn"], data["num_draws"]
    values = np.repeat(np.array(data["values"])[None], count, axis=0)
    values[:, :, drawn] = np.array(data["draws"]).reshape(count, len(data["trials"]), len(drawn))
    distances = knee_distances(values, report.objectives, {})
    plain: dict[str, float | str] = {"by": "knee"} | {f"limit-{name}": 99 for name in names}
    for k, name in enumerate(names):
        for step, text in enumerate(data["steps"][k]):
            found = browser.execute_script(SET, plain | {f"limit-{name}": step})
            assert found["texts"][k] == text
            pick = choose(report, Preference(limits={name: float(text)}))
            assert (found["order"][0] == pick.trial and len(found["order"]) == pick.num_within == step + 1) or len(
                found["order"]
            ) == pick.num_within >= step + 1, (name, text)
            limit = np.log(float(text)) if report.objectives[k].logarithmic else float(text)
            inside = values[:, :, k] <= limit if k in drawn else np.array(data["scores"])[None, :, k] <= float(text)
            best = np.where(inside, distances, np.inf).argmin(axis=1)
            some = np.broadcast_to(inside, distances.shape).any(axis=1)
            wanted = {
                data["trials"][f]: int(n) for f, n in enumerate(np.bincount(best[some], minlength=len(data["trials"]))) if n
            }
            assert dict(found["shares"]) == wanted and found["none"] == int((~some).sum()), (name, text)


def test_a_limit_can_be_written_and_nonsense_is_marked(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30, seed=3)
    report = build_report(study)
    opened(browser, study, tmp_path)
    most = int(sorted(standing.trial.scores["params"].value for standing in report.front)[5])
    write = """const field = document.getElementById("choice").elements["most-params"];
        field.value = arguments[0];
        field.dispatchEvent(new Event("change", {bubbles: true}));
        const told = document.getElementById("recommended").innerText;
        return [autonas.wanted().limits[1], field.hasAttribute("aria-invalid"), told]"""
    for text in (f"{most}", f"{most:,}", f"{most / 1e3}k", f"{most / 1e6} M", f"≤ {most}"):
        limit, invalid, told = browser.execute_script(write, text)
        assert limit == most and not invalid, text
        pick = choose(report, Preference(limits={"params": most}))
        assert f"Trial {pick.trial}" in told and f"--limit params={most}" in told
    assert browser.execute_script(write, "any")[:2] == [None, False]
    limit, invalid, _ = browser.execute_script(write, "small")
    assert invalid and limit is None


def test_a_pick_of_ones_own_is_marked_until_it_is_taken_back(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    number = build_report(study).front[0].number
    opened(browser, study, tmp_path)
    press = "document.querySelector('#inspector button.copy:not(.command *)').click()"
    browser.execute_script(f"document.querySelector('.front-table a[href=\"#trial-{number}\"]').click(); {press}")
    webdriver.ActionChains(browser).send_keys(ESCAPE).perform()
    read = "return [...document.querySelectorAll('.front-table tr.my-pick')].map((row) => Number(row.dataset.trial))"
    assert browser.execute_script(read) == [number]
    assert any(shape["path"].startswith("M17,0") for shape in marked(browser, "scatter-val_loss-params"))
    browser.execute_script(f"document.querySelector('.front-table a[href=\"#trial-{number}\"]').click(); {press}")
    assert browser.execute_script(read) == []


def test_the_knee_and_the_best_of_each_objective_are_numbered_in_the_figures(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30)
    report = build_report(study)
    assert report.knee is not None
    opened(browser, study, tmp_path)
    wanted = {str(report.knee.number)}
    for objective in report.objectives:
        wanted.add(str(min(report.front, key=lambda s: (s.trial.scores[objective.name].value, s.number)).number))
    read = "return document.getElementById('figure-scatter-val_loss-params').layout.annotations.map((note) => note.text)"
    assert set(browser.execute_script(read)) == wanted


def test_how_sure_a_pick_is_agrees_with_draws_of_our_own(browser: Any, tmp_path: Path) -> None:
    """The shares of the page's few draws against those of many, worked out here by promotion's own distances."""
    import numpy as np

    from autonas.promotion.select import knee_distances
    from autonas.reporting import history, uncertainty

    study = make_study(trials=40, survivors=12, seed=5)
    report = build_report(study)
    opened(browser, study, tmp_path)
    found = browser.execute_script(SET, {})
    trials = [standing.trial for standing in report.standings]
    at = [i for i, standing in enumerate(report.standings) if standing.on_front]
    draws = uncertainty.draw_scores(trials, report.objectives, report.seed_noise, 4000)[:, at]
    best = knee_distances(history.compared(draws, report.objectives), report.objectives, {}).argmin(axis=1)
    wanted = np.bincount(best, minlength=len(at)) / len(best)
    told = dict(found["shares"])
    count = sum(told.values())
    for place, standing in zip(range(len(at)), report.front, strict=True):
        share = told.get(standing.number, 0) / count
        assert abs(share - wanted[place]) < 4 * (wanted[place] * (1 - wanted[place]) / count) ** 0.5 + 0.02


def test_limits_that_leave_nothing_say_so(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in build_report(study).objectives]
    found = browser.execute_script(SET, {f"limit-{name}": 0 for name in names})
    assert found["order"] == [] and "Raise one of them" in found["told"] and found["ringed"] == []
    nothing = {f"weight-{name}": 0 for name in names} | {f"limit-{name}": 99 for name in names}
    assert "leave one above 0" in browser.execute_script(SET, nothing)["told"]


# Brushes and kinds


def kept(browser: Any) -> set[int]:
    read = "return [...document.querySelectorAll('svg.parallel .mark:not(.out)')].map(m => Number(m.dataset.trial))"
    return set(browser.execute_script(read))


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
    assert set(chosen) == {
        number for number in within if "val_loss" in columns(browser)[number] and columns(browser)[number]["val_loss"]
    }
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
            figure.layout.yaxis.tickmode, figure.layout.shapes.length, figure.layout.annotations.length])"""
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
