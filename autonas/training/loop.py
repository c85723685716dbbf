"""One training as a generator of progress. Where the rate goes is in schedule.py, what is kept on disk in checkpoint.py.

Everything that happens in a step follows from (weights, moments, tokens shown, seeds): there is no hidden random state, so that
a resumed training, a fork and a replay are bitwise what they would have been, on one machine with the same number of threads.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from autonas.errors import TrialFailure
from autonas.training.allocator import keep_freed_memory
from autonas.training.guards import memory_guard
from autonas.training.limits import MemoryLimit
from autonas.training.micro_batches import take_step
from autonas.training.paths import choose_step
from autonas.training.rollback import begin_keeping, is_due, keep, recover
from autonas.training.state import TrainState
from autonas.training.streams import await_stream

# Reading a loss makes the host wait for an accelerator; sixteen steps are read at once there.
STEPS_PER_READ = {"cpu": 1}
ACCELERATOR_STEPS_PER_READ = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands. `loss` (nats per token, smoothed if the spec smooths) and speed are means since the last one."""

    tokens: int
    loss: float
    gradient_norm: float  # before clipping, of the latest step
    learning_rate: float  # of hidden matrices, in the latest step
    tokens_per_s: float


def train(
    state: TrainState,
    *,
    until_tokens: int | None = None,
    stop: Callable[[], bool] | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    aside: Callable[[], AbstractContextManager[object]] = nullcontext,
    micro_windows: int | None = None,
) -> Iterator[Progress]:
    """Train until `until_tokens` in all (rounded up to whole steps), or to the end of the schedule; yields between steps.

    At every yield `state` may be saved, forked or left for good. `stop` is asked before every step; `deadline` is a value of
    `clock`, which also tells the speed and may leave out what is no training. The device is waited for in a context of `aside`.
    `micro_windows`: at most so many windows go through the model at once; the gradients are the same but for rounding and for
    the masks of dropout. When memory runs out there are fewer of them from then on.

    A training that diverges goes back to a good state, with half the rate, as often as its settings allow: `state.rollbacks`
    has one more then, and what is yielded next may stand at fewer tokens than what was before.

    Raises:
        TrialFailure: "preempted" or "timeout", with `state` as good as at a yield; "nan", "diverged"; "out_of_memory" when one
            window alone does not fit.
    """
    if micro_windows is not None:
        state.micro_windows = micro_windows
    target = state.schedule.end_tokens if until_tokens is None else until_tokens
    assert target is not None, "a stable phase has no end of its own: give until_tokens"
    end = state.whole_steps(target)
    if state.device.type == "cpu":
        keep_freed_memory()
    if state.step is None:
        state.step = choose_step(state)
    if state.tokens < end:
        begin_keeping(state)
    steps_per_read = STEPS_PER_READ.get(state.device.type, ACCELERATOR_STEPS_PER_READ)
    place = f"training {state.model.spec.fingerprint}"
    limit = MemoryLimit(state.settings.memory_limit, state.device)
    interrupted = functools.partial(_interruption, stop, deadline, clock)
    pending: list[tuple[int, Tensor]] = []
    since = clock()
    while state.tokens < end:
        failure = interrupted()
        if failure is None:
            with memory_guard(place):
                measured = take_step(state)
            state.paths[state.step.path] += 1
            state.tokens += state.step_tokens
            pending.append((state.tokens, measured))
        if pending and (failure is not None or _is_read(state, steps_per_read) or state.tokens >= end or is_due(state)):
            values = _read(state, pending, aside)
            bad = _judge(state, pending, values)
            if bad is None:
                keep(state)
                limit.check(state)
                progress = _progress(state, values, clock() - since)
                pending = []
                yield progress
            else:
                state.paths[state.step.path] -= (state.tokens - bad[0]) // state.step_tokens  # nobody looks at them
                with memory_guard(place):
                    failure = recover(state, bad[1], bad[0], interrupted) or failure
                pending = []
            since = clock()
        if failure is not None:
            raise failure


def _is_read(state: TrainState, steps_per_read: int) -> bool:
    """Whether the steps up to here are read here: at fixed tokens, wherever a training was resumed."""
    return state.tokens // state.step_tokens % steps_per_read == 0


def _interruption(stop: Callable[[], bool] | None, deadline: float | None, clock: Callable[[], float]) -> TrialFailure | None:
    if stop is not None and stop():
        return TrialFailure("preempted", "asked to stop")
    if deadline is not None and clock() >= deadline:
        return TrialFailure("timeout", "the time limit was reached")
    return None


def _read(
    state: TrainState, pending: list[tuple[int, Tensor]], aside: Callable[[], AbstractContextManager[object]]
) -> list[list[float]]:
    """Wait for the pending steps; their losses and gradient norms."""
    with aside():
        await_stream(state.device)
    values: list[list[float]] = torch.stack([measured for _, measured in pending]).tolist()
    return values


def _judge(state: TrainState, pending: list[tuple[int, Tensor]], values: list[list[float]]) -> tuple[int, TrialFailure] | None:
    """The first of the pending steps that went wrong, by the tokens at its end, and how."""
    for (tokens, _), (loss, norm) in zip(pending, values, strict=True):
        try:
            state.guard.check(tokens, loss, norm)
        except TrialFailure as failure:
            return tokens, failure
        state.watch.see(tokens, loss, norm)
    return None


def _progress(state: TrainState, values: list[list[float]], seconds: float) -> Progress:
    return Progress(
        tokens=state.tokens,
        loss=sum(loss for loss, _ in values) / len(values),
        gradient_norm=values[-1][1],
        learning_rate=_hidden_rate(state),
        tokens_per_s=len(values) * state.step_tokens / max(seconds, 1e-9),
    )


def _hidden_rate(state: TrainState) -> float:
    return float(next(group["lr"] for group in state.optimizer.param_groups if group["role"] == "hidden"))


def finish_steps(device: torch.device) -> None:
    """Wait until the device has done what it was given: steps are begun ahead of it, and it may be asked to stand still."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
