"""Whole studies on Ray: the same as without it, and the same after workers, a node or the controller were killed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import autonas
from autonas.engine.choice import EngineSettings
from autonas.engine.ray_cluster import mark_folder
from autonas.errors import ResourceError
from autonas.promotion.book import books
from autonas.study import Watcher
from autonas.trial import StudyRecord
from tests.studies import essence, write_space

INLINE = EngineSettings(name="inline")
ONE = EngineSettings(workers=1, device="cpu")
# Long enough that something can be killed in the middle.
LONGER = {"trials": 6, "rungs": ["24K", "96K"], "repeats": 1}


@pytest.fixture
def space(tmp_path: Path, code_corpus: Path) -> Path:
    return write_space(tmp_path / "space.yaml", code_corpus, budget=LONGER)


def ray_workers(root: int | None = None) -> list[psutil.Process]:
    """Processes below `root` (default: this one) that train."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            if re.search(r"ray::(_Worker|ResourceTrainable)", " ".join(process.cmdline())):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def settled(study: StudyRecord) -> None:
    """Every trial has ended once, and no rung is missing or doubled."""
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert all(trial.state != "live" for trial in study.trials)
    for trial in study.trials:
        assert [outcome.rung for outcome in trial.rungs] == list(range(len(trial.rungs)))


def test_one_seed_gives_one_study_on_either_engine(tmp_path: Path, code_corpus: Path) -> None:
    """With one worker, equal threads and latencies that are known already."""
    space = write_space(
        tmp_path / "space.yaml",
        code_corpus,
        objectives=["val_loss", "params", "latency", "collapse_rate"],
        calibration={"rates": [1e-3, 2e-3], "tokens": "8K"},
        budget={"trials": 4},
    )
    inline = autonas.search(space, out=tmp_path / "inline", engine=INLINE)
    ray = autonas.search(space, out=tmp_path / "ray", engine=ONE)
    assert essence(ray) == essence(inline)
    assert [o.attempt for t in ray.trials for o in t.rungs] == [o.attempt for t in inline.trials for o in t.rungs]
    assert ray.attributes["calibration"]["chosen"] == inline.attributes["calibration"]["chosen"]
    assert ray.attributes["environment"]["engine"] == "ray"


@pytest.mark.slow
def test_a_driver_of_a_whole_study_has_no_torch(space: Path, tmp_path: Path) -> None:
    script = f"""
import sys
import autonas
study = autonas.search({str(space)!r}, trials=2, out={str(tmp_path / "out")!r})
print(len(autonas.front("small", out={str(tmp_path / "out")!r})), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    front, torch = done.stdout.split()
    assert int(front) >= 1 and torch == "False"


@pytest.mark.slow
def test_workers_killed_at_random_moments_change_nothing(space: Path, tmp_path: Path) -> None:
    expected = autonas.search(space, out=tmp_path / "whole", engine=INLINE)
    rng = random.Random(0)
    ended = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not ended.wait(rng.uniform(2.0, 5.0)) and len(killed) < 4:
            for victim in rng.sample(ray_workers(), k=min(1, len(ray_workers()))):
                victim.kill()
                killed.append(victim.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        # Lost jobs are tried again twice; four kills could hit one trial thrice, so this recipe allows more.
        study = autonas.search(write_retries(space), out=tmp_path / "killed", engine=ONE)
    finally:
        ended.set()
        killer.join()
    settled(study)
    assert killed
    assert any(trial.retries for trial in study.trials), "no kill cost a job"
    assert essence(study) == essence(expected)


def write_retries(space: Path) -> Path:
    text = space.read_text()
    path = space.with_name("retries.yaml")
    path.write_text(text.replace("budget:\n", "budget:\n  retries: 10\n"))
    return path


@pytest.mark.slow
def test_a_controller_killed_at_random_moments_goes_on_as_if_nothing_had_been(space: Path, tmp_path: Path) -> None:
    expected = autonas.search(space, out=tmp_path / "whole", engine=INLINE)
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--out", str(tmp_path / "killed")]
    command += ["--workers", "1", "--device", "cpu", "--quiet"]
    rng = random.Random(1)
    codes = []
    for turn in range(4):
        more = ["--resume"] if (tmp_path / "killed" / "small" / "ledger.journal").exists() else []
        process = subprocess.Popen(
            [*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        try:
            process.wait(timeout=rng.uniform(8.0, 16.0))
        except subprocess.TimeoutExpired:
            process.kill()  # its Ray and its workers live on for some seconds, while the next turn begins
        assert process.stderr is not None
        errors = process.stderr.read() if process.poll() not in (None, -9) else ""
        process.stderr.close()
        process.wait()
        assert process.returncode in (0, -9), (turn, errors)
        codes.append(process.returncode)
    assert -9 in codes, "none of the turns was cut off"
    study = autonas.search(space, out=tmp_path / "killed", engine=ONE, resume=True)
    assert study.attributes["attempts"] > 2, "every kill fell before the study had begun"
    settled(study)
    assert essence(study) == essence(expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_within_seconds_and_leaves_no_workers(space: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/small/checkpoints/*/*.safetensors")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    workers = ray_workers(process.pid)
    assert workers
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume" in errors and "Traceback" not in errors
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive


PROMOTION = """
import sys
import autonas
from autonas.engine.choice import EngineSettings
study, run, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokens = []
def progress(step, total):
    tokens.append(step.tokens)
    if steps and step.tokens > total // 2:
        raise KeyboardInterrupt
