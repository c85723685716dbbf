"""What tests of the report do with a page: open it, point, click, and read what is marked."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import Any

from autonas.pages.study_page import write_report
from autonas.trial import StudyRecord
from tests.browsing import show, webdriver

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
        const drawn = [...element.querySelectorAll(".scatterlayer .trace")].find((one) => one.__data__[0].trace.index === c);
        const box = drawn.querySelector(".points").children[i].getBoundingClientRect();
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


def kept(browser: Any) -> set[int]:
    read = "return [...document.querySelectorAll('svg.parallel .mark:not(.out)')].map(m => Number(m.dataset.trial))"
    return set(browser.execute_script(read))


def numbered(browser: Any) -> list[list[str]]:
    """The trials that are numbered in each scatter plot, after seeing that none is cut off or lies on another or a ring."""
    read = """return [...document.querySelectorAll(".plotly[id^=figure-scatter-]")].map((figure) => {
        const texts = [...figure.querySelectorAll(".shape-label text, .textpoint text")];
        const box = (part) => part.getBoundingClientRect().toJSON();
        const rings = [...figure.querySelectorAll(".shapelayer path")].map(box).filter((ring) => ring.width > 10);
        const panel = box(figure.querySelector(".nsewdrag"));
        return [texts.map((text) => text.textContent), texts.map(box), panel, rings]; })"""
    found = []
    for texts, boxes, panel, rings in browser.execute_script(read):
        within = [
            (text, box)
            for text, box in zip(texts, boxes, strict=True)
            if panel["left"] <= (box["left"] + box["right"]) / 2 <= panel["right"]
            and panel["top"] <= (box["top"] + box["bottom"]) / 2 <= panel["bottom"]
        ]
        for text, box in within:
            assert panel["left"] - 2 <= box["left"] and box["right"] <= panel["right"] + 2, f"{text} is cut off"
            assert panel["top"] - 4 <= box["top"] and box["bottom"] <= panel["bottom"] + 4, f"{text} is cut off"
        assert rings, "the recommended trial has one"
        pairs = [*itertools.combinations([box for _, box in within], 2), *itertools.product([box for _, box in within], rings)]
        for one, other in pairs:
            apart = [one[low] >= other[high] or other[low] >= one[high] for low, high in (("left", "right"), ("top", "bottom"))]
            assert any(apart), "a number lies on another or on a ring"
        assert len({text for text, _ in within}) == len(within), "a number stands twice"
        found.append([text for text, _ in within])
    return found
