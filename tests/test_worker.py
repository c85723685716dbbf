"""One job: what it checks, what it leaves behind, and that a crash in the middle changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from autonas import full_run, worker
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.errors import CheckpointError, ResourceError, StudyError
from autonas.evaluation import latency
from autonas.model import native_decode
from autonas.model.transformer import Transformer
from autonas.run_folder import run_budget
from autonas.training import loop
from autonas.training.loop import Progress
from autonas.training.steps import EagerStep
from autonas.trial import Budget, Job, to_json
from autonas.worker import Metrics, run_job
from tests.studies import small_job
from tests.test_run_folder import full_disk
from tests.training.faults import Faulty, kick, step_by
from tests.training.test_micro_batches import Starved

CONTEXT = multiprocessing.get_context("spawn")
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path) -> Job:
    budget = Budget(rung=0, tokens=6_000, cooldown_tokens=1_500)
    return small_job(dataset.ref, tmp_path, trial=3, budget=budget, objectives=("val_loss", "collapse_rate"))


def test_a_job_is_scored_with_its_evidence(job: Job) -> None:
    outcome = run_job(job)
    assert outcome.ok
    assert outcome.tokens == 6_144 + 1_536, "token counts are rounded up to whole steps, and said as they were"
    assert set(outcome.scores) == {"val_loss", "bits_per_byte", "degeneration", "collapse_rate", "collapse_prior"}
    assert outcome.documents is not None
    mean = sum(outcome.documents.nats) / sum(outcome.documents.tokens)
    assert outcome.scores["val_loss"].value == pytest.approx(mean)
    assert outcome.baselines["bigram"] < outcome.baselines["unigram"]
    assert [tokens for tokens, _ in outcome.curve] == sorted({tokens for tokens, _ in outcome.curve})
    assert outcome.curve[-1][0] == 6_144
    assert "1e-05" in outcome.checks["leak"]
    assert outcome.checks["training path"].endswith(" 15 steps")
    assert outcome.checks["decoding path"].endswith(" steps")
    assert outcome.checks["watch"] == "steps 1 to 15: too few to judge anything by"
    assert outcome.checks["copies"].endswith(" of training") and outcome.checks["coding tasks"].startswith("20 looked for in ")
    assert {"compression", "gap", "content"} <= set(outcome.checks), "what a report counts as run"


def test_a_job_says_why_its_samples_were_made_on_a_slower_path(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job its own: PATHS counts on through all of a process."""
    usual = run_job(job).checks["decoding path"]
    with monkeypatch.context() as patch:
        patch.setattr(native_decode, "find_kernels", lambda bits: (None, "there is no C compiler"))
        slower = run_job(dataclasses.replace(job, trial=4)).checks["decoding path"]
    assert slower.startswith(("rows ", "shared "))
    assert slower.endswith(" steps (there is no C compiler)")
    assert run_job(dataclasses.replace(job, trial=5)).checks["decoding path"] == usual
    unsampled = run_job(dataclasses.replace(job, trial=6, objectives=("val_loss",)))
    assert "decoding path" not in unsampled.checks


def test_a_job_that_runs_out_of_memory_goes_on_in_smaller_parts_and_says_so(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "choose_step", lambda state: EagerStep())
    roomy = run_job(job)
    monkeypatch.setattr(loop, "choose_step", lambda state: Starved(3))
    short = run_job(dataclasses.replace(job, folder=str(tmp_path / "short")))
    assert short.checks["micro-batches"] == "2 of 8 windows at once, after running out of memory 2 times"
    assert short.checks["training path"] == "eager 15 steps"
    assert short.scores["val_loss"].value == pytest.approx(roomy.scores["val_loss"].value, abs=0.02)


def test_a_later_rung_goes_on_from_the_trunk_and_not_from_the_cooled_fork(job: Job, tmp_path: Path) -> None:
    later = dataclasses.replace(job, budget=Budget(rung=1, tokens=12_000, cooldown_tokens=3_000))
    run_job(job)
    stepwise = run_job(later)
    at_once = run_job(dataclasses.replace(later, folder=str(tmp_path / "fresh")))
    assert stepwise.scores == at_once.scores
    assert stepwise.documents == at_once.documents


def test_the_curve_on_disk_has_every_stretch_once(job: Job, tmp_path: Path) -> None:
    run_job(job)
    run_job(dataclasses.replace(job, budget=Budget(rung=1, tokens=12_000, cooldown_tokens=3_000)))
    points = [json.loads(line) for line in (tmp_path / "metrics" / "00003.jsonl").read_text().splitlines()]
    trunk = [point["tokens"] for point in points if point["phase"] == "stable"]
    assert trunk == sorted(set(trunk))
    assert trunk[-1] == 12_288
    assert {point["rung"] for point in points if point["phase"] == "cooldown"} == {0, 1}


