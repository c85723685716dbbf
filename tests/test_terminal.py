"""What a watcher of a running study sees: a panel on a terminal, a few lines elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import io

import pytest

from autonas.engine.base import JobProgress
from autonas.recipe import Recipe
from autonas.study import CALIBRATION_TRIAL
from autonas.terminal import StudyDisplay
from autonas.trial import StudyRecord
from tests.reporting.studies import make_study


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def study() -> StudyRecord:
    from autonas.recipe import load_recipe

    made = make_study()
    attributes = {**made.attributes, "calibration": None}
    return dataclasses.replace(made, recipe=load_recipe("quickstart").resolved, attributes=attributes)


@pytest.fixture
def recipe(study: StudyRecord) -> Recipe:
    return Recipe.from_resolved(study.recipe)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Screen()


def test_a_terminal_shows_where_the_study_stands(study: StudyRecord, recipe: Recipe, screen: Screen) -> None:
    with contextlib.redirect_stderr(screen), StudyDisplay("quickstart", recipe) as display:
        display.say("a word from the study")
        display.changed(study)
        display.progress(JobProgress(trial=3, rung=1, tokens=400_000, loss=4.2, tokens_per_s=20_000.0))
        display.changed(study)
    shown = screen.getvalue()
    trained = sum(bool(trial.rungs) for trial in study.trials if trial.repeat_of is None)
    for text in ("quickstart", f"{trained}/14 trained", "best", "hypervolume", "a word from the study", "trial 3, rung 1"):
        assert text in shown
    assert "loss 4.200" in shown


def test_the_calibration_has_a_bar_of_its_own_length(recipe: Recipe, screen: Screen) -> None:
    whole = round(recipe.calibration.tokens * (1 + recipe.search.cooldown_share))
    with contextlib.redirect_stderr(screen), StudyDisplay("quickstart", recipe) as display:
        display._drawn = -1e9  # no waiting for the next redraw
        display.progress(JobProgress(trial=CALIBRATION_TRIAL, rung=0, tokens=whole, loss=5.0, tokens_per_s=1.0))
    assert "calibration  " + "━" * 24 in screen.getvalue()


def test_elsewhere_there_are_plain_lines_and_no_control_characters(
    study: StudyRecord, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    with StudyDisplay("quickstart", recipe) as display:
        display.changed(dataclasses.replace(study, trials=()))
        display.changed(study)
        display.say("the end")
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert all(line.startswith("autonas: ") for line in err.splitlines())
    assert "at rung 0" in err
    assert err.endswith("autonas: the end\n")


def test_what_an_earlier_attempt_has_done_is_no_news(
    study: StudyRecord, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    with StudyDisplay("quickstart", recipe) as display:
        display.changed(study)
        display.changed(study)
    assert capsys.readouterr().err == ""


def test_quiet_is_quiet(study: StudyRecord, recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    with StudyDisplay("quickstart", recipe, quiet=True) as display:
        display.changed(study)
        display.say("unheard")
    assert capsys.readouterr().err == ""


def test_every_running_job_has_a_bar_until_it_has_ended(
    recipe: Recipe, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("autonas.terminal.study.time.monotonic", lambda: now[0])
    with contextlib.redirect_stderr(screen), StudyDisplay("quickstart", recipe) as display:
        display.progress(JobProgress(trial=4, rung=0, tokens=1_000, loss=5.0, tokens_per_s=1.0))
        now[0] += 3.0
        display.progress(JobProgress(trial=5, rung=1, tokens=1_000, loss=5.0, tokens_per_s=1.0))
        both = screen.getvalue()
        now[0] += 3.0
        before = len(both)
        display.progress(JobProgress(trial=5, rung=1, tokens=2_000, loss=5.0, tokens_per_s=1.0))
        later = screen.getvalue()[before:]
    assert "trial 4, rung 0" in both and "trial 5, rung 1" in both
    assert "trial 5, rung 1" in later and "trial 4" not in later
