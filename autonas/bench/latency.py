"""How well latencies repeat: fresh processes measure the same architectures, one process after the other.

Beside each measurement, in the same process, stands a naive one as benchmarks of architectures make it (HW-GPT-Bench,
arXiv 2405.10299): ten runs of the whole context, no warm-up, no KV cache.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from autonas.arch import ArchSpec
from autonas.bench import Findings, Row, Say
from autonas.bench.device import Bench, describe, resolve
from autonas.bench.draws import EQUALS, SPACE, draw_specs
from autonas.bench.statistics import coefficient_of_variation, spearman
from autonas.errors import AutonasError, RequestError
from autonas.evaluation.latency import measure_latency, resolve_device, resolve_dtype
from autonas.model.transformer import build_model
from autonas.trial import LatencySettings

_NAIVE = "10 runs, no warm-up, no KV cache"
_NAIVE_RUNS = 10
_GOAL_RANKS = 0.98
_LEAST_ARCHS = 4


def measure(
    *,
    processes: int = 5,
    archs: int = 30,
    seed: int = 0,
    context: int = 256,
    device: str = "auto",
    threads: int | None = None,
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """How well `archs` architectures repeat over fresh processes, which share the reference's own time, as studies do.

    With a deadline it may be fewer of them: as many as the first process measures in its share of the time.

    Raises:
        RequestError: fewer than two processes or architectures.
        DeviceError: no such device here.
        AutonasError: a process failed, or there was no time for it.
    """
    if processes < 2 or archs < 2:
        raise RequestError(f"{processes} processes and {archs} architectures repeat nothing; give at least two of each")
    here = resolve(device, threads or 1)
    specs = draw_specs(archs, seed)
    share_s = 0.9 * (deadline - time.monotonic()) / processes
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as cache:
        for number in range(processes):
            say(f"process {number + 1} of {processes}, {len(specs)} architectures")
            found.append(_child(specs, here, number, cache, context, deadline, share_s if number == 0 else math.inf))
            specs = specs[: len(found[0]["decode_ms"])]
    ours, naive = (np.array([child[key] for child in found]) for key in ("decode_ms", "naive_ms"))  # (processes, archs)
    conditions = {
        **describe(here),
        "space": SPACE,
        "seed": seed,
        "archs": [spec.to_dict() for spec in specs],
        "decode_ms": ours.tolist(),
        "naive_ms": naive.tolist(),
        "stamps": found[0]["stamps"],
        "peer": f"{_NAIVE}: mean milliseconds of a forward pass over the whole context",
    }
    noisy = float(np.mean([child["noisy"] for child in found]))
    seconds = float(np.mean([child["seconds"] for child in found])) / len(specs)
    return Findings(rows=_rows(ours, naive, noisy, seconds, here), conditions=conditions)


def _rows(ours: np.ndarray, naive: np.ndarray, noisy: float, seconds: float, here: Bench) -> list[Row]:
    """P9 of the performance goals, for (processes, archs) milliseconds."""
    goal = 0.03 if here.device_type == "cpu" else 0.01
    scatter = [np.array([coefficient_of_variation(arch) for arch in times.T]) for times in (ours, naive)]
    ranks = [np.array([spearman(a, b) for a, b in itertools.combinations(times, 2)]) for times in (ours, naive)]
    middle, peer_middle = (float(np.median(values)) for values in scatter)
    rows = [
        Row(
            metric="CV over processes, median of architectures",
            unit="share",
            ours=middle,
            peer=peer_middle,
            peer_name=_NAIVE,
            ratio=peer_middle / max(middle, 1e-9),
            goal=goal,
            met=middle <= goal,
        ),
        _pair("CV over processes, largest", "share", scatter, np.max),
        Row(
            metric="Spearman between processes, median of pairs",
            unit="rank correlation",
            ours=float(np.median(ranks[0])),
            peer=float(np.median(ranks[1])),
            peer_name=_NAIVE,
            goal=_GOAL_RANKS,
            met=bool(np.median(ranks[0]) >= _GOAL_RANKS),
        ),
        _pair("Spearman between processes, smallest", "rank correlation", ranks, np.min),
    ]
    if ours[:, EQUALS].shape[1] >= 2:
        pairs = [itertools.combinations(times[:, EQUALS], 2) for times in (ours, naive)]
        near = [np.array([spearman(a, b) for a, b in each]) for each in pairs]
        rows.append(_pair("Spearman among equals (10 % parameters), median", "rank correlation", near, np.median))
    rows.append(Row(metric="flagged noisy", unit="share of measurements", ours=noisy))
    rows.append(Row(metric="one architecture, both ways", unit="s", ours=seconds))
    return rows


def _pair(metric: str, unit: str, values: Sequence[np.ndarray], reduce: Any) -> Row:
    ours, theirs = (float(reduce(each)) for each in values)
    return Row(metric=metric, unit=unit, ours=ours, peer=theirs, peer_name=_NAIVE)


def _child(
    specs: Sequence[ArchSpec], here: Bench, number: int, cache: str, context: int, deadline: float, share_s: float
) -> dict[str, Any]:
    question = {
        "specs": [spec.to_dict() for spec in specs],
        "device": here.device,
        "threads": here.threads,
        "number": number,
        "context": context,
    }
    question["share_s"] = None if math.isinf(share_s) else share_s
    left = deadline - time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "autonas.bench.latency"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "AUTONAS_CACHE": cache},
            timeout=None if math.isinf(left) else max(left, 0.0),
        )
    except subprocess.TimeoutExpired as error:
        raise AutonasError("no time left for all processes") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise AutonasError(f"a process that measured latencies ended with {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    """What a fresh process finds."""
    settings = LatencySettings(device=question["device"], threads=question["threads"], context=question["context"])
    begun = time.monotonic()
    decode, naive, noisy, stamps = [], [], [], {}
    for place, values in enumerate(question["specs"]):
        if question["share_s"] is not None and place >= _LEAST_ARCHS and time.monotonic() - begun > question["share_s"]:
            break
        spec = ArchSpec.from_dict(values)
        ways = ["ours", "naive"] if (place + question["number"]) % 2 == 0 else ["naive", "ours"]
        for way in ways:
            if way == "naive":
                naive.append(1000 * naive_latency(spec, settings))
            else:
                result = measure_latency(spec, settings)
                decode.append(result.decode.value)
                noisy.append(result.noisy)
                stamps = dict(result.stamps)
    seconds = time.monotonic() - begun
    return {"decode_ms": decode, "naive_ms": naive, "noisy": noisy, "stamps": stamps, "seconds": seconds}


@torch.inference_mode()
def naive_latency(spec: ArchSpec, settings: LatencySettings) -> float:
    """Seconds of a forward pass over the whole context: the mean of ten, of a model that has done nothing before."""
    device = resolve_device(settings.device)
    torch.set_num_threads(settings.threads)
    model = build_model(spec, 0, device, resolve_dtype(settings.dtype, device)).eval()
    tokens = torch.zeros(1, min(settings.context, spec.context_length), dtype=torch.int64, device=device)
    total = 0.0
    for _ in range(_NAIVE_RUNS):
        begun = time.perf_counter()
        model(tokens)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        total += time.perf_counter() - begun
    return total / _NAIVE_RUNS


if __name__ == "__main__":
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)
