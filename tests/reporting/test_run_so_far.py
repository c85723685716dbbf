"""Where a run stands, as its folder says: in figures, in words, on its page and in a panel."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.api import report_run
from autonas.cli import main
from autonas.curriculum import Curriculum, Stage
from autonas.engine.base import JobProgress
from autonas.errors import StudyError
from autonas.ledger import run_lease
from autonas.reporting.run_so_far import facts_of, run_so_far, series_text, thinned
from autonas.run_folder import claim
from autonas.terminal import RunDisplay
from autonas.terminal.run import sparkline
from tests.reporting.runs import CURVE, STEP, TOTAL, probed, run_job_of, trained, write_run


def test_figures_are_those_of_the_curve(tmp_path: Path) -> None:
    so_far = run_so_far(write_run(tmp_path / "run", CURVE))
    assert (so_far.tokens, so_far.total_tokens, so_far.steps, so_far.total_steps) == (40 * STEP, TOTAL, 40, TOTAL // STEP)
    assert so_far.share == 0.4
    assert so_far.left_s == 60 * STEP / 1000.0
    assert so_far.losses[-1][0] == 40 * STEP
    assert so_far.losses[-1][1] == pytest.approx(4.0)
    assert so_far.best is not None
    assert (so_far.best.tokens, so_far.best.value) == (20 * STEP, 5.1), "the lowest, and not the last"
    assert [(look.tokens, look.rate) for look in so_far.looks] == [(20 * STEP, 0.25), (40 * STEP, 0.5)]
    assert so_far.rollbacks == ((20 * STEP, "the loss rose to 9.1 nats"),)
    facts = dict(facts_of(so_far))
    assert facts["trained"] == "40%: 20.5 k tokens, step 40 of 100"
    assert facts["lowest so far"].startswith("5.100 after 10.2 k")
    assert facts["degenerate samples"] == "50% at the last of 2 looks"


def test_a_run_without_a_line_yet_stands_at_its_beginning(tmp_path: Path) -> None:
    so_far = run_so_far(write_run(tmp_path / "run", []))
    assert (so_far.share, so_far.best, so_far.left_s, so_far.losses) == (0.0, None, None, ())
    assert dict(facts_of(so_far))["trained"].startswith("0%")
    assert series_text(so_far, "learning_rate") == "Cannot be told: nothing is written yet."
    assert "Nothing has been written" in report_run(tmp_path / "run").read_text()
    with pytest.raises(StudyError, match="is no run"):
        run_so_far(tmp_path / "other")


def test_the_page_shows_the_way_while_it_is_trained_and_after(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CURVE)
    page = report_run(run).read_text()
    assert "40 % trained" in page
    for text in ("Samples on the way", "Went back to 10.2 k tokens: the loss rose to 9.1 nats", "50 % of the samples", "x = 1"):
        assert text in page
    assert "<b>pass" not in page, "what a model writes is not markup"
    assert "&lt;b&gt;pass" in page
    (run / "prediction.json").write_text(json.dumps({"text": "It is predicted to end well."}))
    assert "It is predicted to end well." in report_run(run, file=tmp_path / "own.html").read_text()
    score = {"value": 4.0, "low": 3.9, "high": 4.1, "unit": "nats/token", "n": 9, "note": ""}
    check = {"val_loss": {"text": "4.1 (80%: 4.0–4.2); measured 4.0: inside the 80% interval"}}
    (run / "evaluation.json").write_text(json.dumps({"scores": {"val_loss": score}, "prediction_check": check}))
    ended = report_run(run).read_text()
    assert "% trained" not in ended
    assert "measured 4.0: inside the 80% interval" in ended
    assert "Validation loss" in ended
    assert report_run(run).read_text() == ended


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(-1e6, 1e6)), max_size=900), st.integers(1, 50))
def test_stretches_hold_every_line_once(points: list[tuple[int, float]], most: int) -> None:
    found = thinned(points, most)
    assert len(found) <= most
    if not points:
        assert found == ()
        return
    assert found[-1].tokens == points[-1][0], "the end is never thinned away"
    size = -(-len(points) // most)
    assert sum(s.mean * min(size, len(points) - i * size) for i, s in enumerate(found)) == pytest.approx(
        sum(value for _, value in points), rel=1e-9, abs=1e-3
    )
    assert (min(s.low for s in found), max(s.high for s in found)) == (min(v for _, v in points), max(v for _, v in points))


def test_numbers_that_lines_lack_are_told_so_and_not_made_up(tmp_path: Path) -> None:
    old = [{"tokens": step * STEP, "loss": 5.0} for step in range(1, 9)]
    so_far = run_so_far(write_run(tmp_path / "old", old))
    assert set(so_far.series) == {"loss"}
    assert "it was not recorded" in series_text(so_far, "gradient_norm")
    odd = [{**trained(step, 5.0), "gradient_norm": None if step % 2 else float("nan")} for step in range(1, 9)]
    assert "gradient_norm" not in run_so_far(write_run(tmp_path / "odd", odd)).series


def test_the_interval_of_a_look_is_that_of_its_samples(tmp_path: Path) -> None:
    look = probed(10, 5.0, 0.25)
    look["generation"]["hits"] = "0100" * 4
    so_far = run_so_far(write_run(tmp_path / "run", [look]))
    (found,) = so_far.looks
    assert (found.samples, found.rate, found.detector) == (16, 0.25, "degenerate")
    assert found.low is not None and found.high is not None
    assert (round(found.low, 3), round(found.high, 3)) == (0.102, 0.495), "Wilson's, by hand"
    bare = run_so_far(write_run(tmp_path / "bare", [probed(10, 5.0, 0.25)])).looks[0]
    assert (bare.low, bare.high, bare.samples) == (None, None, None)


def test_stages_cover_the_run_and_meet(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stages = (Stage(share=0.3, difficulty=(0.0, 0.5)), Stage(share=0.5, sources=(("a<b", 1.0),)), Stage(share=0.2))
    claim(dataclasses.replace(run_job_of(folder), curriculum=Curriculum(stages=stages)))
    found = run_so_far(folder).stages
    assert [stage.begins for stage in found][1:] == [stage.ends for stage in found][:-1]
    assert (found[0].begins, found[-1].ends) == (0, TOTAL)
    assert found[0].ends == pytest.approx(0.3 * TOTAL, abs=64)
    assert "a<b 100%" in found[1].text and "difficulty 0% to 50%" in found[0].text


def test_status_says_where_a_run_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", CURVE)
    assert main(["status", str(run)]) == 0
    out = capsys.readouterr().out
    assert "interrupted" in out and "step 40 of 100" in out and "--resume" in out and "left" not in out
    with run_lease(run):
        assert main(["status", str(run)]) == 0
        out = capsys.readouterr().out
        assert "running" in out and "about 31 s, if it goes on" in out
        assert main(["status", str(run), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["state"], values["tokens"], values["val_loss"], values["lowest_val_loss"]) == (
        "running",
        40 * STEP,
        5.3,
        5.1,
    )
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "evaluation.html")


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        return True


def step(number: int) -> JobProgress:
    return JobProgress(trial=0, rung=0, tokens=number * STEP, loss=4.0, tokens_per_s=1000.0)


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_the_panel_shows_the_run_and_keeps_its_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    run, screen = write_run(tmp_path / "run", CURVE), Screen()
    with contextlib.redirect_stderr(screen), RunDisplay() as display:
        display.begin(run)
        display(step(40), TOTAL)
        display.say("a word " * 30)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert all(len(line) <= columns for line in re.split(r"[\r\n]+", shown))
    for text in ("40%", "4.000", "▁", "5.300 (5.100–5.500)", "rollbacks", "x = 1", "a word"):
        assert text in shown
    if columns >= 80:
        assert "lowest 5.100 at 10.2 k" in shown
        assert "step 40 of 100" in shown


def test_without_a_terminal_there_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunDisplay() as display:
        display.begin(write_run(tmp_path / "run", CURVE))
        display.say("a word")
        for number in range(1, 101):
            display(step(number), TOTAL)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "autonas: a word"
    assert 40 <= len(lines) <= 52
    assert "100%" in lines[-1]
    with RunDisplay(quiet=True) as display:
        display.say("a word")
        display(step(1), TOTAL)
    assert capsys.readouterr().err == ""


@given(st.lists(st.floats(0, 1e6), max_size=300), st.integers(1, 100))
def test_a_sparkline_fits_and_stands_as_high_as_its_values(values: list[float], width: int) -> None:
    line = sparkline(values, width)
    assert len(line) == (min(width, len(values)) if len(values) > 1 else 0)
    assert set(line) <= set("▁▂▃▄▅▆▇█")


def test_a_sparkline_falls_as_the_loss_does() -> None:
    line = sparkline([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 8)
    assert line == "█▇▆▅▄▃▂▁"
