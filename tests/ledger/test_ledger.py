"""The ledger: every end exactly once, nothing lost by a crash, the same on every storage."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autonas.errors import StorageError, StudyError
from autonas.ledger import JOURNAL, Ledger, check_new, notes, study_names
from autonas.trial import Failure, JobSpan
from tests.ledger.examples import DISTRIBUTIONS, EXACT, PARAMS, RECIPE, SPEC, Made, begin, outcome


def test_a_study_comes_back_as_it_was_written(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    ledger.set_attribute("calibration", {"points": [1.5, None]})
    complete, stopped, failed, rejected, live = (begin(ledger) for _ in range(5))
    broken = ledger.add_infeasible(
        PARAMS, DISTRIBUTIONS, rule="width % heads == 0", reason="it is 1", nearest={"layers": 2, "kv_heads": 1}
    )
    for number in (complete, stopped, rejected, live):
        ledger.finish_rung(outcome(number, 0))
    for number in (complete, rejected):
        ledger.finish_rung(outcome(number, 1))
    ledger.complete(complete, [2.0, 1234.0])
    ledger.stop(stopped)
    ledger.fail(failed, Failure(kind="nan", message="the loss is no number"))
    ledger.reject(rejected, "beats a unigram model", "it does not")
    repeat = ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, repeat_of=complete)

    study = made(Ledger.open(name, tmp_path, url)).read()
    assert ledger.read() == study
    assert study.recipe == RECIPE
    assert study.attributes == {"calibration": {"points": [1.5, None]}}
    states = {trial.number: trial.state for trial in study.trials}
    assert states == {
        complete: "complete",
        stopped: "stopped",
        failed: "failed",
        rejected: "infeasible",
        live: "live",
        broken: "infeasible",
        repeat: "live",
    }
    assert study.trials[complete].rungs == (outcome(complete, 0), outcome(complete, 1))
    assert study.trials[complete].params == PARAMS
    assert study.trials[complete].spec == SPEC
    assert study.trials[complete].scores == EXACT
    assert study.trials[complete].sampler_state["note"] == [1, 2]
    assert study.trials[failed].failure == "nan"
    assert study.trials[broken].reason == "width % heads == 0: it is 1"
    assert study.trials[broken].nearest == {"layers": 2, "kv_heads": 1}
    assert study.trials[repeat].repeat_of == complete
    assert {number for number, _ in study.timeline} == {complete, stopped, failed, rejected, broken}


def test_an_ended_trial_cannot_end_again_or_go_on(tmp_path: Path, url: str | None, made: Made) -> None:
    ledger = made(Ledger.create(f"study-{tmp_path.name}", tmp_path, url, RECIPE, RECIPE["objectives"]))
    number = begin(ledger)
    ledger.finish_rung(outcome(number, 0))
    ledger.stop(number)
    before = ledger.read()
    agains: tuple[Callable[[], None], ...] = (
        lambda: ledger.stop(number),
        lambda: ledger.complete(number, [1.0, 2.0]),
        lambda: ledger.fail(number, Failure(kind="error", message="x")),
        lambda: ledger.finish_rung(outcome(number, 1)),
    )
    for again in agains:
        with pytest.raises(AssertionError, match="has ended already"):
            again()
    assert ledger.read() == before


def test_failed_jobs_that_were_tried_again_are_remembered_in_order(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    number = begin(ledger)
    failures = tuple(Failure(kind=kind, message=f"it was {kind}") for kind in ("preempted", "error", "timeout"))
    for failure in failures:
        ledger.retry(number, failure)
    ledger.finish_rung(outcome(number, 0))
    trial = made(Ledger.open(name, tmp_path, url)).read().trials[number]
    assert trial.retries == failures
    assert trial.state == "live" and len(trial.rungs) == 1 and trial.failure is None
    assert trial.sampler_state == {"note": [1, 2]}
    ledger.stop(number)
    assert ledger.read().trials[number].retries == failures
    with pytest.raises(AssertionError, match="has ended already"):
        ledger.retry(number, failures[0])


def test_the_job_that_a_trial_failed_with_is_remembered(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    span = JobSpan(worker="node-7:4711", began_at="2026-11-23T09:10:11.123+00:00", seconds=2.5)
    with_span, without = begin(ledger), begin(ledger)
    ledger.fail(with_span, Failure(kind="nan", message="the loss is no number", span=span))
    ledger.fail(without, Failure(kind="preempted", message="its worker went away"))
    trials = made(Ledger.open(name, tmp_path, url)).read().trials
    assert [trials[with_span].failed, trials[without].failed] == [span, None]
    assert trials[with_span] == dataclasses.replace(trials[with_span], failed=None), "when it ran is no part of what it is"


def test_a_trial_takes_the_place_of_one_that_failed_and_of_no_other(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    failed, live = begin(ledger), begin(ledger)
    ledger.fail(failed, Failure(kind="error", message="x"))
    again = ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, retry_of=failed)
    trials = made(Ledger.open(name, tmp_path, url)).read().trials
    assert [trial.retry_of for trial in trials] == [None, None, failed]
    assert trials[again].params == trials[failed].params
    with pytest.raises(AssertionError, match=f"trial {live} has not failed"):
        ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, retry_of=live)


def test_a_rung_is_neither_doubled_nor_skipped(tmp_path: Path) -> None:
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    number = begin(ledger)
    with pytest.raises(AssertionError, match="not its next"):
        ledger.finish_rung(outcome(number, 1))
    ledger.finish_rung(outcome(number, 0))
    with pytest.raises(AssertionError, match="not its next"):
        ledger.finish_rung(outcome(number, 0))


def test_a_stopped_trial_has_no_values_that_could_be_compared(tmp_path: Path, made: Made) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/study.db"
    ledger = made(Ledger.create("study", tmp_path, url, RECIPE, RECIPE["objectives"]))
    number = begin(ledger)
    ledger.finish_rung(outcome(number, 0))
    ledger.stop(number)
    storage = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name="study", storage=storage)
    assert study.trials[number].values is None
    assert study.best_trials == []
    assert study.metric_names == ["val_loss", "params"]
    storage.remove_session()
    storage.engine.dispose()


def test_a_study_is_created_once(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    with pytest.raises(StudyError, match="exists already"):
        Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"])
    with pytest.raises(StudyError, match=r"exists already in .*--resume"):
        check_new(name, tmp_path, url)
    check_new("another", tmp_path, url)


def test_an_unknown_study_is_named_with_those_there_are(tmp_path: Path, made: Made) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    made(Ledger.create("known", tmp_path, url, RECIPE, RECIPE["objectives"]))
    with pytest.raises(StudyError, match=r"no study 'other'.*It holds known"):
        Ledger.open("other", tmp_path, url)
    with pytest.raises(StudyError, match="Start one with"):
        Ledger.open("other", tmp_path / "nowhere", None)


def test_a_foreign_study_is_refused(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/study.db"
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(study_name="foreign", storage=storage).set_user_attr("theirs", 1)
    storage.remove_session()
    storage.engine.dispose()
    with pytest.raises(StudyError, match="not written by this version"):
        Ledger.open("foreign", tmp_path, url)
    with pytest.raises(StudyError, match=r"'foreign' is taken in sqlite:.*cannot go on with\. Give another --study name"):
        check_new("foreign", tmp_path, url)
    with pytest.raises(StudyError, match="'foreign' is taken"):
        Ledger.create("foreign", tmp_path, url, RECIPE, RECIPE["objectives"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "not a storage URL"),
        ("sqlite:////nowhere/at/all/study.db", "does not answer"),
        ("postgresql://user:secret@127.0.0.1:1/x", r"does not answer.*resume"),
        ("mysql://u:secret@127.0.0.1/x", "driver is not installed"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_message_without_password(tmp_path: Path, url: str, expected: str) -> None:
    with pytest.raises(StorageError, match=expected) as caught:
        Ledger.create("study", tmp_path, url, RECIPE, RECIPE["objectives"])
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_journal_torn_at_any_byte_is_cut_back_to_what_was_whole(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    sizes = []
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    steps: tuple[Callable[[], Any], ...] = (
        lambda: begin(ledger),
        lambda: ledger.finish_rung(outcome(0, 0)),
        lambda: ledger.stop(0),
        lambda: begin(ledger),
    )
    for step in steps:
        sizes.append(path.stat().st_size)
        step()
    created, begun, scored, stopped = sizes
    content = path.read_bytes()
    ends = {i + 1 for i, byte in enumerate(content) if byte == ord("\n")}
    # From the end of the rung on byte by byte; in front of it, every boundary and its neighbours.
    cuts = {cut for end in ends for cut in (end - 1, end, end + 1) if cut <= len(content)} | set(
        range(scored - 40, len(content))
    )
    for cut in sorted(cuts):
        folder = tmp_path / "torn"
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL).write_bytes(content[:cut])
        try:
            torn = Ledger.open("study", folder, None)
        except StudyError:
            assert cut < created, "only a study cut off while it was created may be gone"
            continue
        assert bool(torn.repaired) == (cut not in {0, *ends})
        trials = torn.read().trials
        assert [t.state for t in trials][:1] == ([] if cut < begun else ["live"] if cut < stopped else ["stopped"])
        assert [len(t.rungs) for t in trials][:1] == ([] if cut < begun else [0] if cut < scored else [1])
        number = begin(torn)
        assert len(Ledger.open("study", folder, None).read().trials) == number + 1


def test_damage_before_the_end_is_reported_with_its_line(tmp_path: Path) -> None:
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    begin(ledger)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00garbage\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=r"ledger\.journal:2: .*restore it"):
        Ledger.open("study", tmp_path, None)


def _write_until_killed(folder: Path) -> None:
    ledger = Ledger.open("study", folder, None)
    while True:
        number = begin(ledger)
        ledger.finish_rung(outcome(number, 0))
        ledger.finish_rung(outcome(number, 1))
        ledger.complete(number, [1.0, 2.0])


def test_a_writer_killed_at_any_moment_leaves_a_usable_ledger(tmp_path: Path) -> None:
    Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    context = multiprocessing.get_context("fork")
    written = 0
    for attempt in range(6):
        process = context.Process(target=_write_until_killed, args=(tmp_path,))
        process.start()
        time.sleep(0.15 + 0.037 * attempt)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        begun = time.monotonic()
        trials = Ledger.open("study", tmp_path, None).read().trials
        assert time.monotonic() - begun < 20, "a dead writer's lock must not be waited for"
        assert len(trials) >= written
        assert all(t.state == "complete" and len(t.rungs) == 2 for t in trials if t.state != "live")
        assert sum(t.state == "live" for t in trials) <= attempt + 1
        written = len(trials)
    assert written > 0


def test_a_study_cut_off_while_being_created_can_be_created_again(tmp_path: Path) -> None:
    Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(StudyError, match="no study"):
        Ledger.open("study", tmp_path, None)
    Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    assert Ledger.open("study", tmp_path, None).read().trials == ()


def test_who_reads_a_study_that_is_being_created_leaves_it_alone(
    tmp_path: Path, url: str | None, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"study-{tmp_path.name}"
    folder = tmp_path / name
    whole = notes.study_note

    def read_meanwhile(*arguments: Any) -> str:
        with pytest.raises(StudyError, match="there is no study") as caught:
            Ledger.open(name, folder, url)
        assert f"It holds {name}" not in str(caught.value)
        assert name not in study_names(tmp_path, url)
        check_new(name, folder, url)
        return whole(*arguments)

    monkeypatch.setattr(notes, "study_note", read_meanwhile)
    ledger = made(Ledger.create(name, folder, url, RECIPE, RECIPE["objectives"]))
    begin(ledger)
    assert len(made(Ledger.open(name, folder, url)).read().trials) == 1


def test_a_study_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger.create("study", tmp_path / "study", None, RECIPE, RECIPE["objectives"])
    begin(ledger)
    assert len(list((tmp_path / "study").iterdir())) == 2
    ledger.discard()
    assert list((tmp_path / "study").iterdir()) == []
