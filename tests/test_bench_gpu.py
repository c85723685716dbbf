"""`autonas bench gpu`: how its parts share its time, and what it measures that no other bench does, on a processor."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas.bench import Findings, Row, evaluation, gemm, gpu, together
from autonas.bench.shapes import shape
from autonas.bench.turns import NotMeasured
from autonas.errors import DeviceError


def test_parts_of_a_gpu_bench_share_its_time() -> None:
    def measure(**options: Any) -> Findings:
        assert 0 < options["deadline"] - time.monotonic() < 9 and options["device"] == "cpu" and options["mine"] == 1
        return Findings(rows=[Row(metric="speed", unit="tokens/s", ours=1.0)], conditions={"said": 2})

    def fail(**options: Any) -> Findings:
        raise NotMeasured("out of memory")

    parts = (
        gpu.Part(name="one", least_s=0.0, most_s=9.0, measure=measure, options={"mine": 1}),
        gpu.Part(name="two", least_s=60.0, most_s=90.0, measure=measure, options={}),
        gpu.Part(name="three", least_s=0.0, most_s=9.0, measure=fail, options={}),
    )
    found = gpu.measure(device="cpu", limit_s=30.0, parts=parts)
    assert found.rows[0].metric == "one: speed" and found.conditions["parts"]["one"]["said"] == 2
    assert found.rows[1].ours is None and found.rows[1].note.startswith("not measured: no time left")
    assert found.rows[2].note == "not measured: out of memory"


def test_what_one_part_leaves_goes_to_the_next_that_wants_it_and_what_is_kept_for_the_last_does_not() -> None:
    left: list[float] = []

    def measure(*, deadline: float, **options: Any) -> Findings:
        left.append(deadline - time.monotonic())
        return Findings(rows=[])

    parts = [gpu.Part(name=name, least_s=0.0, most_s=10.0, measure=measure, options={}) for name in "abc"]
    gpu.measure(device="cpu", limit_s=40.0, parts=parts)
    assert left == pytest.approx([20.0, 30.0, 40.0], abs=5.0)
    gpu.measure(device="cpu", limit_s=15.0, parts=parts)
    assert left[3:] == pytest.approx([10.0, 10.0, 15.0], abs=5.0)


def test_the_parts_of_the_gpu_bench_fit_into_its_time() -> None:
    parts = gpu.all_parts(None)
    assert sum(part.most_s for part in parts) <= 460 and all(part.least_s <= part.most_s for part in parts)


def test_the_share_of_evaluations_is_that_of_rates_of_the_same_run(code_corpus: Path) -> None:
    options: dict[str, Any] = {"shape_name": "tiny", "batch_tokens": 1024, "steps": 1000, "seconds": 0.5}
    found = evaluation.measure(**options, device="cpu", threads=1, paths=(f"{code_corpus}/**/*.py",))
    share, minutes = found.rows
    taken = [float(np.median(found.conditions[name])) for name in ("step_s", "evaluation_s")]
    trained, evaluated = 1000 * taken[0], 20 * taken[1]
    assert share.ours == pytest.approx(evaluated / (trained + evaluated))
    assert share.met == (evaluated / (trained + evaluated) <= 0.02)
    assert share.metric == "share of 20 evaluations of 1,280 tokens in 1,000 steps"
    assert minutes.ours == pytest.approx((trained + evaluated) / 60) and minutes.goal is None


def test_a_rate_from_a_graph_is_that_of_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is a clock, and each product takes a second of it; a recording is the body itself."""
    import torch

    clock = [0.0]
    monkeypatch.setattr(gemm, "finish_steps", lambda device: None)
    monkeypatch.setattr(gemm, "warm_up", lambda body, device: body())
    monkeypatch.setattr(gemm, "capture", lambda body, device: body)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def product() -> None:
        clock[0] += 1.0

    for device in ("cpu", "cuda"):
        assert gemm._time(product, (), torch.device(device), 3.0) == pytest.approx(1.0)


def test_several_trainings_at_once_are_measured_beside_one_after_the_other() -> None:
    case = together.Case(spec=shape("tiny", context=64), batch_tokens=128, at_once=2)
    found = together.measure(cases=[case], seconds=0.2, device="cpu", threads=1)
    (row,) = found.rows
    assert row.metric == "training 2 of d64 at 128 tokens a step" and row.peer_name == "one after the other"
    assert row.ours is not None and row.peer is not None and row.ratio is not None
    assert row.ours > 0 and row.ratio == pytest.approx(row.ours / row.peer, rel=0.5)


def test_parts_of_the_gpu_bench_are_asked_for_what_they_take() -> None:
    for part in gpu.all_parts(None):
        taken = set(inspect.signature(part.measure).parameters)
        assert {*part.options, "device", "deadline", "say"} <= taken, part.name


_WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "optuna", "optuna_dashboard", "sqlalchemy", "datasketch"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Refuse())
import torch
torch.cuda.is_available = lambda: False
import autonas.bench.decode, autonas.bench.latency, autonas.bench.startup, autonas.bench.train
from autonas.cli import main
sys.exit(main(["bench", "gpu", "--json"]))
"""


def test_without_a_gpu_the_gpu_bench_says_so_and_needs_neither_ray_nor_optuna() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("autonas: bench gpu needs a CUDA device") and done.stderr.count("\n") == 1


def test_a_gpu_is_required_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError):
        gpu.measure()
