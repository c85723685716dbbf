"""Reading again: what a ledger has read before and reads anew is the study as it stands, at the price of what has changed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from autonas.ledger import JOURNAL, Ledger
from autonas.ledger.records import read_trial
from autonas.trial import Failure, StudyRecord, TrialRecord
from tests.ledger.examples import DISTRIBUTIONS, PARAMS, RECIPE, Made, begin, outcome


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with contextlib.closing(Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])) as made:
        yield made


def write_something(ledger: Ledger, draws: random.Random) -> None:
    """One change of any kind to the study."""
    live = [trial for trial in ledger.read().trials if trial.state == "live"]
    kind = draws.choice(["begin", "infeasible", "attribute", "note", *(["rung", "end", "retry"] * 2 if live else [])])
    trial = draws.choice(live) if live else None
    if kind == "begin":
        begin(ledger)
    elif kind == "infeasible":
        ledger.add_infeasible(PARAMS, DISTRIBUTIONS, rule="heads", reason="it is 1", nearest=None)
    elif kind == "attribute":
        ledger.set_attribute("spent_s", draws.random())
    elif kind == "note":
        ledger.set_attribute("calibration", {"points": [draws.random()]})
    elif trial is not None and kind == "rung":
        ledger.finish_rung(outcome(trial.number, len(trial.rungs)))
    elif trial is not None and kind == "retry":
        ledger.retry(trial.number, Failure(kind="error", message="x"))
    elif trial is not None:
        end = draws.choice(["complete", "stop", "fail", "reject"])
        if end == "complete":
            ledger.complete(trial.number, [1.0, 2.0])
        elif end == "stop":
            ledger.stop(trial.number)
        elif end == "fail":
            ledger.fail(trial.number, Failure(kind="nan", message="y"))
        else:
            ledger.reject(trial.number, "beats a unigram model", "no")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_step_by_step_is_what_a_fresh_look_finds(ledger: Ledger, tmp_path: Path, seed: int) -> None:
    draws = random.Random(seed)
    with contextlib.closing(Ledger.open("study", tmp_path, None)) as beside:
        for _ in range(60):
            write_something(ledger, draws)
            if draws.random() < 0.5:
                with contextlib.closing(Ledger.open("study", tmp_path, None)) as fresh:
                    assert ledger.read() == fresh.read()
            if draws.random() < 0.2:
                assert beside.read() == ledger.read(), "who only reads sees what another ledger writes"


@pytest.mark.parametrize("seed", range(3))
def test_whoever_writes_a_study_on_every_storage_reads_what_a_fresh_look_finds(
    tmp_path: Path, url: str | None, made: Made, seed: int
) -> None:
    name = f"study-{tmp_path.name}"
    draws, ledger = random.Random(seed), made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    for _ in range(15):
        write_something(ledger, draws)
    assert ledger.read() == made(Ledger.open(name, tmp_path, url)).read()


def test_what_has_not_changed_is_the_same_object(ledger: Ledger) -> None:
    for _ in range(3):
        begin(ledger)
    first = ledger.read()
    assert ledger.read() is first
    ledger.finish_rung(outcome(1, 0))
    second = ledger.read()
    assert [after is before for after, before in zip(second.trials, first.trials, strict=True)] == [True, False, True]
    assert second.trials[1].spec is first.trials[1].spec
    ledger.set_attribute("spent_s", 1.0)
    third = ledger.read()
    assert third is not second and all(after is before for after, before in zip(third.trials, second.trials, strict=True))
    assert first.trials[1].rungs == (), "a record that was given out stays as it was"


def test_only_what_has_changed_is_read_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(30):
        ledger.finish_rung(outcome(begin(ledger), 0))
    ledger.read()
    numbers = list[int]()

    def counted(trial: FrozenTrial, before: TrialRecord | None) -> TrialRecord:
        numbers.append(trial.number)
        return read_trial(trial, before)

    monkeypatch.setattr("autonas.ledger.reading.read_trial", counted)
    ledger.stop(7)
    begin(ledger)
    ledger.read()
    ledger.read()
    assert numbers == [7, 30]


def test_the_timeline_is_in_order_of_ending_however_it_was_read(ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(6):
        begin(ledger)
    for number in (4, 1, 5, 0):
        ledger.stop(number)
        ledger.read()
    assert [number for number, _ in ledger.read().timeline] == [4, 1, 5, 0]
    with contextlib.closing(Ledger.open("study", tmp_path, None)) as fresh:
        assert fresh.read().timeline == ledger.read().timeline


def test_an_interrupted_reading_is_made_up_for_by_the_next(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        begin(ledger)
    ledger.read()
    for number in range(4):
        ledger.finish_rung(outcome(number, 0))

    def interrupted(trial: FrozenTrial, before: TrialRecord | None) -> TrialRecord:
        if trial.number == 2:
            raise KeyboardInterrupt
        return read_trial(trial, before)

    monkeypatch.setattr("autonas.ledger.reading.read_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.read()
    monkeypatch.undo()
    assert [len(trial.rungs) for trial in ledger.read().trials] == [1] * 4


def test_a_line_that_another_process_has_half_written_is_read_when_it_is_whole(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    begin(ledger)
    known = path.stat().st_size
    begin(ledger)
    line = path.read_bytes()[known:]
    path.write_bytes(path.read_bytes()[:known])
    with contextlib.closing(Ledger.open("study", tmp_path, None)) as beside:
        assert len(beside.read().trials) == 1
        studies = list[StudyRecord]()
        for cut in (10, len(line)):
            path.write_bytes(path.read_bytes()[:known] + line[:cut])
            studies.append(beside.read())
        assert [len(study.trials) for study in studies] == [1, 2]
