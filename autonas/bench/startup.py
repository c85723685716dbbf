"""What a new architecture costs before it trains at full speed, in a process that has trained another one before.

Seconds from the spec to the end of its 100th step, less what the next hundred steps take. Beside it stand a
process that is begun for one training, and the plain loop with torch.compile, which pays for its speed here.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autonas.arch import ArchSpec
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.device import describe, resolve
from autonas.bench.draws import SPACE, draw_specs
from autonas.bench.text import task_on_text
from autonas.bench.trainers import Task
from autonas.bench.trainers.loop import make_step
from autonas.bench.trainers.ours import train_steps
from autonas.bench.trainers.steps import begin
from autonas.bench.turns import OURS, Contest, Turns
from autonas.model.transformer import build_model
from autonas.training.loop import finish_steps
from autonas.training.state import new_state

_GOAL_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One architecture's beginning."""

    to_last_step_s: float
    step_s: float  # once it runs steadily
    steps: int

    @property
    def lost_s(self) -> float:
        return self.to_last_step_s - self.steps * self.step_s


def measure(
    *,
    archs: int = 12,
    seed: int = 0,
    steps: int = 100,
    batch_tokens: int = 1024,
    compiled_archs: int = 2,
    device: str = "auto",
    threads: int | None = None,
    paths: Sequence[str] = (),
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """Begin `archs` architectures, one after another, the first `compiled_archs` with torch.compile as well (a minute each).

    Raises:
        DeviceError: no such device here.
        AutonasError: ours could not be measured.
    """
    here = resolve(device, threads)
    specs = draw_specs(archs + 1, seed)
    with task_on_text(specs[-1], batch_tokens, here, paths) as (task, text):
        say(f"{archs} architectures, {steps} steps of {batch_tokens} tokens each")
        begun, reason = _begin_all(task, specs[:-1], steps, compiled_archs, deadline)
        ours, compiled = begun[OURS], begun.get("compile", [])
        say("a process from its start")
        cold_s = _cold_s(task, deadline)
    lost = [begun.lost_s for begun in ours]
    rows = [
        Row(
            metric="start of a new architecture, median",
            unit="s",
            ours=float(np.quantile(lost, 0.5)),
            goal=_GOAL_S,
            met=bool(np.quantile(lost, 0.5) <= _GOAL_S),
        ),
        Row(metric="start of a new architecture, 95th percentile", unit="s", ours=float(np.quantile(lost, 0.95))),
        not_measured("process from its start to its first step", cold_s, unit="s")
        if isinstance(cold_s, str)
        else Row(metric="process from its start to its first step", unit="s", ours=cold_s),
        _compiled_row(ours, compiled, reason),
    ]
    conditions: dict[str, Any] = {**describe(here), "space": SPACE, "seed": seed, "steps": steps, "batch_tokens": batch_tokens}
    conditions |= {"text": text, "lost_s": lost, "step_s": [begun.step_s for begun in ours]}
    conditions |= {"compiled_lost_s": [begun.lost_s for begun in compiled], "compiled_step_s": [b.step_s for b in compiled]}
    return Findings(rows=rows, conditions=conditions)


def _compiled_row(ours: Sequence[Begun], compiled: Sequence[Begun], reason: str) -> Row:
    metric, name = "start of the same architectures", "plain loop, torch.compile with a cold cache"
    if not compiled:
        return not_measured(metric, reason, peer_name=name, unit="s")
    mine = statistics.median(begun.lost_s for begun in ours[: len(compiled)])
    its = statistics.median(begun.lost_s for begun in compiled)
    return Row(metric=metric, unit="s", ours=mine, peer=its, peer_name=name, ratio=its / mine if mine > 0 else None)


def _begin_all(
    task: Task, specs: Sequence[ArchSpec], steps: int, num_compiled: int, deadline: float
) -> tuple[dict[str, list[Begun]], str]:
    """What each found, in the order of `specs`, and why nothing was compiled. The first few are begun by both, in turn."""
    with Contest(deadline) as contest:
        contest.enter(OURS, _serve, task, steps, False)
        if num_compiled:
            contest.enter("compile", _serve, task, steps, True)
        contest.together()
        found: dict[str, list[Begun]] = {name: [] for name in contest.running}
        for number, spec in enumerate(specs):
            if number == num_compiled and "compile" in contest.running:
                contest.leave("compile")
            for name, begun in contest.in_turn(spec, backwards=number % 2 == 1).items():
                found[name].append(begun)
    return found, contest.failed.get("compile", "kept from compiling")


def _serve(turns: Turns, task: Task, steps: int, compiled: bool) -> None:
    """A worker that is warm: it has trained an architecture before."""
    device = begin(task)
    with tempfile.TemporaryDirectory(prefix="autonas-inductor-") as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        trainer = _compiled_trainer if compiled else _our_trainer
        trainer(task, 3)(3)
        turns.reply(None)
        for spec in turns:
            begun = time.perf_counter()
            train = trainer(replace(task, spec=spec), 2 * steps)
            train(steps)
            finish_steps(device)
            last = time.perf_counter()
            # As many again: what else the machine does slows both alike, as it would not the median of a few short blocks.
            train(steps)
            finish_steps(device)
            turns.reply(Begun(to_last_step_s=last - begun, step_s=(time.perf_counter() - last) / steps, steps=steps))


def _our_trainer(task: Task, steps: int) -> Callable[[int], object]:
    """For so many steps in all."""
    state = new_state(build_model(task.spec, 0, task.device), task.windows(), task.settings(), seed=0)
    state.planned_tokens = steps * state.step_tokens
    return lambda steps: train_steps(state, steps)


def _compiled_trainer(task: Task, steps: int) -> Callable[[int], object]:
    step = make_step(task, begin(task), compiled=True)
    return lambda steps: [float(step()) for _ in range(steps)]


def _cold_s(task: Task, deadline: float) -> float | str:
    """Seconds of a whole process that imports, builds and takes one step; or why there are none."""
    code = (
        f"from autonas.bench.startup import train_once; train_once({str(task.tokens_file)!r}, {task.device!r}, {task.threads})"
    )
    left = deadline - time.monotonic()
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=None if math.isinf(left) else max(left, 0.0),
        )
    except subprocess.TimeoutExpired:
        return "no time left"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    return time.perf_counter() - begun


def train_once(tokens_file: str, device: str, threads: int) -> None:
    """One step of the first architecture: what `_cold_s` times, in a process of its own."""
    task = Task(spec=draw_specs(2)[0], batch_tokens=1024, tokens_file=tokens_file, device=device, threads=threads)
    begin(task)
    _our_trainer(task, 1)(1)
