"""Pictures of the example report for the README and the docs: `make screenshots` writes them anew into docs/.

Run as `python -m tests.screenshots [REPORT]`; needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.browsing import CHROMEDRIVER, CHROMIUM, FLAGS, show, webdriver

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A file in docs/, and what is seen: a window, and what is done in it first."""

    name: str
    width: int
    height: int
    dark: bool = False
    script: str = ""


PICTURES = (
    Picture(name="report.png", width=1280, height=980, script="document.getElementById('front').scrollIntoView()"),
    Picture(
        name="report_trial.png",
        width=1280,
        height=1100,
        dark=True,
        script="""document.getElementById('front').scrollIntoView(); document.querySelector('.best a.trial').click();
            document.activeElement.blur()""",
    ),
    Picture(
        name="report_brush.png",
        width=1280,
        height=520,
        script="""document.getElementById('architectures').scrollIntoView();
            const axis = document.querySelector(".brushable[data-title='Degeneration rate']");
            axis.focus(); axis.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true})); axis.blur()""",
    ),
    Picture(name="report_search.png", width=1280, height=1180, script="document.getElementById('search').scrollIntoView()"),
    Picture(name="report_phone.png", width=390, height=844, script="document.getElementById('front').scrollIntoView()"),
)


@contextmanager
def opened() -> Iterator[Any]:
    """A browser without scroll bars."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def main(report: Path) -> None:
    if not (CHROMIUM and CHROMEDRIVER):
        sys.exit("chromium and chromedriver are not on the PATH; Debian: apt install chromium chromium-driver")
    with opened() as browser:
        for picture in PICTURES:
            show(browser, report.resolve(), width=picture.width, height=picture.height, dark=picture.dark)
            browser.execute_script(picture.script)
            browser.execute_async_script("setTimeout(arguments[0], 800)")
            target = ROOT / "docs" / picture.name
            browser.save_screenshot(str(target))
            print(target.relative_to(ROOT))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reports" / "example.html")
