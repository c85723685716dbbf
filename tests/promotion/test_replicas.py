"""Replicas before a full run: on real small studies, from their plan to the run's spec, through kills and cancellations."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import autonas
from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.engine.inline import InlineEngine
from autonas.errors import StudyError, TrialFailure
from autonas.policy.arms import Arm
from autonas.policy.experiment import Experiment
from autonas.policy.replica import FullRun, Replica, replica_of
from autonas.promotion.promote import Promotion
from autonas.promotion.replicas import Trainings, is_choosing, run_replicas
from autonas.run_folder import run_state
from autonas.study.files import request_cancel
from autonas.trial import Failure, Job, Outcome, from_json
from autonas.worker import run_job
from tests.promotion.conftest import INLINE, Run
from tests.studies import SMALL, small_job, write_space

STEPS = 120  # of a run of three epochs
DIMENSIONS = {"learning_rate": {"choice": [1e-4, 1e-3], "default": 1e-4}, "batch_tokens": {"choice": [512, 1024]}}
SPACE: dict[str, Any] = {
    "space": {**SMALL["space"], "layers": 1, **DIMENSIONS},
    "budget": {"trials": 3, "rungs": ["6K", "30K"], "repeats": 0, "min_survivors": 1, "sampler": "random"},
    "horizon": {"share": 100},  # the run itself is its replica: nothing then hangs on how fast this machine is
    "objectives": ["val_loss", "params"],
    "evaluation": {"validation_tokens": "20K", "prompts_per_kind": 1, "samples_per_prompt": 1},
}


@pytest.fixture(scope="session")
def regular(code_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study `small` whose learning rate, held too low, is to be chosen on replicas."""
    folder = tmp_path_factory.mktemp("replicas")
    write_space(folder / "small.yaml", code_corpus, **SPACE)
    values = yaml.safe_load((folder / "small.yaml").read_text())
    values["corpus"]["max_bytes"] = "40KB"
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    with contextlib.chdir(folder):
        autonas.search("small.yaml", engine=INLINE)
    return folder


