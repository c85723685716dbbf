"""The loop: a study is a function of its seed, survives any crash, and keeps its budget. Real training, on real code."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autonas
from autonas.api import read_recipe
from autonas.checkpoints import clean_checkpoints, front_numbers
from autonas.engine.choice import EngineSettings
from autonas.errors import DeviceError, InfeasibleArch, RecipeError, StudyError
from autonas.ledger import study_names
from autonas.policy.policy import begun
from autonas.study import Watcher
from autonas.trial import Outcome, StudyRecord
from tests.studies import essence, write_space

INLINE = EngineSettings(name="inline")

Search = Callable[..., StudyRecord]


@pytest.fixture
def search(tmp_path: Path, code_corpus: Path) -> Search:
    def run(
        study: str = "small", *, changes: dict[str, Any] | None = None, engine: EngineSettings = INLINE, **options: Any
    ) -> StudyRecord:
        space = write_space(tmp_path / "space.yaml", code_corpus, **(changes or {}))
        return autonas.search(space, study=study, out=tmp_path / "trials", engine=engine, **options)

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, code_corpus: Path) -> tuple[StudyRecord, Path]:
    """One small study, searched to its end."""
    folder = tmp_path_factory.mktemp("finished")
    space = write_space(folder / "space.yaml", code_corpus)
    return autonas.search(space, out=folder / "trials", engine=INLINE), folder


def test_a_study_spends_its_budget_and_every_trial_ends_once(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    assert begun(study) == 5
    assert {trial.state for trial in study.trials} <= {"complete", "stopped", "infeasible"}
    originals = [trial for trial in study.trials if trial.repeat_of is None]
    assert sum(len(trial.rungs) == 2 for trial in originals) == 2
    assert sum(trial.repeat_of is not None for trial in study.trials) == 1
    assert study.attributes["closed"] == "all 5 trials have ended"
    assert len(study.timeline) == len(study.trials)


def test_every_score_of_a_complete_trial_is_there_with_its_interval(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    complete = [trial for trial in study.trials if trial.state == "complete"]
    assert complete
    for trial in complete:
        last = trial.rungs[-1]
        for name in ("val_loss", "params", "collapse_rate"):
            score = trial.score(name, 1)
            assert score is not None
            assert score.low <= score.value <= score.high
        assert last.scores["val_loss"].low < last.scores["val_loss"].high
        assert last.scores["val_loss"].value < last.baselines["unigram"]
        assert "max" in last.checks["leak"]
        assert "collapse_rate" not in trial.rungs[0].scores, "collapse is not judged before the last rung"
        assert last.samples


def test_all_trials_of_a_rung_were_shown_the_same_tokens(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    for rung in range(2):
        outcomes = [t.rungs[rung] for t in study.trials if len(t.rungs) > rung and t.repeat_of is None]
        assert len({o.tokens for o in outcomes}) == 1
        assert len({tuple(o.baselines.items()) for o in outcomes}) == 1
        assert all(o.tokens >= [12_000, 36_000][rung] * 1.2 for o in outcomes)


def test_a_declared_repeat_is_the_same_architecture_with_other_seeds(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    repeat = next(trial for trial in study.trials if trial.repeat_of is not None)
    original = study.trials[repeat.repeat_of or 0]
    assert repeat.spec == original.spec
    assert repeat.rungs[-1].scores["val_loss"].value != original.rungs[-1].scores["val_loss"].value


def test_no_architecture_is_proposed_twice(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    names = [t.spec.fingerprint for t in study.trials if t.spec is not None and t.repeat_of is None]
    assert len(set(names)) == len(names)


def test_checkpoints_are_kept_for_the_front_only(finished: tuple[StudyRecord, Path]) -> None:
    study, folder = finished
    kept = {path.name for path in (folder / "trials" / "small" / "checkpoints").iterdir()}
    assert kept == {f"{number:05d}" for number in front_numbers(study)}


def test_a_study_leaves_the_files_it_promises(finished: tuple[StudyRecord, Path]) -> None:
    study, folder = finished
    root = folder / "trials" / "small"
    recipe = read_recipe(root / "recipe.yaml")
    assert recipe.resolved == study.recipe
    jobs = {path.name for path in (root / "jobs").iterdir()}
    assert jobs == {path.name for path in (root / "outcomes").iterdir()}
    assert len(jobs) == sum(len(trial.rungs) for trial in study.trials)
    for trial in study.trials:
        assert (root / "metrics" / f"{trial.number:05d}.jsonl").exists() == bool(trial.rungs)
    assert '"data_fingerprint"' in (root / "environment.json").read_text()


def test_a_job_replayed_from_its_file_has_the_same_result(finished: tuple[StudyRecord, Path]) -> None:
    study, folder = finished
    trial = next(t for t in study.trials if t.state == "complete")
    file = folder / "trials" / "small" / "jobs" / f"{trial.number:05d}-train-1.json"
    from autonas.trial import from_json

    done = subprocess.run(
        [sys.executable, "-m", "autonas.worker", str(file)], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    import json

    replayed = from_json(Outcome, json.loads(done.stdout))
    assert dict(replayed.scores) == dict(trial.rungs[1].scores)
    assert replayed.documents == trial.rungs[1].documents
    assert replayed.samples == trial.rungs[1].samples


def test_the_same_seed_gives_the_same_study_and_another_seed_another(
    finished: tuple[StudyRecord, Path], search: Search
) -> None:
    assert essence(search()) == essence(finished[0])
    assert essence(search("other", seed=1)) != essence(finished[0])


@pytest.mark.parametrize("sampler", ["nsgaii", "random"])
def test_every_sampler_searches_to_the_end(search: Search, sampler: str) -> None:
    study = search(sampler=sampler, changes={"budget": {"rungs": ["12K"], "repeats": 0}})
    assert begun(study) == 5


def test_latency_is_measured_before_training_and_read_from_the_cache_after(search: Search) -> None:
    changes = {"objectives": ["val_loss", "params", "latency"], "budget": {"trials": 2, "rungs": ["3K"], "repeats": 0}}
    first = search(changes=changes)
    assert all(t.scores["latency"].value > 0 for t in first.trials if t.state != "infeasible" or t.rungs)
    assert essence(search("again", changes=changes)) == essence(first)


def test_a_limit_on_latency_rejects_before_training(search: Search) -> None:
    changes = {"limits": {"latency": {"max": "0.001 ms"}}, "budget": {"trials": 1, "repeats": 0}}
    space = {"layers": 1, "width": {"choice": [16, 32]}, "heads": 2, "kv_heads": 1, "norm": "rmsnorm"}
    study = search(changes={**changes, "space": space})
    assert [trial.state for trial in study.trials] == ["infeasible", "infeasible"]
    assert all(t.reason.startswith("limits.latency.max: ") and not t.rungs for t in study.trials)


def test_a_small_space_ends_the_study_when_it_is_exhausted(search: Search) -> None:
    space = {"layers": 1, "width": {"choice": [16, 32]}, "heads": 2, "kv_heads": 1, "norm": "rmsnorm"}
    study = search(changes={"space": space, "rules": [], "budget": {"rungs": ["3K"], "repeats": 0}})
    assert begun(study) == 2
    assert study.attributes["closed"] == "the space holds no further architecture"


def test_an_infeasible_candidate_is_recorded_with_rule_and_nearest_legal_point(search: Search) -> None:
    rules = ["width % heads == 0", "layers * width <= 16"]
    study = search(changes={"rules": rules, "budget": {"trials": 2, "rungs": ["3K"], "repeats": 0, "sampler": "random"}})
    broken = [trial for trial in study.trials if trial.state == "infeasible" and not trial.rungs]
    assert broken
    for trial in broken:
        assert trial.reason.startswith("layers * width <= 16: ")
        assert trial.nearest is not None
        assert trial.nearest["layers"] * trial.nearest["width"] <= 16


def test_a_study_that_exists_is_not_overwritten_and_one_that_does_not_is_not_resumed(search: Search) -> None:
    changes = {"budget": {"trials": 1, "rungs": ["3K"], "repeats": 0}}
    with pytest.raises(StudyError, match="no study"):
        search(changes=changes, resume=True)
    search(changes=changes)
    with pytest.raises(StudyError, match="exists already"):
        search(changes=changes)


def test_resume_may_give_more_trials_but_no_other_recipe(search: Search) -> None:
    budget = {"trials": 2, "rungs": ["3K"], "repeats": 0}
    first = search(changes={"budget": budget})
    more = search(changes={"budget": budget}, trials=4, resume=True)
    assert begun(more) == 4
    assert essence(more)[: len(first.trials)] == essence(first)
    space = {"layers": {"int": [1, 3]}}
    with pytest.raises(StudyError, match=r"another recipe: .*space\.layers\.int was \[1, 2\], is \[1, 3\]"):
        search(changes={"budget": budget, "space": space}, resume=True)
    with pytest.raises(StudyError, match=r"budget\.seed was 0, is 7"):
        search(changes={"budget": budget}, seed=7, resume=True)


def test_a_changed_corpus_is_refused_on_resume(tmp_path: Path, code_corpus: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(code_corpus, corpus)
    space = write_space(tmp_path / "s.yaml", corpus, budget={"trials": 1, "rungs": ["3K"], "repeats": 0})
    autonas.search(space, out=tmp_path / "trials", engine=INLINE)
    (corpus / "json" / "more.py").write_text("def more(things):\n    return [thing + 1 for thing in things if thing]\n")
    with pytest.raises(StudyError, match="corpus of the study 'small' has changed"):
        autonas.search(space, out=tmp_path / "trials", engine=INLINE, trials=2, resume=True)


def test_the_time_limit_stops_new_trials_and_leaves_none_open(search: Search) -> None:
    said: list[str] = []
    study = search(max_hours=1e-4, watcher=Watcher(say=said.append))
    assert begun(study) < 5
    assert all(trial.state != "live" for trial in study.trials)
    # Whether a trial was waiting to go on when it was up is the machine's business.
    assert re.fullmatch(r"time is up(; trials that could not go on: [1-9])?", study.attributes["closed"])


def test_a_study_that_ended_within_its_time_says_so(search: Search) -> None:
    study = search(max_hours=1.0, changes={"budget": {"trials": 2, "rungs": ["3K"], "repeats": 0}})
    assert study.attributes["closed"] == "all 2 trials have ended"


def test_a_repeat_needs_no_second_screening(search: Search, own_cache: Path) -> None:
    changes = {"objectives": ["val_loss", "params", "latency"], "budget": {"trials": 2, "rungs": ["12K"], "repeats": 1}}

    def forget_latencies(study: StudyRecord) -> None:
        if any(trial.state == "complete" for trial in study.trials):
            shutil.rmtree(own_cache / "latency", ignore_errors=True)

    study = search(changes=changes, watcher=Watcher(changed=forget_latencies))
    repeat = next(trial for trial in study.trials if trial.repeat_of is not None)
    assert repeat.scores == study.trials[repeat.repeat_of or 0].scores


def test_what_another_study_of_the_name_left_behind_is_not_taken_for_its_own(search: Search, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop_when_paused(study: StudyRecord) -> None:
        if sum(len(trial.rungs) for trial in study.trials) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        search(watcher=Watcher(changed=stop_when_paused), seed=5)
    (tmp_path / "trials" / "small" / "ledger.journal").unlink()
    study = search()
    assert len({trial.rungs[0].tokens for trial in study.trials if trial.rungs}) == 1


def test_trials_given_on_the_command_line_are_not_taken_back_by_a_resume_without(search: Search) -> None:
    budget = {"trials": 2, "rungs": ["3K"], "repeats": 0}
    search(changes={"budget": budget}, trials=3)
    assert search(changes={"budget": budget}, resume=True).recipe["budget"]["trials"] == 3


def test_a_calibration_that_failed_can_be_corrected(search: Search) -> None:
    budget = {"trials": 1, "rungs": ["12K"], "repeats": 0}
    failing = {"calibration": {"rates": [0.9, 1.0], "tokens": "8K"}, "training": {"warmup": "1K", "clip_norm": 1e9}}
    with pytest.raises(InfeasibleArch, match=r"lower rates in calibration\.rates"):
        search(changes={"budget": budget, **failing})
    assert begun(search(changes={"budget": budget, "calibration": False})) == 1


def test_a_loss_that_diverges_fails_its_trial_and_not_the_study(search: Search) -> None:
    changes = {"training": {"learning_rate": 1.0, "clip_norm": 1e9}, "budget": {"trials": 2, "rungs": ["36K"], "repeats": 0}}
    study = search(changes=changes)
    assert {trial.state for trial in study.trials} == {"failed"}
    assert {trial.failure for trial in study.trials} <= {"diverged", "nan"}
    assert all("none" not in (trial.reason or "none") for trial in study.trials)


def test_calibration_is_measured_once_and_its_rate_is_used(search: Search, tmp_path: Path) -> None:
    changes = {
        "calibration": {"rates": [1e-5, 1.5e-3], "tokens": "8K"},
        "training": {"warmup": "1K"},
        "budget": {"trials": 1, "rungs": ["12K"], "repeats": 0},
    }
    study = search(changes=changes)
    calibration = study.attributes["calibration"]
    assert len(calibration["points"]) == 4
    assert calibration["chosen"] == 1.5e-3
    job = (tmp_path / "trials" / "small" / "jobs").glob("00000-train-0.json")
    assert '"learning_rate": 0.0015' in next(job).read_text()
    again = search(changes=changes, trials=2, resume=True)
    assert again.attributes["calibration"] == calibration


def test_clean_frees_what_is_not_needed(finished: tuple[StudyRecord, Path], tmp_path: Path) -> None:
    study, _ = finished
    front = front_numbers(study)[0]
    for number in (front, 4_000):
        (tmp_path / "checkpoints" / f"{number:05d}").mkdir(parents=True)
        (tmp_path / "checkpoints" / f"{number:05d}" / "trunk.safetensors").write_bytes(bytes(1000))
    assert clean_checkpoints(study, tmp_path) == 1000
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"{front:05d}"]


def test_a_corrupt_checkpoint_is_named_and_the_study_can_go_on_without_it(
    search: Search, tmp_path: Path, finished: tuple[StudyRecord, Path]
) -> None:
    from autonas.errors import CheckpointError

    class Stopped(Exception):
        pass

    def stop_when_paused(study: StudyRecord) -> None:
        if sum(len(trial.rungs) for trial in study.trials) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        search(watcher=Watcher(changed=stop_when_paused))
    trunks = sorted((tmp_path / "trials" / "small" / "checkpoints").glob("*/trunk.safetensors"))
    for trunk in trunks:
        trunk.write_bytes(trunk.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=r"trunk\.safetensors"):
        search(resume=True)
    for trunk in trunks:
        trunk.unlink()
    # Trained again from the first token, every score is what it would have been; only the curve has other stretches.
    resumed = search(resume=True)
    assert [[dict(o.scores) for o in t.rungs] for t in resumed.trials] == [
        [dict(o.scores) for o in t.rungs] for t in finished[0].trials
    ]


def _command(space: Path, out: Path, *, resume: bool) -> list[str]:
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--out", str(out), "--engine", "inline"]
    return [*command, "--quiet", *(["--resume"] if resume else [])]


def _killed_study(tmp_path: Path, corpus: Path, kills: int, longest_s: float, changes: dict[str, Any]) -> StudyRecord:
    """Search in a process of its own, killed with SIGKILL at random moments and resumed, then to the end."""
    space = write_space(tmp_path / "space.yaml", corpus, **changes)
    out = tmp_path / "killed"
    rng = random.Random(kills)
    started = False
    finished: dict[int, tuple[Outcome, ...]] = {}
    for life in range(kills):
        before = _journal_bytes(out)
        with subprocess.Popen(
            _command(space, out, resume=started), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            # Every other life is let live until it has written something, however slow the machine is.
            deadline = time.monotonic() + 60.0
            while life % 2 and _journal_bytes(out) == before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(rng.uniform(0.1, longest_s))
            process.send_signal(signal.SIGKILL)
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
        started = _exists(out)
        if started:
            study = autonas.read_study("small", out=out)
            # What had finished before this life of the process is there as it was, its seconds included: nothing was redone.
            for number, outcomes in finished.items():
                assert study.trials[number].rungs[: len(outcomes)] == outcomes
            finished = {trial.number: trial.rungs for trial in study.trials}
    done = subprocess.run(
        _command(space, out, resume=started), cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    study = autonas.read_study("small", out=out)
    assert study.attributes["attempts"] > 1, "no kill came while the study was running"
    for number, outcomes in finished.items():
        assert study.trials[number].rungs[: len(outcomes)] == outcomes
    return study


def _journal_bytes(out: Path) -> int:
    journal = out / "small" / "ledger.journal"
    return journal.stat().st_size if journal.exists() else 0


def _exists(out: Path) -> bool:
    try:
        autonas.read_study("small", out=out)
    except StudyError:
        return False
    return True


def test_a_study_killed_and_resumed_is_the_uninterrupted_one(
    finished: tuple[StudyRecord, Path], tmp_path: Path, code_corpus: Path
) -> None:
    killed = _killed_study(tmp_path, code_corpus, kills=4, longest_s=4.0, changes={})
    assert essence(killed) == essence(finished[0])


@pytest.mark.slow
def test_twenty_random_kills_lose_and_double_nothing(tmp_path: Path, code_corpus: Path) -> None:
    changes = {
        "budget": {"trials": 9, "rungs": ["24K", "72K"], "min_survivors": 3, "repeats": 2},
        "calibration": {"rates": [1e-3, 2e-3], "tokens": "8K"},
        "training": {"warmup": "2K"},
    }
    space = write_space(tmp_path / "whole.yaml", code_corpus, **changes)
    whole = autonas.search(space, out=tmp_path / "whole", engine=INLINE)
    killed = _killed_study(tmp_path, code_corpus, kills=20, longest_s=6.0, changes=changes)
    assert essence(killed) == essence(whole)
    stable = ("chosen", "regret", "note", "at_edge")
    assert [killed.attributes["calibration"][k] for k in stable] == [whole.attributes["calibration"][k] for k in stable]


def test_without_early_stopping_every_trial_is_scored_at_the_last_rung_only(search: Search) -> None:
    study = search(changes={"budget": {"trials": 3, "rungs": ["3K", "12K"], "scheduler": "full", "repeats": 0}})
    trained = [trial for trial in study.trials if trial.rungs]
    assert len(trained) == 3
    assert all(len(trial.rungs) == 1 and trial.rungs[0].tokens >= 14_400 for trial in trained)
    assert front_numbers(study)


def test_a_study_of_curves_scores_every_trial_at_every_rung(search: Search) -> None:
    study = search(changes={"budget": {"trials": 3, "rungs": ["3K", "6K", "12K"], "scheduler": "curves", "repeats": 1}})
    trained = [trial for trial in study.trials if trial.state != "infeasible"]
    assert [trial.state for trial in trained] == ["complete"] * 4
    assert all([outcome.rung for outcome in trial.rungs] == [0, 1, 2] for trial in trained)


def test_a_schedule_without_a_trunk_is_refused_and_leaves_no_study(search: Search, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.schedule is cosine.*needs wsd"):
        search(changes={"training": {"schedule": "cosine"}})
    assert not (tmp_path / "trials" / "small" / "ledger.journal").exists()


def test_a_study_that_could_not_begin_does_not_take_its_name(search: Search) -> None:
    changes = {"budget": {"trials": 1, "rungs": ["3K"], "repeats": 0}}
    with pytest.raises(DeviceError, match="toaster"):
        search(engine=EngineSettings(name="inline", device="toaster"), changes=changes)
    assert begun(search(changes=changes)) == 1


def test_a_study_that_could_not_begin_leaves_nothing_but_what_is_not_its_own(search: Search, tmp_path: Path) -> None:
    from autonas.engine import ray_cluster

    folder = tmp_path / "trials" / "small"
    failing = {"calibration": {"rates": [0.9, 1.0], "tokens": "8K"}, "training": {"warmup": "1K", "clip_norm": 1e9}}
    changes = {"budget": {"trials": 1, "rungs": ["12K"], "repeats": 0}, **failing}
    # As the engine of Ray does.
    watcher = Watcher(changed=lambda study: ray_cluster.mark_folder(folder, "key"))
    with pytest.raises(InfeasibleArch):
        search(changes=changes, watcher=watcher)
    assert not (tmp_path / "trials").exists()
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InfeasibleArch):
        search(changes=changes, watcher=watcher)
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "lease"}


def test_a_name_that_another_user_of_the_storage_holds_is_told_before_anything_is_done(search: Search, tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/theirs.db"
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(study_name="small", storage=storage).set_user_attr("theirs", 1)
    storage.remove_session()
    storage.engine.dispose()
    said: list[str] = []
    with pytest.raises(StudyError, match=r"the name 'small' is taken in sqlite:.*Give another --study name"):
        search(storage=url, watcher=Watcher(say=said.append))
    assert said == []


def test_a_study_whose_time_is_spent_is_not_gone_on_with(search: Search, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(study: StudyRecord) -> None:
        if any(trial.rungs for trial in study.trials):
            raise Stopped

    with pytest.raises(Stopped):
        search(watcher=Watcher(changed=stop))
    with pytest.raises(StudyError, match=r"Give it more: --max-hours"):
        search(resume=True, max_hours=1e-6)
    study = autonas.read_study("small", out=tmp_path / "trials")
    assert any(trial.state == "live" for trial in study.trials), "nothing was stopped"


def test_a_new_study_clears_away_nothing_of_another_one(search: Search, tmp_path: Path) -> None:
    changes = {"budget": {"trials": 1, "rungs": ["3K"], "repeats": 0}}
    search(changes=changes)
    folder = tmp_path / "trials" / "small"
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    with pytest.raises(StudyError, match="a study with a ledger of its own"):
        search(changes=changes, storage=f"sqlite:///{tmp_path}/other.db")
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before
    url = f"sqlite:///{tmp_path}/other.db"
    search("elsewhere", changes=changes, storage=url)
    with pytest.raises(StudyError, match="remove the folder"):
        search("elsewhere", changes=changes)
    assert begun(search("elsewhere", changes=changes, storage=url, resume=True)) == 1


def test_a_study_that_could_not_begin_leaves_full_runs_alone(search: Search, tmp_path: Path) -> None:
    model = tmp_path / "trials" / "small" / "runs" / "1-abc-50000" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"hours of work")
    changes = {"calibration": {"rates": [0.9, 1.0], "tokens": "8K"}, "training": {"warmup": "1K", "clip_norm": 1e9}}
    with pytest.raises(InfeasibleArch):
        search(changes={"budget": {"trials": 1, "rungs": ["12K"], "repeats": 0}, **changes})
    assert model.read_bytes() == b"hours of work"
    assert not (tmp_path / "trials" / "small" / "recipe.yaml").exists()


def test_the_front_is_by_the_means_over_seeds(finished: tuple[StudyRecord, Path]) -> None:
    study, _ = finished
    from autonas.reporting.front import build_report

    assert sorted(front_numbers(study)) == sorted(standing.number for standing in build_report(study).front)


def test_studies_of_a_storage_are_listed(search: Search, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    search("one", storage=url, changes={"budget": {"trials": 1, "rungs": ["3K"], "repeats": 0}})
    assert study_names(tmp_path, url) == ["one"]
    assert study_names(tmp_path, None) == []
    assert autonas.read_study("one", storage=url, out=tmp_path).name == "one"
