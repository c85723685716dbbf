"""One job in a thread: whatever happens to it, it comes back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import autonas
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.engine.task import Report, Task
from autonas.errors import InfeasibleArch, RequestError
from autonas.trial import Job, to_json
from tests.studies import small_job


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture
def text(dataset: Dataset, tmp_path: Path) -> str:
    return json.dumps(to_json(small_job(dataset.ref, tmp_path)))


def ended(task: Task) -> Report:
    report = task.report(120.0)
    assert report.ended
    return Report.loads(report.dumps())


def test_a_job_ends_with_its_outcome(text: str) -> None:
    outcome = ended(Task(text, autonas.__version__)).outcome
    assert outcome is not None and outcome.ok


def test_a_worker_without_torch_refuses(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autonas.worker", None)
    with pytest.raises(RequestError, match="install autonas with torch on every node"):
        raise ended(Task(text, autonas.__version__)).error()


def test_a_worker_of_another_version_refuses_before_it_reads_the_job() -> None:
    with pytest.raises(RequestError, match=r"where the controller has 99\.0"):
        raise ended(Task("{}", "99.0")).error()


def test_a_job_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RequestError, match="cannot read its job"):
        raise ended(Task("{}", autonas.__version__)).error()


def test_a_panic_fails_the_job_and_not_the_study(text: str) -> None:
    class Panic(BaseException):
        pass

    def place(job: Job) -> Job:
        raise Panic("in compiled code")

    outcome = ended(Task(text, autonas.__version__, place)).outcome
    assert outcome is not None and outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.message) == ("error", "Panic: in compiled code")


def test_a_full_disk_is_refused_and_no_fault_of_the_trial(text: str) -> None:
    def place(job: Job) -> Job:
        raise OSError(28, "No space left on device", "cache/tokens.bin")

    with pytest.raises(RequestError, match=r"cache/tokens\.bin: no space left"):
        raise ended(Task(text, autonas.__version__, place)).error()


def test_a_refusal_keeps_its_rule(text: str) -> None:
    def place(job: Job) -> Job:
        raise InfeasibleArch("latency table", "it is not in the table")

    error = ended(Task(text, autonas.__version__, place)).error()
    assert isinstance(error, InfeasibleArch)
    assert (error.rule, str(error)) == ("latency table", "it is not in the table")