engine = EngineSettings(workers=1, device="cpu")
try:
    again = dict(retest=2, retest_seeds=1) if steps else {}
    autonas.promote(
        "small", out=study, run=run, steps=steps or None, resume=not steps, engine=engine, on_progress=progress, **again
    )
except KeyboardInterrupt:
    pass
print(tokens[0], tokens[-1], "torch" in sys.modules)
"""


@pytest.mark.slow
def test_a_promotion_on_workers_goes_on_where_it_was_and_is_that_of_one_process(space: Path, tmp_path: Path) -> None:
    out, run, whole = tmp_path / "out", tmp_path / "run", tmp_path / "whole"
    autonas.search(space, out=out, engine=INLINE, trials=4)
    assert len(autonas.front("small", out=out)) > 1
    elsewhere = tmp_path / "elsewhere"  # or the one promotion would take over the other's new trainings
    shutil.copytree(out, elsewhere)
    steps = 2000
    autonas.promote("small", out=elsewhere, run=whole, steps=steps, retest=2, retest_seeds=1, engine=INLINE)
    told = []
    for given in (steps, 0):
        command = [sys.executable, "-c", PROMOTION, str(out), str(run), str(given)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.split())
    (begun, stopped, torch), (went_on, ended, _) = told
    assert int(begun) < int(stopped) <= int(went_on) <= int(ended), "it did not go on where it was"
    assert torch == "False"
    scores = [json.loads((folder / "evaluation.json").read_text())["scores"] for folder in (run, whole)]
    for name in ("val_loss", "collapse_rate"):
        assert scores[0][name] == scores[1][name]
    looks = [book.look for root in (out, elsewhere) for book in books(root / "small")]
    assert len(looks) == 2 and looks[0] == looks[1] is not None, "a second look on workers is that of one process"
    assert {path.name for path in whole.iterdir()} <= {path.name for path in run.iterdir()} | {"lease"}


def first_losses(study: StudyRecord) -> dict[str, float]:
    """The loss at the first rung of each architecture with the study's own seed."""
    trained = [trial for trial in study.trials if trial.rungs and trial.repeat_of is None]
    return {t.spec.fingerprint: t.rungs[0].scores["val_loss"].value for t in trained if t.spec is not None}


