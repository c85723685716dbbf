"""A full run: its schedule, its folder, its curve, and that an interruption at any moment changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from autonas import full_run
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.errors import CheckpointError, DeviceError, RecipeError, StudyError, TrialFailure
from autonas.evaluation.collapse import measure_collapse
from autonas.evaluation.latency import measured_latency
from autonas.evaluation.latency_cache import table_entry
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.loaded_run import load_run
from autonas.run_folder import probing, run_budget
from autonas.training import loop
from autonas.training.checkpoint import load_model, load_note
from autonas.training.loop import Progress
from autonas.trial import Job, Outcome, to_json
from autonas.worker import run_job
from tests.studies import SMALL_SPEC, small_job
from tests.training.event_files import check_events
from tests.training.faults import Faulty, kick, step_by

STEP = 512
SCHEDULES = ("wsd", "cosine")


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture(autouse=True)
def saves_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints as often as a job says, however long they take."""
    monkeypatch.setattr(full_run, "SAVES_SHARE", float("inf"))


def make_job(dataset: Dataset, folder: Path, schedule: Any = "wsd", steps: int = 24, **changes: Any) -> Job:
    """A run of 24 steps, the last four of them the cooldown of "wsd"."""
    job = small_job(dataset.ref, folder)
    training = dataclasses.replace(job.training, schedule=schedule)
    return dataclasses.replace(
        job,
        kind="run",
        training=training,
        budget=run_budget(SMALL_SPEC, training, steps, 0.2),
        checkpoint_every_s=0.0,
        **changes,
    )


def essence(outcome: Outcome) -> Any:
    timed = ("latency", "prefill_latency")
    scores = {name: score for name, score in outcome.scores.items() if name not in timed}
    return outcome.tokens, scores, outcome.samples, outcome.documents, outcome.curve, outcome.baselines


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_has_exactly_its_steps_and_its_rate_falls_to_the_end(dataset: Dataset, tmp_path: Path, schedule: str) -> None:
    seen: list[Progress] = []
    job = make_job(dataset, tmp_path / "run", schedule)
    outcome = run_job(job, on_progress=lambda job, step: seen.append(step))
    assert outcome.ok
    assert outcome.checks["decoding path"].endswith(" steps")
    assert outcome.kind == "run"
    assert outcome.tokens == outcome.new_tokens == 24 * STEP == seen[-1].tokens
    assert [step.tokens for step in seen] == [STEP * (number + 1) for number in range(24)]
    rates = [step.learning_rate for step in seen]
    assert rates[-1] < 0.3 * max(rates)
    if schedule == "wsd":
        assert len({f"{rate:.9f}" for rate in rates[3:19]}) == 1, "the phase between warm-up and cooldown is stable"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [2, 19, 21])
def test_a_run_that_is_killed_and_begun_again_ends_as_the_whole_one(
    dataset: Dataset, tmp_path: Path, schedule: str, step: int
) -> None:
    whole = run_job(make_job(dataset, tmp_path / "whole", schedule))

    def interrupt(job: Job, progress: Progress) -> None:
        if progress.tokens == (step + 1) * STEP:
            raise KeyboardInterrupt

    job = make_job(dataset, tmp_path / "broken", schedule)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, on_progress=interrupt)
    resumed = run_job(job)
    assert resumed.new_tokens == (24 - step) * STEP, "the checkpoint of the step before the last was used"
    assert essence(resumed) == essence(whole)
    assert [line["tokens"] for line in lines(tmp_path / "broken")] == [line["tokens"] for line in lines(tmp_path / "whole")]
    check_events(tmp_path / "broken")


@pytest.mark.parametrize("step", [5, 22])
def test_a_run_that_is_told_to_stop_keeps_its_very_last_step(dataset: Dataset, tmp_path: Path, step: int) -> None:
    job = dataclasses.replace(make_job(dataset, tmp_path / "run"), checkpoint_every_s=1e9)
    whole = run_job(make_job(dataset, tmp_path / "whole"))
    asked = iter(range(1_000))
    with pytest.raises(TrialFailure) as caught:
        run_job(job, stop=lambda: next(asked) == step)
    assert caught.value.kind == "preempted"
    resumed = run_job(job)
    assert resumed.new_tokens == (24 - step) * STEP
    assert essence(resumed) == essence(whole)


