"""What is pointed at, clicked or reached by the keyboard is marked in every view, and its details are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autonas.pages.study_page import write_report
from autonas.reporting.front import build_report
from tests.browsing import browser, needs_chromium, webdriver
from tests.pages.views import ENTER, ESCAPE, lit, marked, opened, point_at, point_in_figure, wait_for
from tests.reporting.studies import make_study

__all__ = ["browser"]  # a fixture
pytestmark = needs_chromium


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


def test_a_repeat_is_told_to_be_merged_and_not_to_be_short(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    repeat = next(trial for trial in study.trials if trial.repeat_of is not None and trial.state == "complete")
    browser.get("about:blank")
    browser.get(f"{write_report(study, tmp_path / 'report.html').as_uri()}#trial-{repeat.number}")
    words = browser.find_element("id", "inspector").text
    assert f"Merged into trial {repeat.repeat_of}" in words and "short of the last rung" not in words


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