@pytest.fixture
def study(regular: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(regular, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Path("trials/small")


def proposed(steps: int = STEPS) -> Promotion:
    return autonas.propose_promotion("small", steps=steps, engine=INLINE)


@pytest.fixture(scope="session")
def whole(regular: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a promotion that nothing interrupted, with what was said meanwhile in `said`."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    shutil.copytree(regular, folder)
    said: list[str] = []
    with contextlib.chdir(folder):
        run = promote(say=said.append).resolve()
        (run / "said").write_text("\n".join(said))
    return run


def promote(**options: Any) -> Path:
    return autonas.promote("small", steps=STEPS, engine=INLINE, **options)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def jobs_of(run: Path) -> list[Job]:
    return [from_json(Job, read(path)) for path in sorted((run / "replicas" / "jobs").glob("*.json"))]


def after(count: int) -> Callable[[str], None]:
    """A listener that interrupts when so many replicas have ended."""
    ended: list[str] = []

    def say(text: str) -> None:
        ended.extend([text] if text.startswith("replica ") else [])
        if len(ended) == count:
            raise KeyboardInterrupt

    return say


# From the plan to the run


def test_what_replicas_would_be_trained_is_said_before_and_nothing_is_done(study: Path, run: Run) -> None:
    code, out, err = run("promote", "small", "--engine", "inline", "--steps", str(STEPS), "--dry-run")
    assert code == 0, err
    assert "Before it, at most 8 trainings of a replica (1 × " in out
    assert "choose learning_rate, about" in out
    assert "Not to be identified, and held at its default: batch_tokens:" in out
    code, out, _ = run("promote", "small", "--engine", "inline", "--steps", str(STEPS), "--dry-run", "--json")
    said = json.loads(out)["replicas"]
    assert said["trainings"] == 8
    assert {each["dimension"]: each["possible"] for each in said["dimensions"]} == {
        "learning_rate": True,
        "batch_tokens": False,
    }
    assert not (study / "runs").exists()


def test_the_run_has_what_its_replicas_chose_and_new_seeds_confirmed(whole: Path) -> None:
    study = autonas.read_study("small", out=whole.parents[2])
    picked = next(trial.spec for trial in study.trials if trial.number == read(whole / "promotion.json")["trial"])
    assert picked is not None and picked.learning_rate == 1e-4
    chosen = ArchSpec.from_dict(read(whole / "spec.json"))
    assert chosen == dataclasses.replace(picked, learning_rate=1e-3)
    assert autonas.load(whole, device="cpu").spec == chosen
    found = read(whole / "replicas.json")
    assert found["chosen"] == {"learning_rate": 1e-3}
    (verdict,) = found["verdicts"]
    assert (verdict["identified"], verdict["chosen"], verdict["default"]) == (True, 1e-3, 1e-4)
    assert verdict["differences"][0]["difference"] < -verdict["differences"][0]["reach"]
    assert found["confirmation"]["confirmed"]
    assert [(each["changes"], each["seed"]) for each in found["trainings"]] == [
        (changes, seed) for seed in range(4) for changes in ({}, {"learning_rate": 1e-3})
    ], "the last two seeds are new, and confirm"
    (remembered,) = study.attributes["promotions"]
    for text in (read(whole / "promotion.json")["reason"], (whole / "said").read_text(), remembered["reason"]):
        assert "learning_rate 0.001 instead of 0.0001: -0." in text
        assert "confirmed by 2 pairs with new seeds" in text
    assert not list((whole / "replicas" / "checkpoints").glob("*/*.safetensors"))


def test_arms_differ_in_one_dimension_and_in_nothing_else(whole: Path) -> None:
    run = from_json(Job, read(whole / "run.json"))
    seeds: dict[int, list[Job]] = {}
    for job in jobs_of(whole):
        seeds.setdefault(job.seed, []).append(job)
    assert len(seeds) == 4
    names = ("data_seed", "data", "training", "evaluation", "budget", "unique_tokens", "objectives")
    for pair in seeds.values():
        one, other = pair
        assert {name: getattr(one, name) for name in names} == {name: getattr(other, name) for name in names}
        assert dataclasses.replace(one.spec, learning_rate=1e-3) == other.spec
        assert run.seed != one.seed and run.data_seed != one.data_seed
    outcomes = [from_json(Outcome, read(path)) for path in (whole / "replicas" / "outcomes").glob("*.json")]
    assert {outcome.tokens for outcome in outcomes} == {STEPS * 512}, "to the end of the schedule"


def test_without_replicas_the_run_has_the_defaults(study: Path) -> None:
    text = Path("small.yaml").read_text().replace("share: 100", "replicas: false")
    Path("small.yaml").write_text(text)
    autonas.search("small.yaml", engine=INLINE, resume=True)
    assert proposed().experiment is None
    run = promote()
    assert ArchSpec.from_dict(read(run / "spec.json")).learning_rate == 1e-4
    assert not (run / "replicas").exists() and not (run / "replicas.json").exists()


def test_a_share_that_no_replica_fits_is_said_and_the_run_goes_on(study: Path) -> None:
    Path("small.yaml").write_text(Path("small.yaml").read_text().replace("share: 100", "share: 1e-6"))
    autonas.search("small.yaml", engine=INLINE, resume=True)
    said: list[str] = []
    run = promote(say=said.append)
    assert any("No replicas: 8 trainings of even the smallest replica cost more than 0% of the full run" in t for t in said)
    assert (run / "evaluation.json").exists()
    assert not (run / "replicas.json").exists()


# Killed and gone on with


@pytest.mark.parametrize(("count", "resume"), [(3, True), (6, False)])
def test_a_promotion_killed_among_its_replicas_goes_on_where_it_was(
    study: Path, whole: Path, run: Run, count: int, resume: bool
) -> None:
    with pytest.raises(KeyboardInterrupt):
        promote(say=after(count))
    (folder,) = (study / "runs").iterdir()
    assert is_choosing(folder) and run_state(folder) == "absent"
    _, out, _ = run("status", "small")
    out = " ".join(out.replace("\\\n", "").split())  # without the ends of lines
    assert f"steps: interrupted, in {folder}" in out
    assert f"To go on with the promotion: autonas promote small --resume --out {folder}" in out
    said: list[str] = []
    resumed = autonas.promote("small", resume=True, engine=INLINE, say=said.append) if resume else promote(say=said.append)
    assert resumed == folder
    assert not is_choosing(folder)
    assert sum(text.startswith("replica ") for text in said) == 8 - count, "what has ended is not trained again"
    one, other = (read(path / "replicas.json") for path in (whole, resumed))
    for found in (one, other):
        for training in found["trainings"]:
            del training["seconds"]
        del found["seconds"]
    assert one == other
    records = [read(path / "promotion.json") for path in (whole, resumed)]
    assert records[0]["reason"] == records[1]["reason"]


def test_what_is_gone_on_with_cannot_change(study: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        promote(say=after(1))
    changed: list[tuple[dict[str, Any], str]] = [
        ({"steps": STEPS + 1}, f"begun with --steps {STEPS} and cannot go on with {STEPS + 1}"),
        ({"trial": 99}, r"begun with --trial \d+ and cannot go on with 99"),
    ]
    for changes, complaint in changed:
        with pytest.raises(StudyError, match=complaint):
            autonas.promote("small", resume=True, engine=INLINE, **changes)
    (folder,) = (study / "runs").iterdir()
    (folder / "promotion.json").write_text("[]")
    with pytest.raises(StudyError, match=r"promotion\.json: cannot be read"):
        autonas.promote("small", resume=True, engine=INLINE)


def test_a_cancelled_choice_says_how_to_go_on(study: Path) -> None:
    def cancel(text: str) -> None:
        if text.startswith("replica "):
            (folder,) = (study / "runs").iterdir()
            request_cancel(folder)

    with pytest.raises(TrialFailure, match=r"was cancelled. .* autonas promote small --resume --out \S+"):
        promote(say=cancel)
    (folder,) = (study / "runs").iterdir()
    assert is_choosing(folder)


def test_trainings_of_another_run_are_not_taken_for_this_ones(study: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        promote(run="here", say=after(2))
    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", steps=STEPS + 8, run="here", engine=INLINE, say=after(4))
    assert {job.budget.tokens + job.budget.cooldown_tokens for job in jobs_of(Path("here"))} == {(STEPS + 8) * 512}, (
        "all are of this run"
    )


# Engines that fail


class Scripted(InlineEngine):
    """Runs jobs in earnest but for those that are to fail, by the number of the training: kinds, one after the other."""

    def __init__(self, failures: dict[int, list[Any]]) -> None:
        super().__init__()
        self.failures, self.begun = failures, list[tuple[int, int]]()

    def start(self, job: Job) -> None:
        self.begun.append((job.trial, job.attempt))
        self._job = job
        super().start(job)

    def wait(self) -> list[Outcome]:
        kinds = self.failures.get(self._job.trial)
        if not kinds:
            return super().wait()
        self._waiting.clear()
        failure = Failure(kind=kinds.pop(0), message="planted")
        job = self._job
        return [Outcome(kind="train", trial=job.trial, attempt=job.attempt, rung=0, seconds=0.0, failure=failure)]


@pytest.fixture
def experiment(study: Path) -> tuple[Job, Experiment]:
    promotion = proposed(40)
    assert promotion.experiment is not None
    return promotion.job, promotion.experiment


def test_a_lost_worker_is_replaced_and_one_that_diverges_is_out(experiment: tuple[Job, Experiment]) -> None:
    engine = Scripted({0: ["preempted"], 1: ["diverged"]})
    choice = run_replicas(*experiment, engine, seed=0, retries=1)
    assert choice is not None
    assert engine.begun[:3] == [(0, 1), (0, 2), (1, 1)]
    (verdict,) = choice.verdicts
    assert verdict.differences[0].seeds == 1, "the other seed's pair is left"
    found = read(Path(experiment[0].folder) / "replicas.json")
    assert found["trainings"][1]["failure"] == {"kind": "diverged", "message": "planted", "span": None}


def test_workers_lost_again_and_again_are_no_verdict_on_an_arm(experiment: tuple[Job, Experiment]) -> None:
    with pytest.raises(TrialFailure, match="a replica's worker was lost: planted"):
        run_replicas(*experiment, Scripted({1: ["preempted"] * 3}), seed=0, retries=2)
    engine = Scripted({})
    run_replicas(*experiment, engine, seed=0, retries=2)
    assert next(number for number, _ in engine.begun) == 1, "the first training had ended"


def test_what_may_end_better_is_tried_again_by_the_next_attempt(experiment: tuple[Job, Experiment]) -> None:
    run_replicas(*experiment, Scripted({1: ["out_of_memory"], 3: ["diverged"]}), seed=0, retries=0)
    engine = Scripted({})
    run_replicas(*experiment, engine, seed=0, retries=0)
    assert next(number for number, _ in engine.begun) == 1
    assert 3 not in [number for number, _ in engine.begun]


def test_arms_that_all_fail_leave_the_defaults(experiment: tuple[Job, Experiment]) -> None:
    choice = run_replicas(*experiment, Scripted({n: ["nan"] for n in range(4)}), seed=0, retries=0)
    assert choice is not None
    assert choice.values == {} and choice.confirmation is None
    assert "not identified by this budget: no pair could be trained" in choice.reason


# What a training of a replica is


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


def scaled(dataset: Dataset) -> Replica:
    """A scale model of a run of seven epochs."""
    job = small_job(dataset.ref, Path())
    spec = dataclasses.replace(job.spec, width=32, heads=4, kv_heads=2)
    budget = dataclasses.replace(job.budget, tokens=225 * 512, cooldown_tokens=45 * 512)
    full = FullRun(spec=spec, training=job.training, budget=budget, corpus_tokens=20_000)
    found = replica_of(full, dataclasses.replace(spec, width=16, heads=2, kv_heads=1))
    assert found is not None and 1.5 < found.scale < 3
    return found


def test_a_replica_is_trained_to_its_end_on_its_own_corpus(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = scaled(dataset)
    job = Trainings(small_job(dataset.ref, tmp_path), replica, seed=0).job(Arm(changes={}), 0, 0)
    read: list[int] = []
    takes = Windows.take

    def take(self: Windows, first: int, count: int) -> Any:
        assert len(self.tokens) == replica.unique_tokens
        read.extend(self.starts(first, count).tolist())
        return takes(self, first, count)

    monkeypatch.setattr(Windows, "take", take)
    outcome = run_job(job)
    assert outcome.ok, outcome.failure
    assert outcome.tokens == replica.run.tokens
    assert max(read) + job.spec.context_length < replica.unique_tokens
    assert Counter(read).keys() == {place * job.spec.context_length for place in range(replica.run.num_windows)}
    assert replica.run.epochs == pytest.approx(7, abs=0.1)
    assert set(Counter(read).values()) <= {12, 13, 14, 15, 16}, "in training, and for the n-gram models of the same tokens"
    again = run_job(dataclasses.replace(job, folder=str(tmp_path / "again")))
    assert again.documents == outcome.documents
    other = dataclasses.replace(job, folder=str(tmp_path / "other"), unique_tokens=None)
    monkeypatch.setattr(Windows, "take", takes)
    assert run_job(other).documents != outcome.documents


def test_seeds_share_nothing_and_arms_share_all_but_what_they_change(dataset: Dataset, tmp_path: Path) -> None:
    trainings = Trainings(small_job(dataset.ref, tmp_path), scaled(dataset), seed=0)
    arms = [Arm(changes={}), Arm(changes={"residual_dropout": 0.3}), Arm(changes={"learning_rate": 1e-3})]
    jobs = [[trainings.job(arm, seed, 0) for arm in arms] for seed in (0, 1)]
    for row in jobs:
        assert len({(job.seed, job.data_seed) for job in row}) == 1
    assert jobs[0][0].seed != jobs[1][0].seed
    assert jobs[0][0].data_seed != jobs[1][0].data_seed
    factor = trainings._replica.rate_factor
    assert jobs[0][2].spec.learning_rate == pytest.approx(1e-3 * factor)
    assert jobs[0][1].spec.residual_dropout == 0.3
