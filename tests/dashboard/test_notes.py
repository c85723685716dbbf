"""What a trial's note says, whatever the texts in it."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.dashboard.notes import full_note, plain, trial_note
from autonas.trial import Finding, TrialRecord
from tests.reporting.studies import OBJECTIVES, make_study

STUDY = make_study()


@pytest.mark.parametrize("record", STUDY.trials, ids=lambda record: f"{record.number}-{record.state}")
def test_every_trial_has_its_state_its_scores_and_its_rungs(record: TrialRecord) -> None:
    note = full_note(record, "", trial_note(record, OBJECTIVES))
    assert note.startswith("**")
    if record.spec is not None:
        assert record.spec.fingerprint in note
    rows = [line for line in note.splitlines() if line.startswith("| **")]
    known = [name for name in OBJECTIVES if record.score(name, len(record.rungs) - 1) is not None]
    assert [row.split("**")[1].replace("\\", "") for row in rows] == known, "objectives come first, in their order"
    assert len(re.findall(r"^\| \d+ \|", note, flags=re.MULTILINE)) == len(record.rungs)
    assert ("Repeat" in note) == (record.repeat_of is not None)


def test_what_the_ledger_says_of_a_failure_is_not_said_twice() -> None:
    failed = next(trial for trial in STUDY.trials if trial.state == "failed")
    note = full_note(failed, "**Failed: its loss grew out of bounds** (diverged).", trial_note(failed, OBJECTIVES))
    assert note.count("Failed") == 1 and "Architecture" in note


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text())
def test_no_foreign_text_becomes_markup(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown and "\x1b" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>`\[\]|*_]", shown), "every sign of markup is escaped"


def test_a_finding_with_hostile_words_stays_one_line_of_its_list() -> None:
    trial = next(trial for trial in STUDY.trials if trial.state == "complete")
    found = Finding(check="x|y", severity="alarm", text="a\n# big\n<img src=x onerror=alert(1)> ![](http://e.example/x)")
    last = dataclasses.replace(trial.rungs[-1], findings=(found,))
    note = trial_note(dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last)), OBJECTIVES)
    (line,) = (line for line in note.splitlines() if "Alarm" in line)
    assert "big" in line and r"\<img" in line and r"\!\[" in line and r"x\|y" in line
