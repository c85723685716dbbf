"""A real Chromium, with the network off, for tests of pages. Skipped where Debian's chromium and chromedriver are missing."""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not on the PATH")

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


def show(browser: Any, path: Path, *, width: int = 1400, height: int = 900, dark: bool = False) -> Any:
    """The browser with this page open and all of its figures drawn."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get("about:blank")  # or a link to a part of the page that is open would not load it again
    browser.get(path.as_uri())
    drawn = """const done = arguments[0];
        const wait = () => document.querySelector(".plotly[data-figure]:not([data-drawn])") ? setTimeout(wait, 20) : done();
        autonas.drawAll();
        wait();"""
    browser.execute_async_script(drawn)
    return browser


def requests_of(browser: Any) -> list[str]:
    """What was asked of a network since the page was opened."""
    told = [entry["message"] for entry in browser.get_log("performance")]
    return [message for message in told if "Network.requestWillBeSent" in message and '"url":"http' in message]


def findings_of_axe(browser: Any) -> list[str]:
    """What axe-core finds against the page by the rules of WCAG 2.2 A and AA that is serious or critical."""
    browser.execute_script(
        importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    )
    run = """const done = arguments[0], rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        axe.run(document, {runOnly: rules, resultTypes: ["violations"]}).then((result) => done(
            result.violations.map((v) => [v.impact, v.id, v.nodes.slice(0, 3).map((node) => node.html.slice(0, 160))])));"""
    found = browser.execute_async_script(run)
    return [f"{impact}: {rule}: {nodes}" for impact, rule, nodes in found if impact in ("serious", "critical")]
