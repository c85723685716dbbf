"""A tuning as a job: its folder is a run's, an interruption changes nothing, the best weights are kept, a change is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autonas.errors import CorpusError, StudyError, TrialFailure
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.loaded_run import load_run
from autonas.run_folder import check_claim, read_evaluation
from autonas.training.loop import Progress
from autonas.trial import Job, Outcome, from_json, to_json
from autonas.tuning.examples import Example, example_of, read_examples, write_examples
from autonas.tuning.planning import plan_tuning
from autonas.worker import run_job
from tests.tuning.conftest import begin

METHODS = ("sft", "lora")


def essence(outcome: Outcome) -> Any:
    timed = ("latency", "prefill_latency")
    scores = {name: score for name, score in outcome.scores.items() if name not in timed}
    return scores, outcome.samples, outcome.documents, outcome.curve


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_run(folder).model.named_parameters())


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_s"} for line in found]


@pytest.mark.parametrize("method", METHODS)
def test_a_tuned_run_is_a_run(base: Path, data: Path, tmp_path: Path, method: str) -> None:
    folder = tmp_path / "tuned"
    outcome = run_job(begin(base, data, folder, method=method))
    assert outcome.ok, outcome.failure
    assert {"val_loss", "solution_loss", "stops", "exact_match", "params", "latency"} <= outcome.scores.keys()
    values = read_evaluation(folder)
    about = values["tuning"]
    assert about["examples"]["training"] + about["examples"]["validation"] == 60
    assert values["tokens"] == read_evaluation(base)["tokens"], "of the corpus, which the tuning showed nothing of"
    before, after = weights(base), weights(folder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    if method == "sft":
        assert changed == set(before)
        assert not (folder / "adapter").exists()
    else:
        assert changed == {name for name in before if name.startswith("blocks.") and before[name].ndim == 2}
        assert {path.name for path in (folder / "adapter").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    again = tmp_path / "again"
    assert run_job(begin(folder, data, again, method=method, steps=2)).ok, "and can be tuned again"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [3, 9])
def test_a_tuning_that_is_killed_and_begun_again_ends_as_the_whole_one(
    base: Path, data: Path, tmp_path: Path, method: str, step: int
) -> None:
    whole = run_job(begin(base, data, tmp_path / "whole", method=method))
    seen: list[Progress] = []

    def interrupt(job: Job, progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == step:
            raise KeyboardInterrupt

    job = begin(base, data, tmp_path / "broken", method=method)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, on_progress=interrupt)
    resumed = run_job(dataclasses.replace(job, attempt=2))
    assert essence(resumed)[:3] == essence(whole)[:3]
    ours, theirs = weights(tmp_path / "broken"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")


def test_a_tuning_that_is_told_to_stop_keeps_its_very_last_step(base: Path, data: Path, tmp_path: Path) -> None:
    whole = run_job(begin(base, data, tmp_path / "whole"))
    job = dataclasses.replace(begin(base, data, tmp_path / "run"), checkpoint_every_s=1e9)
    asked = iter(range(1_000))
    with pytest.raises(TrialFailure) as caught:
        run_job(job, stop=lambda: next(asked) == 5)
    assert caught.value.kind == "preempted"
    resumed = run_job(job)
    assert resumed.new_tokens < whole.new_tokens
    assert essence(resumed)[:3] == essence(whole)[:3]


@pytest.mark.slow
def test_a_process_killed_in_the_middle_loses_nothing_that_was_kept(base: Path, data: Path, tmp_path: Path) -> None:
    whole = run_job(begin(base, data, tmp_path / "whole", steps=400, patience=None))
    job = begin(base, data, tmp_path / "run", steps=400, patience=None)
    (tmp_path / "job.json").write_text(json.dumps(to_json(job)))
    command = [sys.executable, "-m", "autonas.worker", "--in-place", str(tmp_path / "job.json")]
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    until = time.monotonic() + 120
    while not last.exists() and time.monotonic() < until:
        time.sleep(0.05)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert last.exists()
    resumed = run_job(job)
    assert essence(resumed)[:3] == essence(whole)[:3]


def test_a_replayed_job_has_the_same_outcome(base: Path, data: Path, tmp_path: Path) -> None:
    first = run_job(begin(base, data, tmp_path / "run"))
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    again = run_job(from_json(Job, {**values, "folder": str(tmp_path / "fresh")}))
    assert essence(again) == essence(first)


def test_the_weights_with_the_lowest_validation_loss_are_kept(base: Path, tmp_path: Path) -> None:
    """Solutions that follow from nothing can be learnt by heart only: soon the loss of others rises."""
    random = np.random.default_rng(0)
    values = [random.integers(0, 10**6, size=3).tolist() for _ in range(20)]
    write_examples(
        tmp_path / "data.jsonl",
        [Example(id=str(n), prompt=f"x{n} =", solution=f" {each}\n") for n, each in enumerate(values)],
    )
    job = begin(base, tmp_path / "data.jsonl", tmp_path / "run", method="sft", steps=300, rate=0.003, patience=None)
    outcome = run_job(job)
    assert outcome.ok, outcome.failure
    looks = [line for line in lines(tmp_path / "run") if "solution_loss" in line]
    best = min(looks, key=lambda line: line["solution_loss"])
    assert looks[-1]["solution_loss"] > best["solution_loss"] + 0.5
    about = read_evaluation(tmp_path / "run")["tuning"]
    assert about["best_step"] == best["step"]
    assert outcome.scores["solution_loss"].value == pytest.approx(best["solution_loss"], rel=1e-5)


def test_without_gain_a_tuning_ends_early_and_says_so(base: Path, data: Path, tmp_path: Path) -> None:
    outcome = run_job(begin(base, data, tmp_path / "run", steps=200, rate=1e-15, patience=2))
    about = read_evaluation(tmp_path / "run")["tuning"]
    assert about["steps"] < 200
    assert "early stopping" in outcome.checks
    assert {"early_stopping", "tuning_gain"} <= {finding.check for finding in outcome.findings}


def test_a_rate_that_is_far_too_high_is_a_failure_with_its_kind(base: Path, data: Path, tmp_path: Path) -> None:
    outcome = run_job(begin(base, data, tmp_path / "run", method="sft", steps=300, rate=50.0, patience=None))
    assert outcome.failure is not None
    assert outcome.failure.kind in ("diverged", "nan")


def test_examples_that_give_away_tasks_are_refused_and_an_alarm_where_they_are_allowed(
    base: Path, examples: tuple[Example, ...], tmp_path: Path
) -> None:
    stolen = tmp_path / "stolen.jsonl"
    write_examples(stolen, (*examples, *map(example_of, builtin_tasks())))
    with pytest.raises(CorpusError, match="--allow-contamination"):
        begin(base, stolen, tmp_path / "run")
    outcome = run_job(begin(base, stolen, tmp_path / "run", steps=2, allow_contamination=True))
    assert ("benchmark_in_tuning", "alarm") in [(each.check, each.severity) for each in outcome.findings]


def test_what_has_changed_since_the_tuning_began_is_refused(base: Path, examples: tuple[Example, ...], tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    write_examples(own, examples)
    job = begin(base, own, tmp_path / "run", steps=2)
    write_examples(own, examples[:-1])
    with pytest.raises(CorpusError, match="other examples"):
        run_job(job)
    assert job.tuning is not None
    with pytest.raises(StudyError, match="its weights are not those"):
        run_job(dataclasses.replace(job, tuning=dataclasses.replace(job.tuning, base_weights="0" * 16)))


def test_a_folder_of_another_tuning_is_not_gone_on_with(base: Path, data: Path, tmp_path: Path) -> None:
    assert run_job(begin(base, data, tmp_path / "run", steps=2)).ok
    with pytest.raises(StudyError, match=r"tuning\.learning_rate was"):
        check_claim(begin(base, data, tmp_path / "run", steps=2, rate=0.1), resume=True)
    check_claim(begin(base, data, tmp_path / "run", steps=2), resume=True)


def test_without_validation_the_last_weights_are_kept_and_an_alarm_says_so(base: Path, data: Path, tmp_path: Path) -> None:
    outcome = run_job(begin(base, data, tmp_path / "run", steps=3, validation_share=0.0))
    assert outcome.ok
    assert ("no_validation", "alarm") in [(each.check, each.severity) for each in outcome.findings]
    assert "solution_loss" not in outcome.scores


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "prompt"}, "--method 'prompt'"),
        ({"targets": ("qkv", "head")}, "--targets"),
        ({"epochs": 2.0, "steps": 3}, "--epochs and --steps"),
        ({"validation_share": 0.9}, "--validation-share 0.9"),
    ],
)
def test_a_setting_that_cannot_be_is_named(base: Path, data: Path, tmp_path: Path, settings: Any, said: str) -> None:
    from autonas.errors import RequestError

    with pytest.raises(RequestError, match=said):
        plan_tuning(base, data, folder=tmp_path / "run", **{"method": "lora", **settings})


def test_what_does_not_fit_the_context_is_counted_and_named(base: Path, data: Path, tmp_path: Path) -> None:
    long = Example(id="long", prompt="def f():", solution="\n    pass" * 100)
    both = tmp_path / "both.jsonl"
    write_examples(both, (*read_examples(data), long))
    outcome = run_job(begin(base, both, tmp_path / "run", steps=2))
    assert read_evaluation(tmp_path / "run")["tuning"]["examples"]["too_long"] == ["long"]
    assert "too_long" in {finding.check for finding in outcome.findings}
