"""The pages of a run and of a comparison in a real browser, offline: drawn whole, in both colours, at every width."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from autonas.api import report_run
from autonas.figures import theme
from autonas.pages.compare_page import write_comparison
from autonas.run_folder import keep_export
from tests.browsing import browser, findings_of_axe, needs_chromium, requests_of, show  # noqa: F401 — a fixture
from tests.pages.test_run_page import EXPORT, HOSTILE, SCORE, suite
from tests.reporting.runs import CURVE, STEP, probed, write_run
from tests.reporting.studies import make_study
from tests.reporting.test_comparison import better, renamed, told, with_recipe

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = write_run(
        folder / "a run", [*CURVE, probed(41, 4.0, 0.5, HOSTILE)], {"scores": {"val_loss": SCORE}, "suite": suite()}
    )
    keep_export(run, EXPORT)
    begun = write_run(folder / "begun", [{"tokens": STEP, "rollback": HOSTILE}])
    one = renamed(told(make_study(seed=0)), "one")
    other = renamed(with_recipe(better(one, 0.2), budget={"seed": 1}), HOSTILE)
    return {
        "run": report_run(run),
        "begun": report_run(begun),
        "comparison": write_comparison([one, other], folder / "compare.html"),
        "refused": write_comparison([one, with_recipe(other, objectives=["memory"])], folder / "refused.html"),
    }


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("name", ["run", "begun", "comparison", "refused"])
def test_a_page_is_whole_at_every_width_in_both_colours(
    browser: Any,  # noqa: F811
    pages: dict[str, Path],
    name: str,
    width: int,
    dark: bool,
) -> None:
    show(browser, pages[name], width=width, dark=dark)
    assert browser.get_log("browser") == []
    assert requests_of(browser) == []
    assert findings_of_axe(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    figures = json.loads(browser.execute_script("return document.getElementById('data').textContent"))["figures"]
    drawn = browser.execute_script("return [...document.querySelectorAll('.plotly svg.main-svg')].length")
    assert drawn >= len(figures)
    wide = "return [...document.querySelectorAll('[data-figure]')].every(e => e._fullLayout.width <= e.clientWidth + 1)"
    assert browser.execute_script(wide)
    paper = theme.DARK["paper"] if dark else theme.LIGHT["paper"]
    papers = "return [...document.querySelectorAll('[data-figure]')].map(e => e._fullLayout.paper_bgcolor)"
    colours = browser.execute_script(papers)
    assert set(colours) <= {paper}
    assert browser.find_elements("css selector", "main img, main b") == [], "no text of a run or a study is markup"


def shown(driver: Any) -> set[str]:
    """The kinds of traces that are in sight in any figure of a front or a volume."""
    kinds = """return [...document.querySelectorAll('[data-figure]')].flatMap((e) => e._fullData)
        .filter((trace) => trace.meta && trace.visible === true).map((trace) => trace.meta.kind)"""
    found: list[str] = driver.execute_script(kinds)
    return set(found)


def test_a_study_is_hidden_and_shown_everywhere_at_once(browser: Any, pages: dict[str, Path]) -> None:  # noqa: F811
    show(browser, pages["comparison"])
    assert shown(browser) == {"study-0", "study-1"}
    box = browser.find_element("css selector", ".studies input[value='study-1']")
    box.send_keys(" ")  # from the keyboard
    assert shown(browser) == {"study-0"}
    rows = browser.find_elements("css selector", "tr[data-study='study-1']")
    assert rows and not any(row.is_displayed() for row in rows)
    browser.find_element("id", "theme").click()
    assert shown(browser) == {"study-0"}, "other colours bring nobody back"
    box.click()
    assert shown(browser) == {"study-0", "study-1"} and all(row.is_displayed() for row in rows)


def test_a_hidden_study_stays_so_in_what_is_drawn_later(browser: Any, pages: dict[str, Path]) -> None:  # noqa: F811
    browser.get("about:blank")
    browser.get(pages["comparison"].as_uri())
    late = """const done = arguments[0]; document.querySelector(".studies input[value='study-0']").click();
        const wait = () => document.querySelector('[data-figure]:not([data-drawn])') ? setTimeout(wait, 20) : done();
        autonas.drawAll();
        wait();"""
    browser.execute_async_script(late)
    assert shown(browser) == {"study-1"}


def test_what_is_cut_off_is_reached_from_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:  # noqa: F811
    for name in ("run", "comparison"):
        show(browser, pages[name], width=390)
        unreachable = """return [...document.querySelectorAll('main .scroll, main pre')]
            .filter((e) => e.scrollWidth > e.clientWidth && e.tabIndex < 0).length"""
        assert browser.execute_script(unreachable) == 0


def saved(driver: Any, folder: Path) -> tuple[str, list[list[str]]]:
    """Name and lines of the file that the page's button saves."""
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    driver.find_element("id", "all-data").click()
    until = time.monotonic() + 20
    while not (files := list(folder.glob("*.csv"))) and time.monotonic() < until:
        time.sleep(0.02)
    (file,) = files
    return file.name, list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))


def plain(value: Any) -> float | str:
    """A value of a figure or of a CSV, to be compared."""
    try:
        return float(value)
    except ValueError:
        return str(value).removeprefix("'")


@pytest.mark.parametrize("name", ["run", "begun", "comparison", "refused"])
def test_everything_that_figures_and_tables_show_is_saved_as_csv(
    browser: Any,  # noqa: F811
    pages: dict[str, Path],
    tmp_path: Path,
    name: str,
) -> None:
    show(browser, pages[name])
    figures = json.loads(browser.execute_script("return document.getElementById('data').textContent"))["figures"]
    file, (head, *rows) = saved(browser, tmp_path)
    assert file != "page.csv" and browser.get_log("browser") == []
    assert head[:6] == ["figure", "series", "panel", "trial", "x", "y"] and all(len(row) == len(head) for row in rows)
    for figure, drawn in figures.items():
        points = [
            (plain(x), plain(y))
            for trace in drawn["data"]
            for x, y in zip(trace.get("x", ()), trace.get("y", ()), strict=True)
            if x is not None and y is not None
        ]
        assert [(plain(row[4]), plain(row[5])) for row in rows if row[0] == figure] == points
    shown_cells = "return [...document.querySelectorAll('main table tbody td')].map((cell) => cell.textContent)"
    cells = [" ".join(text.split()) for text in browser.execute_script(shown_cells)]
    saved_cells = [row[5].removeprefix("'") for row in rows if row[0].startswith("table: ")]
    assert saved_cells == cells, "with what would be a formula made a text"
    assert not [text for row in rows for text in row if text[:1] in ("=", "@")]


def test_a_page_without_scripts_has_no_dead_button(pages: dict[str, Path]) -> None:
    for name in ("run", "comparison"):
        text = pages[name].read_text(encoding="utf-8")
        assert '<button type="button" id="all-data" data-download="all" hidden>' in text
