"""Several trainings at once in one process against the same ones after each other, in turns.

What is found on a CUDA device is kept: from then on searches with the inline engine train as many at once as paid here.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autonas.arch import ArchSpec
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.device import describe, resolve
from autonas.bench.shapes import shape
from autonas.bench.statistics import paired_ratio, spread
from autonas.bench.turns import Contestant, NotMeasured, Turns
from autonas.data.batches import Windows
from autonas.model.transformer import build_model
from autonas.training.loop import train
from autonas.training.state import TrainState, new_state
from autonas.training.streams import own_stream
from autonas.training.together import Gain, remember_gains, train_together
from autonas.trial import TrainingSettings

_LEAST = 0.97  # of the speed of one after the other, where nothing is to be gained
_PEER = "one after the other"
_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    spec: ArchSpec
    batch_tokens: int
    at_once: int

    @property
    def name(self) -> str:
        return f"{self.at_once} of d{self.spec.width} at {self.batch_tokens:,} tokens a step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of each round, tokens of one training in it."""

    in_turn: tuple[float, ...]
    together: tuple[float, ...]
    tokens: int


def all_cases() -> tuple[Case, ...]:
    """Where the most is expected first; d256 because what is measured speaks for all that is narrower."""
    small, large = shape("small"), shape("large")
    shapes = ((small, 2048), (large, 8192), (dataclasses.replace(small, width=256), 2048))
    return tuple(Case(spec=spec, batch_tokens=tokens, at_once=count) for spec, tokens in shapes for count in (2, 4))


def measure(
    *,
    cases: Sequence[Case] | None = None,
    seconds: float = 4.0,
    device: str = "auto",
    threads: int | None = None,
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """A row for each case. On CUDA the gains are kept for the next searches.

    Raises:
        DeviceError: no such device here.
        ResourceError: the cache cannot be written.
    """
    here = resolve(device, threads)
    rows: list[Row] = []
    gains: list[Gain] = []
    failed = ""
    with Contestant(_serve, here.device, here.threads, seconds, deadline=deadline) as contestant:
        contestant.answer()
        for case in all_cases() if cases is None else cases:
            say(case.name)
            try:
                times: Times = contestant.ask(case)
            except NotMeasured as error:
                failed = failed or str(error)
                rows.append(not_measured(f"training {case.name}", failed, peer_name=_PEER, goal=_LEAST))
                continue
            rows.append(_row(case, times))
            # The lower end of the interval: what is kept has to be a gain.
            low = paired_ratio(times.together, times.in_turn).low
            gains.append(Gain(width=case.spec.width, step_tokens=case.batch_tokens, at_once=case.at_once, gain=low))
    if gains and here.device_type == "cuda":
        remember_gains(torch.device(here.device), gains)
    return Findings(rows=rows, conditions=describe(here))


def _row(case: Case, times: Times) -> Row:
    ratio = paired_ratio(times.together, times.in_turn)
    tokens = case.at_once * times.tokens
    return Row(
        metric=f"training {case.name}",
        unit="tokens/s",
        ours=tokens / float(np.median(times.together)),
        low=ratio.low,
        high=ratio.high,
        peer=tokens / float(np.median(times.in_turn)),
        peer_name=_PEER,
        ratio=ratio.value,
        goal=_LEAST,
        met=ratio.value >= _LEAST,
        spread=spread(times.together),
        peer_spread=spread(times.in_turn),
    )


def _serve(turns: Turns, device: str, threads: int, seconds: float) -> None:
    torch.set_num_threads(threads)
    turns.reply("here")
    for case in turns:
        turns.reply(measure_together(case, torch.device(device), seconds=seconds))


def measure_together(case: Case, device: torch.device, *, seconds: float, rounds: int = _ROUNDS) -> Times:
    """Rounds of about `seconds` in all: each of the case's trainings by itself, and all at once, in alternating order.

    Raises:
        TrialFailure: one of them failed.
    """
    states = [_begin(case, seed, device) for seed in range(case.at_once)]
    # Kept from block to block: a graph is replayed on the stream that it was captured on.
    streams = [torch.cuda.Stream(device) if device.type == "cuda" else None for _ in states]  # type: ignore[no-untyped-call]
    _in_turn(states, streams, 16)  # compiles, captures, and fills the allocator
    once = _in_turn(states, streams, 4)
    steps = max(int(seconds / (2 * rounds) / once * 4), 1)
    alone: list[float] = []
    beside: list[float] = []
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            if which == 0:
                alone.append(_in_turn(states, streams, steps))
            else:
                beside.append(_all_at_once(states, streams, steps))
    return Times(in_turn=tuple(alone), together=tuple(beside), tokens=steps * states[0].step_tokens)


def _begin(case: Case, seed: int, device: torch.device) -> TrainState:
    tokens = np.random.default_rng(seed).integers(case.spec.vocab_size, size=1 << 20, dtype=np.uint32)
    settings = TrainingSettings(batch_tokens=case.batch_tokens, learning_rate=1e-5)  # nothing may diverge
    return new_state(build_model(case.spec, seed, device), Windows(tokens, case.spec.context_length, seed), settings, seed=seed)


def _in_turn(states: Sequence[TrainState], streams: Sequence[torch.cuda.Stream | None], steps: int) -> float:
    begun = time.perf_counter()
    for state, stream in zip(states, streams, strict=True):
        with own_stream(state.device, stream):
            for _ in train(state, until_tokens=state.tokens + steps * state.step_tokens):
                pass
    return time.perf_counter() - begun


def _all_at_once(states: Sequence[TrainState], streams: Sequence[torch.cuda.Stream | None], steps: int) -> float:
    ends = [state.tokens + steps * state.step_tokens for state in states]
    begun = time.perf_counter()
    found = train_together(states, ends, streams)
    seconds = time.perf_counter() - begun
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return seconds
