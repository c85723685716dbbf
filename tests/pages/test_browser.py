"""The report in a real browser, with the network off. Skipped where Debian's chromium and chromedriver are not installed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autonas.pages.study_page import write_report
from autonas.trial import StudyRecord
from tests.pages.test_study_page import poisoned
from tests.reporting.studies import make_study

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not on the PATH")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


def opened(browser: Any, study: StudyRecord, folder: Path, *, width: int = 1400, dark: bool = False) -> Any:
    """The browser with the study's report open at this width."""
    path = write_report(study, folder / "report.html")
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    return browser


def lit(browser: Any) -> set[str]:
    return set(browser.execute_script("return [...document.querySelectorAll('.lit')].map(e => e.dataset.trial)"))


def point_at(browser: Any, selector: str, *, click: bool = False) -> None:
    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    actions = webdriver.ActionChains(browser).move_to_element(element)
    (actions.click() if click else actions).perform()


def test_it_opens_offline_without_an_error_or_a_request(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    assert browser.get_log("browser") == []
    requests = [entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]]
    assert not [message for message in requests if '"url":"http' in message]
    assert browser.execute_script("return document.documentElement.classList.contains('js')")


def test_pointing_at_a_trial_lights_it_in_every_view(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    knee = browser.find_element("css selector", "tr.knee").get_attribute("data-trial")
    point_at(browser, "svg.scatter .mark.knee .hit")
    assert lit(browser) == {knee}
    views = ("svg.scatter .lit", "svg.parallel .lit", "svg.curves .lit", "svg.steps .lit", ".front-table .lit", ".all .lit")
    assert all(browser.find_elements("css selector", view) for view in views)
    assert browser.find_element("id", "tip").text.startswith(f"Trial {knee}:")
    point_at(browser, "h1")
    assert lit(browser) == set() and not browser.find_element("id", "tip").is_displayed()


def test_a_click_shows_details_and_escape_puts_them_away(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    point_at(browser, "svg.scatter .mark.knee .hit", click=True)
    inspector = browser.find_element("id", "inspector")
    words = inspector.text
    for part in ("knee of the front", "Validation loss", "Learning curve", "Generations", "Architecture", "layers"):
        assert part in words
    assert inspector.find_elements("css selector", "svg .lit") and inspector.find_elements("css selector", ".sample pre")
    point_at(browser, "h1")
    assert lit(browser) != set(), "what was clicked stays"
    webdriver.ActionChains(browser).send_keys("\ue00c").perform()
    assert not inspector.is_displayed() and lit(browser) == set()


def test_a_stopped_trial_has_details_too(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    point_at(browser, ".chip a", click=True)
    assert "stopped" in browser.find_element("id", "inspector").text


def test_everything_works_from_the_keyboard(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path)
    link = browser.find_element("css selector", ".front-table tbody tr:nth-child(2) a.trial")
    browser.execute_script("arguments[0].focus()", link)
    assert lit(browser) == {link.text}
    link.send_keys("\ue007")
    assert browser.switch_to.active_element.get_attribute("aria-label") == "Close"
    browser.switch_to.active_element.send_keys("\ue007")
    assert browser.switch_to.active_element == link
    assert not browser.find_element("id", "inspector").is_displayed()


def test_a_table_sorts_by_numbers_both_ways(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(trials=30, survivors=14), tmp_path)
    read = "return [...document.querySelectorAll('.front-table tbody tr')].map(r => Number(r.cells[3].dataset.value))"
    for order in (False, True):
        browser.find_element("css selector", ".front-table thead th:nth-child(4) button").click()
        sizes = browser.execute_script(read)
        assert sizes == sorted(sizes, reverse=order) and len(set(sizes)) > 5


@pytest.mark.parametrize("objectives", [2, 4, 6])
@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_the_page_never_scrolls_sideways(browser: Any, tmp_path: Path, width: int, objectives: int) -> None:
    names = ("val_loss", "params", "latency", "collapse_rate", "memory", "bits_per_byte")[:objectives]
    opened(browser, make_study(objectives=names), tmp_path, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # Text that is cut off without a way to reach it would be no better.
    clipped = """return [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth
        && getComputedStyle(e).overflowX === 'hidden').length"""
    assert browser.execute_script(clipped) == 0


def test_drawings_can_be_read_on_a_phone(browser: Any, tmp_path: Path) -> None:
    opened(browser, make_study(), tmp_path, width=390)
    heights = """return [...document.querySelectorAll('svg.plot text')].map(t => t.getBoundingClientRect().height)"""
    assert min(browser.execute_script(heights)) >= 9


@pytest.mark.parametrize("last", ["collapse_rate", "degeneration", "collapse_prior"])
def test_no_text_of_a_drawing_is_cut_at_its_edge(browser: Any, tmp_path: Path, last: str) -> None:
    opened(browser, make_study(objectives=("val_loss", "params", "latency", last)), tmp_path, width=1400)
    cut = """return [...document.querySelectorAll('svg.plot text')].filter(t => {
        const [inner, outer] = [t, t.closest('svg')].map(e => e.getBoundingClientRect());
        return inner.left < outer.left - 1 || inner.right > outer.right + 1 }).map(t => t.textContent)"""
    assert browser.execute_script(cut) == []


def test_dark_follows_the_reader(browser: Any, tmp_path: Path) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    seen = [opened(browser, make_study(), tmp_path, dark=dark).execute_script(background) for dark in (False, True)]
    assert seen == ["rgb(255, 255, 251)", "rgb(20, 22, 26)"]


def test_hostile_text_does_nothing(browser: Any, tmp_path: Path) -> None:
    opened(browser, poisoned(), tmp_path)
    assert browser.get_log("browser") == []
    point_at(browser, ".front-table tbody tr a.trial", click=True)
    assert "</script>" in browser.find_element("id", "inspector").text
    assert not browser.find_elements("css selector", "img")


def test_a_study_without_a_front_opens_too(browser: Any, tmp_path: Path) -> None:
    opened(browser, dataclasses.replace(make_study(), trials=(), timeline=(), attributes={}), tmp_path)
    assert browser.get_log("browser") == []
    assert "no front" in browser.find_element("css selector", "header").text
