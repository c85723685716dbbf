from __future__ import annotations

import dataclasses
import types

import pytest
import torch

from autonas.arch import ArchSpec
from autonas.training import speed
from autonas.training.speed import measure_speed
from autonas.training.state import TrainState
from autonas.trial import TrainingSettings

SPEC = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, ffn_multiplier=2.0, vocab_size=64, context_length=16)
CPU = torch.device("cpu")


class Machine:
    """A clock on which a step takes `fixed` seconds and `each` for each of its windows."""

    def __init__(self, fixed: float, each: float) -> None:
        self.now, self.fixed, self.each = 0.0, fixed, each

    def perf_counter(self) -> float:
        return self.now

    def train_steps(self, state: TrainState, steps: int) -> None:
        self.now += steps * (self.fixed + self.each * state.step_windows)


@pytest.mark.parametrize(("fixed", "each"), [(0.0, 0.001), (0.01, 0.001), (0.1, 0.02), (0.001, 0.05), (0.5, 1.0), (0.0, 30.0)])
@pytest.mark.parametrize("windows", [1, 2, 7, 64])
def test_a_step_is_what_a_machine_of_a_straight_line_takes(
    fixed: float, each: float, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(fixed, each)
    monkeypatch.setattr(speed, "time", types.SimpleNamespace(perf_counter=machine.perf_counter))
    monkeypatch.setattr(speed, "_train_steps", machine.train_steps)
    found = measure_speed(SPEC, TrainingSettings(batch_tokens=16 * windows), device=CPU, threads=1, seconds=4.0)
    assert found.step_tokens == 16 * windows
    assert found.timed_tokens <= found.step_tokens
    # One window alone says nothing of the fixed part: the upper bound is taken then.
    exact = fixed + each * windows
    assert exact <= found.seconds_per_step * 1.0001
    if found.timed_tokens > 16:
        assert found.seconds_per_step == pytest.approx(exact)
    last = fixed + each * found.timed_tokens / 16
    assert machine.now < 4.0 + last + 12 * (fixed + each), "the time allowed, a last step, and a few steps of one window"


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_whole_steps_are_timed_where_they_fit(schedule: str) -> None:
    settings = TrainingSettings(batch_tokens=64, schedule=schedule)  # type: ignore[arg-type]
    found = measure_speed(SPEC, settings, device=CPU, threads=1, seconds=0.5)
    assert found.timed_tokens == found.step_tokens
    assert found.timed_steps >= 3
    assert found.seconds_per_token == pytest.approx(found.seconds_per_step / 64)


@pytest.mark.parametrize("planned", [None, 10**9])
def test_the_way_of_the_planned_training_is_timed(planned: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    machine = Machine(0.01, 0.001)

    def train_steps(state: TrainState, steps: int) -> None:
        seen.append(state.planned_tokens)
        machine.train_steps(state, steps)

    monkeypatch.setattr(speed, "time", types.SimpleNamespace(perf_counter=machine.perf_counter))
    monkeypatch.setattr(speed, "_train_steps", train_steps)
    measure_speed(SPEC, TrainingSettings(batch_tokens=64), device=CPU, threads=1, seconds=0.5, planned_tokens=planned)
    assert set(seen) == {planned}


def test_the_batch_and_rate_that_an_architecture_names_change_the_step_and_never_diverge() -> None:
    spec = dataclasses.replace(SPEC, batch_tokens=32, learning_rate=1.0)
    found = measure_speed(spec, TrainingSettings(batch_tokens=64, learning_rate=1.0), device=CPU, threads=1, seconds=0.2)
    assert found.step_tokens == 32