class TwoNodes:
    """A real two-node Ray on this machine. The second node has a cache of its own, so that it has to fetch the corpus."""

    def __init__(self, cache: Path) -> None:
        from ray.cluster_utils import Cluster

        self.cache = cache
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        self.second = self.cluster.add_node(num_cpus=1, env_vars={"AUTONAS_CACHE": str(cache)})
        self.cluster.wait_for_nodes()

    def engine(self) -> EngineSettings:
        return EngineSettings(ray_address=self.cluster.address, device="cpu")

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)

    def datasets(self) -> list[Path]:
        return [path for path in self.cache.glob("datasets/*") if path.is_dir()]


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[TwoNodes]:
    nodes = TwoNodes(tmp_path / "second-cache")
    yield nodes
    import ray

    ray.shutdown()
    nodes.cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_a_node_that_is_killed_costs_time_and_nothing_else(two_nodes: TwoNodes, space: Path, tmp_path: Path) -> None:
    said: list[str] = []
    seen: dict[str, Any] = {}

    def changed(study: StudyRecord) -> None:
        if sum(len(trial.rungs) for trial in study.trials) >= 3 and "datasets" not in seen:
            seen["datasets"] = two_nodes.datasets()
            two_nodes.kill_second()

    watcher = Watcher(say=said.append, changed=changed)
    study = autonas.search(write_retries(space), out=tmp_path / "nodes", engine=two_nodes.engine(), watcher=watcher)
    settled(study)
    assert any(line.startswith("2 workers") for line in said)
    assert any("is tried again after preempted" in line for line in said), said
    assert len(seen["datasets"]) == 1, "the corpus reached the second node, once"
    numbers = sorted(trial.number for trial in study.trials if trial.rungs)
    assert len(numbers) >= 6
    alone = autonas.search(space, out=tmp_path / "inline", engine=INLINE)
    here, there = first_losses(study), first_losses(alone)
    assert here.keys() & there.keys(), "the first trials are drawn alike"
    assert all(here[fingerprint] == there[fingerprint] for fingerprint in here.keys() & there.keys())


@pytest.mark.slow
def test_a_node_that_joins_later_is_used(tmp_path: Path, code_corpus: Path) -> None:
    """Though its worker takes longer to start than a job takes on the first node."""
    from ray.cluster_utils import Cluster

    cache = tmp_path / "second-cache"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    capacities: list[int] = []

    def changed(study: StudyRecord) -> None:
        if any(trial.rungs for trial in study.trials) and not capacities:
            cluster.add_node(num_cpus=1, env_vars={"AUTONAS_CACHE": str(cache)})
            capacities.append(2)

    space = write_space(tmp_path / "space.yaml", code_corpus, budget={**LONGER, "trials": 16})
    try:
        engine = EngineSettings(ray_address=cluster.address, device="cpu")
        settled(autonas.search(space, out=tmp_path / "nodes", engine=engine, watcher=Watcher(changed=changed)))
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
    assert any(path.is_dir() for path in cache.glob("datasets/*")), "the second node had work"


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_one_clear_message(
    two_nodes: TwoNodes, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is not the controller's, as on a node that mounts another file system in the same place."""

    def mark(folder: Path, key: str) -> None:
        mark_folder(folder, f"not {key}")

    monkeypatch.setattr("autonas.engine.ray_tune.mark_folder", mark)
    with pytest.raises(ResourceError, match="put --out on a file system that every node mounts"):
        autonas.search(space, out=tmp_path / "nodes", engine=two_nodes.engine())


@pytest.mark.slow
def test_a_wrong_token_is_told_as_that(two_nodes: TwoNodes, space: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--out", str(tmp_path / "out")]
    command += ["--ray-address", two_nodes.cluster.address]
    environment = {**os.environ, "RAY_AUTH_TOKEN": "f" * 64}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
    assert done.returncode == 2, done.stderr
    assert "Ray does not let us in" in done.stderr and "export RAY_AUTH_MODE=token" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_studies_share_one_ray(two_nodes: TwoNodes, space: Path, tmp_path: Path) -> None:
    """Each in a process of its own, at the same time; each as it would be alone."""
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--out", str(tmp_path / "trials")]
    command += ["--ray-address", two_nodes.cluster.address, "--workers", "1", "--device", "cpu", "--quiet", "--json"]
    processes = [
        subprocess.Popen([*command, "--study", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for name in ("one", "other")
    ]
    fronts = []
    for process in processes:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        fronts.append([(point["trial"], point["scores"]["val_loss"]["value"]) for point in json.loads(output)])
    assert fronts[0] == fronts[1]
    assert fronts[0]