def test_a_time_limit_is_a_failure_and_keeps_the_last_step(dataset: Dataset, tmp_path: Path) -> None:
    job = dataclasses.replace(make_job(dataset, tmp_path / "run"), checkpoint_every_s=1e9)
    asked: list[int] = []

    def slow(job: Job, step: Progress) -> None:
        asked.append(step.tokens)
        time.sleep(0.05)

    # Building takes a moment; a limit that is over after it and before the last step of at least 1.2 s.
    started = time.monotonic()
    run_job(dataclasses.replace(job, time_limit_s=0.0))
    building = time.monotonic() - started
    outcome = run_job(dataclasses.replace(job, time_limit_s=building + 0.3), on_progress=slow)
    assert outcome.failure is not None
    assert outcome.failure.kind == "timeout"
    resumed = run_job(job)
    assert resumed.ok
    assert resumed.new_tokens == 24 * STEP - (asked[-1] if asked else 0)


def test_the_validation_loss_is_on_the_curve_and_costs_little(dataset: Dataset, tmp_path: Path) -> None:
    outcome = run_job(make_job(dataset, tmp_path, steps=400))
    probes = [line for line in lines(tmp_path) if "val_loss" in line]
    assert len(probes) == probing(outcome.tokens)[0] == 20
    assert [probe["tokens"] for probe in probes] == [400 * STEP * (i + 1) // 20 for i in range(20)]
    assert all(probe["val_low"] <= probe["val_loss"] <= probe["val_high"] for probe in probes)
    assert sum(line["val_tokens"] for line in probes) / 3 < 0.02 * outcome.tokens, "a forward pass is a third of a step"
    losses = [line for line in lines(tmp_path) if "loss" in line]
    assert [line["tokens"] for line in losses] == [STEP * (i + 1) for i in range(400)]
    assert len(outcome.curve) <= 64
    assert outcome.curve[-1] == (400 * STEP, losses[-1]["loss"])


def test_probing_does_not_touch_the_training(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(SMALL_SPEC, residual_dropout=0.2)
    probed = run_job(dataclasses.replace(make_job(dataset, tmp_path / "a"), spec=spec))
    monkeypatch.setattr(full_run, "probing", lambda tokens: (1, 1000))
    assert essence(run_job(dataclasses.replace(make_job(dataset, tmp_path / "b"), spec=spec))) == essence(probed)


def test_the_folder_holds_what_it_promises(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    outcome = run_job(job)
    out = tmp_path / "run"
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("spec.json", "run.json", "tokenizer.json", "metrics.jsonl", "tensorboard"),
        *("checkpoints", "model.safetensors", "evaluation.json"),
    }
    assert json.loads((out / "spec.json").read_text()) == SMALL_SPEC.to_dict()
    recorded = json.loads((out / "evaluation.json").read_text())
    assert recorded["scores"] == json.loads(json.dumps(to_json(outcome.scores)))
    assert {"val_loss", "bits_per_byte", "params", "memory", "latency", "collapse_rate"} <= recorded["scores"].keys()
    assert recorded["epochs"] == pytest.approx(24 * STEP / len(dataset.tokens("train")), rel=0.01)


def test_a_finished_run_can_be_loaded_and_is_the_model_that_was_scored(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    outcome = run_job(job)
    loaded = load_run(tmp_path / "run")
    assert loaded.spec == SMALL_SPEC
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("def f():")) == "def f():"
    assert loss_scores(evaluate_loss(loaded.model, dataset, job.evaluation))["val_loss"] == outcome.scores["val_loss"]
    _, samples = measure_collapse(loaded.model, dataset, job.evaluation, job.data_seed, wanted=())
    assert samples == outcome.samples


def test_run_json_is_a_job_that_a_worker_replays(dataset: Dataset, tmp_path: Path) -> None:
    outcome = run_job(make_job(dataset, tmp_path / "run"))
    command = [sys.executable, "-m", "autonas.worker", str(tmp_path / "run" / "run.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    again = json.loads(done.stdout)
    assert again["kind"] == "run"
    assert again["scores"]["val_loss"] == json.loads(json.dumps(to_json(outcome.scores["val_loss"])))


def test_another_job_does_not_get_the_folder(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    run_job(job)
    for other, complaint in (
        (dataclasses.replace(job, spec=dataclasses.replace(SMALL_SPEC, norm="layernorm")), r"spec\.norm was rmsnorm, is layer"),
        (make_job(dataset, tmp_path / "run", steps=30), "steps was 24, is 30"),
        (dataclasses.replace(job, seed=99), "seed was 1, is 99"),
    ):
        with pytest.raises(StudyError, match=complaint):
            run_job(other)


def test_where_a_run_is_computed_may_change(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    steps = iter(range(1_000))
    with pytest.raises(TrialFailure):
        run_job(job, stop=lambda: next(steps) == 4)
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = dataclasses.replace(job, folder=str(tmp_path / "moved"), attempt=7, device="auto", checkpoint_every_s=9.0)
    assert run_job(moved).new_tokens == 20 * STEP


def test_a_superseded_attempt_stops_and_writes_nothing_more(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    kept: list[bytes] = []

    def supersede(job: Job, step: Progress) -> None:
        if step.tokens == 5 * STEP:
            kept.append(last.read_bytes())
            (last.parent / "attempt").write_text("2\n")

    with pytest.raises(StudyError, match="superseded by attempt 2: another process has taken over"):
        run_job(job, on_progress=supersede)
    assert last.read_bytes() == kept[0]
    assert run_job(dataclasses.replace(job, attempt=2)).ok


def test_a_damaged_run_is_named(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    run_job(job)
    out = tmp_path / "run"
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_run(out)
    with pytest.raises(StudyError, match="is no run"):
        load_run(tmp_path / "nowhere")
    study = tmp_path / "study"
    shutil.copytree(out, study / "runs" / "4-abcdef")
    with pytest.raises(StudyError, match=r"a study with runs: .*4-abcdef\. Name one of these"):
        load_run(study)
    weights.unlink()
    with pytest.raises(StudyError, match="has not ended yet"):
        load_run(out)
    (out / "run.json").write_text("{")
    with pytest.raises(StudyError, match=r"run\.json: cannot be read"):
        run_job(job)


def test_a_bad_end_is_an_outcome_and_the_checkpoint_is_kept(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(dataset, tmp_path / "run")

    def hungry(*arguments: object, **options: object) -> None:
        torch.empty(2**60)

    with monkeypatch.context() as patched:
        patched.setattr(full_run, "held_out", hungry)
        outcome = run_job(job)
    assert outcome.failure is not None
    assert outcome.failure.kind == "out_of_memory"
    assert not outcome.scores
    again = run_job(job)
    assert again.ok
    assert again.new_tokens == 0, "what was trained is not trained again"


def test_a_device_for_latencies_that_is_not_there_is_found_out_before_the_first_step(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    job = dataclasses.replace(job, latency=dataclasses.replace(job.latency, device="cuda:99"))
    with pytest.raises(DeviceError):
        run_job(job)
    assert not (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()


def test_a_table_without_the_architecture_costs_the_latency_and_not_the_run(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    other = dataclasses.replace(SMALL_SPEC, norm="layernorm")
    table = tmp_path / "table.json"
    table.write_text(json.dumps([table_entry(other, measured_latency(other, job.latency))]))
    outcome = run_job(dataclasses.replace(job, latency=dataclasses.replace(job.latency, table=str(table))))
    assert outcome.ok
    assert "latency" not in outcome.scores
    assert "latency" in outcome.checks
    table.write_text("[]")
    with pytest.raises(RecipeError, match="empty"):
        run_job(
            dataclasses.replace(make_job(dataset, tmp_path / "b"), latency=dataclasses.replace(job.latency, table=str(table)))
        )
    assert not (tmp_path / "b" / "metrics.jsonl").exists(), "found out before the first step"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_killed_in_the_middle_goes_on_where_it_was(dataset: Dataset, tmp_path: Path, number: int) -> None:
    steps = 600
    whole = run_job(dataclasses.replace(make_job(dataset, tmp_path / "whole", steps=steps), checkpoint_every_s=1e9))
    job = make_job(dataset, tmp_path / "run", steps=steps)
    every = 0.2 if number == signal.SIGKILL else 1e9
    file = tmp_path / "job.json"
    file.write_text(json.dumps(to_json(dataclasses.replace(job, checkpoint_every_s=every))))
    command = [sys.executable, "-m", "autonas.worker", str(file), "--in-place"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    last, log = tmp_path / "run" / "checkpoints" / "last.safetensors", tmp_path / "run" / "metrics.jsonl"
    begun = last if number == signal.SIGKILL else log
    deadline = time.monotonic() + 120
    while not (begun.exists() and begun.stat().st_size) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.wait()
    assert last.exists()
    resumed = run_job(job)
    assert resumed.ok
    assert resumed.new_tokens < steps * STEP
    # The curve's line in which a stop fell holds the mean of its second part: all else is the same.
    assert essence(resumed)[:4] == essence(whole)[:4]


def stopping(job: Job, patience: int, min_delta: float) -> Job:
    return dataclasses.replace(job, training=dataclasses.replace(job.training, patience=patience, min_delta=min_delta))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_that_gains_no_more_ends_by_itself_and_resumed_ends_alike(
    dataset: Dataset, tmp_path: Path, schedule: str
) -> None:
    """No gain is large enough here, so that the run stops at its third evaluation: patience 2 behind the first."""
    job = stopping(make_job(dataset, tmp_path / "whole", schedule, steps=60), 2, 50.0)
    whole = run_job(job)
    probes = [line["tokens"] for line in lines(tmp_path / "whole") if "val_loss" in line]
    assert probes[2] == 9 * STEP
    cooldown = max(1, round(9 * 10 / 50)) if schedule == "wsd" else 0
    assert whole.tokens == (9 + cooldown) * STEP, "a stopped trunk is cooled in proportion"
    assert "no gain of more than 50 nats in 2 evaluations; lowest" in whole.checks["early stopping"]
    assert [(one.check, one.severity) for one in whole.findings if one.check == "early_stopping"] == [
        ("early_stopping", "note")
    ]
    for step in (5, 9):
        broken = dataclasses.replace(job, folder=str(tmp_path / f"broken{step}"))

        def interrupt(job: Job, progress: Progress, step: int = step) -> None:
            if progress.tokens == step * STEP:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_job(broken, on_progress=interrupt)
        assert essence(run_job(broken)) == essence(whole)


def test_a_run_that_gains_does_not_end_early(dataset: Dataset, tmp_path: Path) -> None:
    patient = run_job(stopping(make_job(dataset, tmp_path / "a", steps=60), 20, 0.0))
    assert patient.tokens == 60 * STEP
    assert "early stopping" not in patient.checks
    assert essence(patient) == essence(run_job(make_job(dataset, tmp_path / "b", steps=60)))


def test_a_run_goes_back_and_resumed_goes_back_alike(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kicked(state: Any) -> Any:
        return Faulty(step_by("eager"), kick, 80 * STEP)

    monkeypatch.setattr(loop, "choose_step", kicked)
    whole = run_job(make_job(dataset, tmp_path / "whole", steps=160))
    assert whole.checks["rollbacks"].startswith("1: the loss ")
    assert "rollback" in {one.check for one in whole.findings}
    curve = lines(tmp_path / "whole")
    (said,) = [line for line in curve if "rollback" in line]
    assert said["tokens"] == 0
    assert [line["tokens"] for line in curve if "loss" in line] == [STEP * (n + 1) for n in range(160)]
    check_events(tmp_path / "whole")
    recorded = json.loads((tmp_path / "whole" / "evaluation.json").read_text())
    assert recorded["findings"] == json.loads(json.dumps(to_json(whole.findings)))
    last = tmp_path / "whole" / "checkpoints" / "last.safetensors"
    job = make_job(dataset, tmp_path / "broken", steps=160)
    seen: list[int] = []

    def interrupt(job: Job, progress: Progress) -> None:
        seen.append(progress.tokens)
        if len(seen) in (70, 90, 130):
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run_job(job, on_progress=interrupt)
    resumed = run_job(job)
    assert essence(resumed) == essence(whole)
    assert resumed.findings == whole.findings
    weights = (tmp_path / "whole" / "model.safetensors").stat().st_size
    assert last.stat().st_size < 4 * weights, "weights and two moments: no copies to go back to are left at the end"


def test_a_run_may_go_on_under_other_limits(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run")
    short = dataclasses.replace(job, training=dataclasses.replace(job.training, time_limit_s=1e-9))
    failed = run_job(short)
    assert failed.failure is not None
    assert failed.failure.kind == "timeout"
    assert run_job(job).ok


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies, which wait for a quiet machine, are left out."""
    monkeypatch.setattr(full_run, "_latencies", lambda job: ({}, {}))


def overfitting(dataset: Dataset, folder: Path, **changes: Any) -> Job:
    """A run of 120 steps that reads two batches again and again, at a rate at which it learns them by heart."""
    job = make_job(dataset, folder, steps=120, unique_tokens=2 * STEP)
    training = dataclasses.replace(job.training, learning_rate=8e-3, weight_decay=0.0)
    return dataclasses.replace(job, training=training, **{"checkpoint_every_s": 1e9, **changes})


@pytest.fixture
def probed_on_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations on the way of all validation tokens: those of runs so short are of one document."""
    monkeypatch.setattr(full_run, "probing", lambda tokens: (12, 1 << 20))


on_the_way = pytest.mark.usefixtures("untimed", "probed_on_documents")


def losses_on_the_way(folder: Path) -> dict[int, float]:
    return {line["tokens"]: line["val_loss"] for line in lines(folder) if "val_loss" in line}


@on_the_way
def test_a_run_that_overfits_ends_with_its_best_weights(dataset: Dataset, tmp_path: Path) -> None:
    job = overfitting(dataset, tmp_path / "run")
    outcome = run_job(job)
    probes = losses_on_the_way(tmp_path / "run")
    best = min(probes, key=lambda tokens: probes[tokens])
    assert best < 120 * STEP and probes[best] < probes[120 * STEP] - 0.05
    assert outcome.tokens == best
    assert outcome.new_tokens == 120 * STEP
    (finding,) = [one for one in outcome.findings if one.check == "best_weights"]
    assert f"those after {best:,} tokens: their loss is lower by" in finding.text
    assert outcome.checks["weights"] in finding.text
    loaded = load_run(tmp_path / "run")
    assert loss_scores(evaluate_loss(loaded.model, dataset, job.evaluation))["val_loss"] == outcome.scores["val_loss"]
    again = run_job(job)
    assert again.new_tokens == 0
    assert essence(again) == essence(outcome)


@pytest.mark.usefixtures("untimed")
def test_a_run_that_still_learns_ends_with_its_last_weights(dataset: Dataset, tmp_path: Path) -> None:
    outcome = run_job(make_job(dataset, tmp_path / "run"))
    probes = losses_on_the_way(tmp_path / "run")
    assert min(probes.values()) == probes[24 * STEP]
    assert outcome.tokens == 24 * STEP
    assert outcome.checks["weights"] == "the last: no evaluation on the way had a lower loss"
    assert "best_weights" not in {one.check for one in outcome.findings}
    weights = [load_model(tmp_path / "run" / name)[0] for name in ("model.safetensors", "checkpoints/best.safetensors")]
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in weights), strict=True))


@on_the_way
@pytest.mark.parametrize("every", [1e9, 0.0], ids=["from the beginning", "from the step before"])
def test_an_interrupted_run_knows_its_best_weights(dataset: Dataset, tmp_path: Path, every: float) -> None:
    """Behind the best evaluation: the file of the best weights is newer than what the run goes on from, or older."""
    whole = run_job(overfitting(dataset, tmp_path / "whole"))
    job = overfitting(dataset, tmp_path / "broken", checkpoint_every_s=every)

    def interrupt(job: Job, progress: Progress) -> None:
        if progress.tokens == 85 * STEP:
            raise KeyboardInterrupt  # nothing is saved on the way out, as by kill -9

    with pytest.raises(KeyboardInterrupt):
        run_job(job, on_progress=interrupt)
    assert load_note(tmp_path / "broken" / "checkpoints" / "best.safetensors")["tokens"] == whole.tokens
    resumed = run_job(job)
    assert resumed.new_tokens == (120 if every else 36) * STEP
    assert essence(resumed)[:4] == essence(whole)[:4]
    assert resumed.checks["weights"] == whole.checks["weights"]


@on_the_way
def test_early_stopping_and_the_best_weights_go_together(dataset: Dataset, tmp_path: Path) -> None:
    """Patience ends it three evaluations behind the best, and the best become its model unless the cooldown made up for it."""
    outcome = run_job(stopping(overfitting(dataset, tmp_path / "run"), 3, 0.0))
    probes = losses_on_the_way(tmp_path / "run")
    best = min(probes, key=lambda tokens: probes[tokens])
    found = {one.check for one in outcome.findings}
    assert "early_stopping" in found
    assert outcome.new_tokens < 120 * STEP
    assert outcome.tokens == (best if "best_weights" in found else outcome.new_tokens)


@pytest.mark.usefixtures("untimed")
def test_weights_from_which_a_run_went_back_may_be_its_best(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were good ones: what diverged came behind them."""

    def kicked(state: Any) -> Any:
        return Faulty(step_by("eager"), kick, 130 * STEP)

    monkeypatch.setattr(loop, "choose_step", kicked)
    job = dataclasses.replace(make_job(dataset, tmp_path / "run", steps=160), checkpoint_every_s=1e9)
    seen: list[int] = []
    bests: list[int] = []

    def look(job: Job, progress: Progress) -> None:
        seen.append(progress.tokens)
        path = tmp_path / "run" / "checkpoints" / "best.safetensors"
        if path.exists():
            bests.append(load_note(path)["tokens"])

    outcome = run_job(job, on_progress=look)
    assert outcome.checks["rollbacks"]
    turned = next(place for place in range(1, len(seen)) if seen[place] < seen[place - 1])
    assert bests[turned - len(seen)] > seen[turned], "what it went back from is remembered"
    assert outcome.checks["weights"].startswith("the last: ")
