"""What the evaluations on the way cost a full run (P10), and how long such a run takes with them (P4), from rates of one run.

Blocks of training steps and evaluations take turns in one process, on one model, as in a run. Latency, checkpoints and the
samples at a run's end are not in it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import numpy as np

from autonas.arch import spec_text
from autonas.bench import Findings, Row, Say
from autonas.bench.device import describe, resolve
from autonas.bench.shapes import shape
from autonas.bench.statistics import spread
from autonas.bench.text import task_on_text
from autonas.bench.trainers import FLAGS, Task
from autonas.bench.trainers.ours import train_steps
from autonas.bench.trainers.steps import begin
from autonas.bench.turns import Contestant, Turns, compile_patience_s
from autonas.evaluation.passes import document_nats
from autonas.evaluation.scored import ScoredTokens
from autonas.model.transformer import build_model, eval_mode
from autonas.run_folder import probing
from autonas.training.graphs import order_products
from autonas.training.loop import finish_steps
from autonas.training.state import new_state
from autonas.trial import EvaluationSettings

_GOAL_SHARE = 0.02
_GOAL_MINUTES = 6.0  # of 50,000 steps of the 29 M model on an H200
_DOCUMENT_TOKENS = 5_000  # as long as the standard library's modules are
_ROUNDS = 8
_WARM_STEPS = 8


def measure(
    *,
    shape_name: str = "large",
    batch_tokens: int = 8192,
    steps: int = 50_000,
    seconds: float = 6.0,
    device: str = "auto",
    threads: int | None = None,
    paths: Sequence[str] = (),
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """The share and the time of a run of `steps`, projected from about `seconds` of training and as many evaluations as fit.

    Raises:
        DeviceError: no such device here.
        AutonasError: it could not be measured.
    """
    here = resolve(device, threads)
    spec = shape(shape_name, dropout=0.2, smoothing=0.1)
    count, probe_tokens = probing(steps * batch_tokens)
    probe_tokens = min(probe_tokens, EvaluationSettings().validation_tokens)
    with task_on_text(spec, batch_tokens, here, paths) as (task, text):
        say(f"{spec_text(spec)}; {count} evaluations of {probe_tokens:,} tokens in {steps:,} steps")
        with Contestant(_serve, task, probe_tokens, steps * batch_tokens, deadline=deadline) as contestant:
            contestant.answer(compile_patience_s(deadline))
            step_s = contestant.ask(_WARM_STEPS) / _WARM_STEPS
            block = max(int(seconds / _ROUNDS / step_s), 1)
            trained: list[float] = []
            evaluated: list[float] = []
            for _ in range(_ROUNDS):
                trained.append(contestant.ask(block) / block)
                taken, how = contestant.ask("evaluate")
                evaluated.append(taken)
            paths_taken = contestant.ask(FLAGS)
    training_s, evaluation_s = steps * statistics.median(trained), count * statistics.median(evaluated)
    share, minutes = evaluation_s / (training_s + evaluation_s), (training_s + evaluation_s) / 60
    rates = f"{steps * batch_tokens / training_s:,.0f} tokens/s trained, {count * probe_tokens / evaluation_s:,.0f} evaluated"
    goal = _GOAL_MINUTES if here.device_type == "cuda" and (shape_name, steps) == ("large", 50_000) else None
    rows = [
        Row(
            metric=f"share of {count} evaluations of {probe_tokens:,} tokens in {steps:,} steps",
            unit="share",
            ours=share,
            goal=_GOAL_SHARE,
            met=share <= _GOAL_SHARE,
            spread=spread(evaluated),
            note=f"{rates} {how or 'by the plain pass'}",
        ),
        Row(
            metric=f"{steps:,} steps with their evaluations, projected",
            unit="min",
            ours=minutes,
            goal=goal,
            met=None if goal is None else minutes <= goal,
            spread=spread(trained),
            note=f"{rates}; {spec_text(spec)}; {paths_taken}",
        ),
    ]
    conditions = {**describe(here), "spec": spec.to_dict(), "batch_tokens": batch_tokens, "text": text}
    return Findings(rows=rows, conditions={**conditions, "step_s": trained, "evaluation_s": evaluated})


def _serve(turns: Turns, task: Task, probe_tokens: int, planned_tokens: int) -> None:
    """Seconds of so many steps, or of an evaluation and how it was made."""
    order_products()
    device = begin(task)
    state = new_state(build_model(task.spec, 0, device), task.windows(), task.settings(), seed=0)
    state.planned_tokens = planned_tokens  # by which a training on CUDA chooses its way
    scored = _scored(np.resize(task.tokens(), probe_tokens + 1))
    train_steps(state, _WARM_STEPS)  # compiles, captures, and fills the allocator
    with eval_mode(state.model):
        document_nats(state.model, scored)
    turns.reply(None)
    for request in turns:
        if request == FLAGS:
            turns.reply(f"steps by path: {dict(state.paths)}")
            continue
        finish_steps(device)
        begun = time.perf_counter()
        if request == "evaluate":
            with eval_mode(state.model):
                _, how = document_nats(state.model, scored)
            turns.reply((time.perf_counter() - begun, how))
            continue
        train_steps(state, request)
        finish_steps(device)
        turns.reply(time.perf_counter() - begun)


def _scored(tokens: np.ndarray) -> ScoredTokens:
    """Tokens of the text cut into documents; what they are makes no difference to the time."""
    values = tokens.astype(np.int64)
    starts = np.append(np.arange(0, len(values) - 1, _DOCUMENT_TOKENS), len(values) - 1)
    return ScoredTokens(inputs=values[:-1], targets=values[1:], starts=starts, bytes=3 * np.diff(starts))