def test_a_model_that_sees_the_future_is_never_trained(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Transformer.features

    def leaking(self: Transformer, tokens: torch.Tensor, cache: object = None) -> torch.Tensor:
        features = honest(self, tokens, cache)  # type: ignore[arg-type]
        return features + 0.1 * features.mean(dim=1, keepdim=True)

    monkeypatch.setattr(Transformer, "features", leaking)
    outcome = run_job(job)
    assert outcome.failure is not None
    assert outcome.failure.kind == "leak"
    assert not (tmp_path / "checkpoints" / "00003" / "trunk.safetensors").exists()


def test_a_bug_in_one_architecture_is_a_failure_of_its_trial(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("a planted bug")

    monkeypatch.setattr(worker, "held_out", broken)
    outcome = run_job(job)
    assert outcome.failure is not None
    assert outcome.failure.kind == "error"
    assert "ZeroDivisionError: a planted bug" in outcome.failure.message


def test_running_out_of_memory_is_told_apart(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*arguments: object, **options: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(worker, "held_out", hungry)
    outcome = run_job(job)
    assert outcome.failure is not None
    assert outcome.failure.kind == "out_of_memory"


def test_a_trunk_beyond_the_rung_is_not_scored_there(job: Job) -> None:
    run_job(dataclasses.replace(job, budget=Budget(rung=1, tokens=12_000, cooldown_tokens=3_000)))
    with pytest.raises(CheckpointError, match=r"12,288 tokens, beyond the rung of 6,000"):
        run_job(job)


def test_a_trunk_that_was_removed_is_trained_again_and_its_curve_written_once(job: Job, tmp_path: Path) -> None:
    run_job(job)
    (tmp_path / "checkpoints" / "00003" / "trunk.safetensors").unlink()
    later = run_job(dataclasses.replace(job, budget=Budget(rung=1, tokens=12_000, cooldown_tokens=3_000)))
    tokens = [point for point, _ in later.curve]
    assert tokens == sorted(set(tokens))
    assert later.new_tokens == later.tokens == 12_288 + 3_072


def test_a_latency_job_needs_no_data(job: Job) -> None:
    outcome = run_job(dataclasses.replace(job, kind="latency", data=dataclasses.replace(job.data, folder="nowhere")))
    assert outcome.scores["latency"].unit == "ms/token"
    assert outcome.scores["prefill_latency"].value > 0
    assert any(name.startswith("latency ") for name in outcome.checks)


def test_a_job_says_on_which_cores_it_was_done_where_that_was_asked_for(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = dataclasses.replace(job, kind="latency", threads=3)
    assert "cores" not in run_job(job).checks
    asked: list[int] = []

    def pin(count: int) -> str:
        asked.append(count)
        return "pinned to 0, 1, 2"

    monkeypatch.setattr("autonas.worker.pin_threads", pin)
    assert run_job(job).checks["cores"] == "pinned to 0, 1, 2"
    assert asked == [3]


def test_what_is_no_job_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], job: Job) -> None:
    for content in ("{", "[]", '{"kind": "train"}', json.dumps({**to_json(job), "kind": "dance"})):
        (tmp_path / "job.json").write_text(content)
        assert worker.main([str(tmp_path / "job.json")]) == 2
        message = capsys.readouterr().err
        assert "not a job" in message
        assert message.count("\n") == 1


def test_a_superseded_attempt_writes_no_line_into_the_curve_of_the_next(job: Job, tmp_path: Path) -> None:
    curve = tmp_path / "metrics" / "00003.jsonl"

    def supersede(job: Job, progress: Progress) -> None:
        if progress.tokens == 2_048:
            (tmp_path / "checkpoints" / "00003" / "attempt").write_text("2\n")
            curve.write_text("")

    with pytest.raises(StudyError, match="superseded by attempt 2"):
        run_job(job, on_progress=supersede)
    assert curve.read_text() == ""


def test_a_curve_survives_a_full_disk(job: Job, tmp_path: Path) -> None:
    run_job(job)
    path = tmp_path / "metrics" / "00003.jsonl"
    before = path.read_text()
    with full_disk():
        curve = Metrics(path, 1, 6_144, lambda: None).curve()
        assert curve[-1][0] == 6_144, "where nothing is dropped nothing is written"
        with pytest.raises(ResourceError, match="cannot be written"):
            Metrics(path, 1, 3_000, lambda: None)
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


# Beside others


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "locks"))
    return tmp_path / "locks"


@contextlib.contextmanager
def nobody_else_may_be_alone(locks: Path) -> Iterator[bool]:
    """Whether the processor is shared by somebody, so that nobody can have it alone."""
    (room,) = locks.glob("*/cpu.room")
    with room.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield False
        except BlockingIOError:
            yield True


