"""What the Ray engine promises beyond the contract: warm workers, lost workers, whose fault a failure is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.engine.choice import EngineSettings, make_engine
from autonas.engine.ray_tune import RayEngine
from autonas.errors import DeviceError, RequestError, ResourceError
from autonas.training.seal import read_sealed
from autonas.trial import Budget, Job, Outcome, to_json
from tests.studies import small_job


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path) -> Job:
    return small_job(dataset.ref, tmp_path)


@pytest.fixture
def engine(one_ray: None) -> Iterator[RayEngine]:
    made = RayEngine(EngineSettings(workers=2, device="cpu"))
    yield made
    made.close()


def worker_processes() -> dict[int, psutil.Process]:
    """The processes of this test's Ray that serve jobs."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        try:
            if re.search(r"ray::(_Worker|ResourceTrainable)", " ".join(process.cmdline())):
                found[process.pid] = process
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def together(engine: RayEngine, jobs: list[Job]) -> list[Outcome]:
    for job in jobs:
        engine.start(job)
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        outcomes += engine.wait()
    return outcomes


def test_warm_workers_serve_job_after_job_even_when_all_end_together(engine: RayEngine, job: Job) -> None:
    assert engine.capacity == 2
    pids = set()
    for turn in range(4):
        assert all(outcome.ok for outcome in together(engine, [dataclasses.replace(job, trial=2 * turn + i) for i in (0, 1)]))
        pids |= set(worker_processes())
    assert len(pids) == 2


def test_a_killed_worker_costs_its_job_and_nothing_else(engine: RayEngine, job: Job, tmp_path: Path) -> None:
    long = dataclasses.replace(job, budget=Budget(rung=0, tokens=4_096_000, cooldown_tokens=1_024), checkpoint_every_s=0.0)
    others = set(worker_processes())
    engine.start(long)
    trunk = tmp_path / "checkpoints" / "00000" / "trunk.safetensors"
    deadline = time.monotonic() + 120
    while not trunk.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (victim,) = set(worker_processes()) - others
    os.kill(victim, signal.SIGKILL)
    (outcome,) = engine.wait()
    assert outcome.failure is not None and outcome.failure.kind == "preempted"
    assert (outcome.trial, outcome.attempt) == (0, 1)
    saved = read_sealed(trunk)[0]["tokens"]
    more = Budget(rung=0, tokens=saved + 40_960, cooldown_tokens=1_024)
    again, other = sorted(
        together(engine, [dataclasses.replace(long, budget=more, attempt=2), dataclasses.replace(job, trial=2)]),
        key=lambda outcome: outcome.trial,
    )
    assert again.ok and other.ok
    assert again.new_tokens == 40_960 + 1_024, "what the lost worker had saved was not trained again"


SHORT_OF_MEMORY = """
import dataclasses, json, os, sys, time
from pathlib import Path
import ray
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory
from ray.cluster_utils import Cluster
from autonas.engine.choice import EngineSettings
from autonas.engine.ray_tune import RayEngine
from autonas.trial import Budget, Job, from_json

job = from_json(Job, json.loads(Path(sys.argv[1]).read_text()))
GIB = 2**30
os.environ["RAY_memory_monitor_refresh_ms"] = "100"
os.environ["RAY_memory_usage_threshold"] = str((get_used_memory() + 3 * GIB) / get_system_memory())
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
engine = RayEngine(EngineSettings(ray_address=cluster.address, device="cpu"))
endless = Budget(rung=0, tokens=4_096_000, cooldown_tokens=1_024)
engine.start(dataclasses.replace(job, budget=endless, checkpoint_every_s=0.0))
while not Path(job.folder, "checkpoints", "00000", "trunk.safetensors").exists():
    time.sleep(0.05)
ballast = b"x" * (3 * GIB)
(lost,) = engine.wait()
del ballast
engine.start(dataclasses.replace(job, trial=1))
(next,) = engine.wait()
engine.close()
ray.shutdown()
cluster.shutdown()
print(lost.failure.kind, next.ok)
"""


@pytest.mark.slow
def test_a_worker_killed_for_want_of_memory_costs_its_job_and_nothing_else(job: Job, tmp_path: Path) -> None:
    """By Ray's own memory monitor, in a process of its own: the threshold is read once."""
    (tmp_path / "job.json").write_text(json.dumps(to_json(job)))
    command = [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["out_of_memory", "True"], done.stderr


def test_more_workers_than_fit_are_refused(one_ray: None) -> None:
    for settings in (EngineSettings(workers=5, device="cpu"), EngineSettings(threads=64, device="cpu")):
        engine = make_engine(settings)
        with pytest.raises(ResourceError, match=r"Ray has 4 CPU, where \d workers of .* fit and \d should"):
            _ = engine.capacity
        engine.close()


def test_workers_are_as_many_as_fit_on_each_node(one_ray: None) -> None:
    for threads, workers in ((1, 4), (2, 2), (3, 1)):
        engine = make_engine(EngineSettings(threads=threads, device="cpu"))
        assert engine.capacity == workers
        engine.close()


def test_gpus_that_are_not_there_are_refused(one_ray: None) -> None:
    engine = make_engine(EngineSettings(device="cuda"))
    with pytest.raises(RequestError, match="GPU"):
        _ = engine.capacity
    engine.close()


def test_a_gpu_by_its_number_is_refused(one_ray: None) -> None:
    engine = make_engine(EngineSettings(device="cuda:1"))
    with pytest.raises(DeviceError, match="Ray chooses each worker's GPU"):
        _ = engine.capacity
    engine.close()


def test_parts_of_gpus_are_counted_gpu_by_gpu() -> None:
    """By a Ray that is told of three GPUs; nothing is run on them."""
    script = """
import ray
from autonas.engine.choice import EngineSettings, make_engine
ray.init(address="local", num_cpus=8, num_gpus=3, include_dashboard=False, log_to_driver=False)
found = []
for share in (None, 0.5, 0.4, 2.0):
    engine = make_engine(EngineSettings(device="cuda", gpus_per_worker=share))
    found.append(engine.capacity)
    engine.close()
engine = make_engine(EngineSettings(device="auto", threads=4))
found.append(engine.capacity)
print(found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[-2] == "[3, 6, 6, 1, 2]", done.stderr


def test_no_ray_at_the_address_is_one_clear_message(tmp_path: Path) -> None:
    """In a process of its own: this one has a Ray already."""
    script = """
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import DeviceError
engine = make_engine(EngineSettings(ray_address="127.0.0.1:1", device="cpu"))
try:
    engine.capacity
except DeviceError as error:
    print(error)
engine.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "--ray-address 127.0.0.1:1: no Ray answers there" in done.stdout
    assert "Traceback" not in done.stderr
