"""The ledger: every end exactly once, nothing lost by a crash, the same on every storage."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autonas.arch import ArchSpec
from autonas.errors import StorageError, StudyError
from autonas.ledger import JOURNAL, Ledger, study_lease
from autonas.trial import DocumentLosses, Failure, Outcome, Sample, Score

SPEC = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=300, context_length=32)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "layers": IntDistribution(1, 4),
    "kv_heads": CategoricalDistribution((1, 2, "heads")),
}
PARAMS = {"layers": 1, "kv_heads": "heads"}
RECIPE: dict[str, Any] = {"objectives": ["val_loss", "params"], "budget": {"rungs": [10, 20]}}
EXACT = {"params": Score.exact(1234, "parameters")}


def outcome(trial: int, rung: int) -> Outcome:
    return Outcome(
        kind="train",
        trial=trial,
        attempt=1,
        rung=rung,
        seconds=1.25,
        scores={"val_loss": Score(value=3.0 - rung, low=2.9 - rung, high=3.1 - rung, unit="nats/token", n=4)},
        tokens=12,
        documents=DocumentLosses(nats=(1.5, 0.1), tokens=(3, 4), bytes=(9, 11)),
        baselines={"unigram": 5.0},
        curve=((4, 5.5), (8, 5.0)),
        samples=(Sample(prompt="def f(", text="</script>\n\u2028\x00 é", kind="bare", detectors=("prior:x",)),),
        checks={"leak": "fine"},
    )


def begin(ledger: Ledger) -> int:
    return ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, sampler_state={"note": [1, 2]})


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real server of its own, in a temporary folder, on the loopback address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else Path(shutil.which("initdb") or "")
    if not initdb.is_file():
        pytest.skip("no PostgreSQL server is installed")
    with tempfile.TemporaryDirectory(prefix="autonas-postgresql-") as folder:
        # The server refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        data, port = f"{folder}/data", 20_000 + os.getpid() % 20_000
        make = [str(initdb), "-D", data, "-A", "trust", "-U", "autonas", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, user=user)
        serve = [str(initdb.with_name("postgres")), "-D", data, "-k", folder, "-p", str(port), "-h", "127.0.0.1"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(serve, stdout=quiet, stderr=quiet, cwd=folder, user=user) as server:
            try:
                ready = [str(initdb.with_name("pg_isready")), "-h", "127.0.0.1", "-p", str(port)]
                for _ in range(200):
                    if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                        break
                    time.sleep(0.1)
                yield f"postgresql://autonas@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else None


Made = Callable[[Ledger], Ledger]


@pytest.fixture
def made() -> Iterator[Made]:
    """Closes, at the end of the test, every ledger that went through it."""
    with contextlib.ExitStack() as stack:
        yield lambda ledger: stack.enter_context(contextlib.closing(ledger))


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
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    first = begin(ledger)
    ledger.finish_rung(outcome(first, 0))
    ledger.stop(first)
    begin(ledger)
    content = (tmp_path / JOURNAL).read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    # The last two records byte by byte; in front of them, every boundary and its neighbours.
    cuts = {cut for end in ends for cut in (end - 1, end, end + 1) if cut <= len(content)} | set(range(ends[-3], len(content)))
    for cut in sorted(cuts):
        folder = tmp_path / "torn"
        folder.mkdir(exist_ok=True)
        (folder / JOURNAL).write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends)
        try:
            torn = Ledger.open("study", folder, None)
        except StudyError:
            assert whole < 3, "only a study cut off while it was created may be gone"
            continue
        assert bool(torn.repaired) == (cut not in {0, *ends})
        trials = torn.read().trials
        expected = ["live"] if whole < 6 else ["stopped"]
        assert [t.state for t in trials][:1] == (expected if whole >= 4 else [])
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


def test_a_study_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    with study_lease("study", tmp_path), pytest.raises(StudyError, match="another process"), study_lease("study", tmp_path):
        pass
    with study_lease("study", tmp_path):
        pass


def test_a_study_cut_off_while_being_created_can_be_created_again(tmp_path: Path) -> None:
    Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(StudyError, match="no study"):
        Ledger.open("study", tmp_path, None)
    Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    assert Ledger.open("study", tmp_path, None).read().trials == ()