@pytest.mark.parametrize("kind", ["train", "run"])
def test_all_work_on_the_device_is_done_while_it_is_shared_and_timing_is_not(
    job: Job, own_locks: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    shared: dict[str, set[bool]] = {}

    def watch(module: ModuleType, name: str) -> None:
        whole = getattr(module, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            with nobody_else_may_be_alone(own_locks) as found:
                shared.setdefault(name, set()).add(found)
            return whole(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    module = worker if kind == "train" else full_run
    names = ("build_model", "leak_test", "load", "train", "save", "held_out", "measure_collapse")
    for name in names:
        watch(module, name)
    watch(full_run, "_latencies")
    timed = {"_latencies": {False}} if kind == "run" else {}
    run_job(job if kind == "train" else full_job(job, 4))
    run_job(job if kind == "train" else full_job(job, 4))  # from what the first one left
    assert shared == {name: {True} for name in names} | timed


def full_job(job: Job, steps: int) -> Job:
    return dataclasses.replace(job, kind="run", budget=run_budget(job.spec, job.training, steps, 0.2))


def _train(job: Job, locks: str, steps: Any, answers: Any) -> None:
    import tempfile

    tempfile.tempdir = locks

    def count(job: Job, progress: Progress) -> None:
        steps.value += 1

    begun = time.monotonic()
    outcome = run_job(job, on_progress=count)
    answers.put((to_json(outcome), time.monotonic() - begun))


@pytest.mark.parametrize("kind", ["train", "run"])
def test_while_another_process_times_something_no_step_is_taken_and_nothing_else_changes(
    job: Job, tmp_path: Path, own_locks: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    steps = 600
    job = dataclasses.replace(job, budget=Budget(rung=0, tokens=steps * 512, cooldown_tokens=512))
    job = job if kind == "train" else full_job(job, steps + 1)
    undisturbed = run_job(dataclasses.replace(job, folder=str(tmp_path / "undisturbed")))
    taken, answers = CONTEXT.Value("i", 0, lock=False), CONTEXT.Queue()
    beside = dataclasses.replace(job, folder=str(tmp_path / "beside"))
    process = CONTEXT.Process(target=_train, args=(beside, str(own_locks), taken, answers), daemon=True)
    process.start()
    deadline = time.monotonic() + PATIENCE_S
    while taken.value < 5:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    measure, timed = latency._measure, []

    def watched(*arguments: Any) -> Any:
        before, begun = taken.value, time.monotonic()
        result = measure(*arguments)
        timed.append((before, taken.value, time.monotonic() - begun))
        return result

    monkeypatch.setattr(latency, "_measure", watched)
    latency.measure_latency(job.spec, job.latency)
    outcome, wall = answers.get(timeout=PATIENCE_S)
    process.join(PATIENCE_S)
    ((before, after, seconds),) = timed
    assert 5 <= before == after <= steps
    assert taken.value == steps + 1
    for name in ("curve", "documents", "tokens", "baselines"):
        assert outcome[name] == json.loads(json.dumps(to_json(undisturbed)))[name], name
    assert wall - outcome["seconds"] >= 0.9 * seconds, "standing still is not training"


def test_a_trial_that_goes_back_says_so_and_has_every_line_of_its_curve_once(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "choose_step", lambda state: Faulty(step_by("eager"), kick, 80 * 512))
    job = dataclasses.replace(job, budget=Budget(rung=0, tokens=128 * 512, cooldown_tokens=4 * 512))
    outcome = run_job(job)
    assert outcome.checks["rollbacks"].endswith("learning rate × 0.5")
    (note,) = [finding for finding in outcome.findings if finding.check == "rollback"]
    assert note.severity == "note"
    points = [json.loads(line) for line in (tmp_path / "metrics" / "00003.jsonl").read_text().splitlines()]
    trunk = [point["tokens"] for point in points if point["phase"] == "stable"]
    assert trunk == [4 * 512 * (n + 1) for n in range(32)]
    assert [point["tokens"] for point in points if "rollback" in point] == [4 * 512]
    assert all("tokens_per_s" in point for point in points)
    # Killed between the two, and begun again from the last checkpoint.
    seen: list[int] = []

    def interrupt(job: Job, progress: Progress) -> None:
        seen.append(progress.tokens)
        if len(seen) in (60, 140):
            raise KeyboardInterrupt

    broken = dataclasses.replace(job, folder=str(tmp_path / "broken"), checkpoint_every_s=0.0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_job(broken, on_progress=interrupt)
    resumed = run_job(broken)
    assert (resumed.scores, resumed.curve, resumed.findings) == (outcome.scores, outcome.curve, outcome.findings)


def test_a_time_limit_of_the_recipe_is_kept(job: Job) -> None:
    short = dataclasses.replace(job, training=dataclasses.replace(job.training, time_limit_s=1e-9))
    outcome = run_job(short)
    assert outcome.failure is not None
    assert outcome.failure.kind == "timeout"
