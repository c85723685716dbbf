"""Several trainings at once: how many the table allows, and that none notices the others. Real trainings on the processor."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autonas import cost
from autonas.arch import ArchSpec
from autonas.errors import TrialFailure
from autonas.training.loop import Progress, train
from autonas.training.state import Step, TrainState
from autonas.training.steps import EagerStep
from autonas.training.together import (
    LEAST_GAIN,
    MEMORY_MARGIN,
    UNMEASURED,
    Gain,
    Member,
    Row,
    known_table,
    member,
    remember_gains,
    table_of,
    together,
    train_together,
)
from autonas.trial import TrainingSettings
from tests.training.conftest import CONTEXT, STEP_TOKENS, StateMaker, tiny_spec
from tests.training.test_graphs import graphed
from tests.training.test_loop import DROPPING, assert_same

CPU = torch.device("cpu")
ROOMY = 1 << 50
TABLE = (Row(width=256, step_tokens=2048, at_once=4),)


def of(width: int, step_tokens: int = 2048, **changes: Any) -> Member:
    spec = ArchSpec(layers=2, width=width, heads=2, kv_heads=2, vocab_size=2048, **changes)
    return Member(spec=spec, step_tokens=step_tokens)


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ([of(128)] * 6, 4),
        ([of(256)] * 4, 4),
        ([of(64, 1024)] * 3, 3),
        ([of(128)], 1),
        ([of(260)] * 4, 1),
        ([of(128, 2304)] * 4, 1),
        ([of(512, 8192)] * 4, 1),
        ([of(128), of(128), of(512)], 2),
        ([of(512), of(128)], 1),
        ([of(128), of(128, residual_dropout=0.1), of(128)], 1),
        ([of(128, attention_dropout=0.1)] * 2, 1),
    ],
)
def test_how_many_pay(members: list[Member], count: int) -> None:
    assert together(members, ROOMY, TABLE) == count


def test_as_many_as_fit_and_never_none() -> None:
    each = MEMORY_MARGIN * cost.training_bytes(of(128).spec, 2048)
    assert together([of(128)] * 4, int(3.01 * each), TABLE) == 3
    assert together([of(128)] * 4, int(2.99 * each), TABLE) == 2
    assert together([of(128)] * 4, 0, TABLE) == 1


def test_the_narrowest_row_that_holds_a_training_speaks_for_it() -> None:
    table = (Row(width=512, step_tokens=8192, at_once=2), Row(width=128, step_tokens=2048, at_once=8))
    assert [together([one] * 9, ROOMY, table) for one in (of(64), of(128), of(256), of(128, 4096), of(640))] == [8, 8, 2, 2, 1]


def test_a_step_has_whole_windows_and_the_batch_that_the_spec_names() -> None:
    spec = tiny_spec()
    assert member(spec, TrainingSettings(batch_tokens=3 * CONTEXT + 5)).step_tokens == 3 * CONTEXT
    assert member(dataclasses.replace(spec, batch_tokens=2 * CONTEXT), TrainingSettings()).step_tokens == 2 * CONTEXT


def test_a_measured_gain_replaces_the_table_and_too_small_a_one_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path))
    assert known_table(CPU) == UNMEASURED
    gains = [
        Gain(width=128, step_tokens=2048, at_once=2, gain=1.7),
        Gain(width=128, step_tokens=2048, at_once=4, gain=1.4),
        Gain(width=512, step_tokens=8192, at_once=4, gain=LEAST_GAIN - 0.001),
    ]
    remember_gains(CPU, gains)
    expected = (Row(width=128, step_tokens=2048, at_once=2), Row(width=512, step_tokens=8192, at_once=1))
    assert known_table(CPU) == table_of(gains) == expected
    (file,) = (tmp_path / "together").iterdir()
    for damaged in ("{", '[{"width": 1}]'):
        file.write_text(damaged)
        assert known_table(CPU) == UNMEASURED


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Teams of threads that wait for one another by spinning would be most of the tests' time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alone(state: TrainState, until: int) -> list[tuple[int, float, float]]:
    return essence(list(train(state, until_tokens=until)))


def essence(found: list[Progress] | BaseException) -> list[tuple[int, float, float]]:
    assert not isinstance(found, BaseException), found
    return [(p.tokens, p.loss, p.gradient_norm) for p in found]


def eager(state: TrainState) -> TrainState:
    state.step = EagerStep()
    return state


@pytest.mark.parametrize("way", [lambda state: state, eager, graphed])
def test_each_trains_bitwise_as_it_would_alone(make_state: StateMaker, way: Callable[[TrainState], TrainState]) -> None:
    """Of different shapes and lengths, with masks of dropout, by the kernels, plainly, and by what a graph would replay."""

    def states() -> list[TrainState]:
        specs = [dataclasses.replace(DROPPING, layers=1), DROPPING, tiny_spec(layers=1, width=24)]
        return [way(make_state(spec=spec, seed=number)) for number, spec in enumerate(specs)]

    ends = [n * STEP_TOKENS for n in (20, 12, 30)]
    apart, beside = states(), states()
    expected = [alone(state, end) for state, end in zip(apart, ends, strict=True)]
    found = train_together(beside, ends)
    assert [essence(one) for one in found] == expected
    for one, other in zip(beside, apart, strict=True):
        assert_same(one, other)
        assert one.paths == other.paths


class Watched:
    """A step that writes down whose turn it was."""

    path = "watched"

    def __init__(self, step: Step, name: str, turns: list[str], spoiled_at: int | None = None) -> None:
        self._step, self._name, self._turns, self._spoiled_at = step, name, turns, spoiled_at

    def __call__(self, state: TrainState) -> Tensor:
        self._turns.append(self._name)
        if state.tokens == self._spoiled_at:
            state.optimizer.flat.weights.fill_(float("nan"))
        return self._step(state)


def test_steps_alternate_and_one_that_fails_leaves_the_others_as_they_would_be(make_state: StateMaker) -> None:
    turns: list[str] = []
    whole = eager(make_state(spec=DROPPING, seed=1))
    expected = alone(whole, 40 * STEP_TOKENS)
    states = [make_state(spec=DROPPING, seed=seed) for seed in (1, 2)]
    states[1].settings = dataclasses.replace(states[1].settings, rollbacks=0)
    states[0].step = Watched(EagerStep(), "whole", turns)
    states[1].step = Watched(EagerStep(), "spoiled", turns, spoiled_at=20 * STEP_TOKENS)
    found, failure = train_together(states, [40 * STEP_TOKENS] * 2)
    assert isinstance(failure, TrialFailure) and failure.kind == "nan"
    assert essence(found) == expected
    assert torch.equal(states[0].optimizer.flat.weights, whole.optimizer.flat.weights)
    assert turns.count("whole") == 40 and turns.count("spoiled") == 21
    changes = sum(a != b for a, b in itertools.pairwise(turns))
    assert changes >= 30, "they took turns, and not one after the other"


def test_memory_that_runs_out_in_one_is_its_own(make_state: StateMaker) -> None:
    class Short:
        path = "short"

        def __call__(self, state: TrainState) -> Tensor:
            raise torch.OutOfMemoryError("planted")

    whole, state, short = (eager(make_state()) for _ in range(3))
    short.step = Short()
    failure, found = train_together([short, state], [9 * STEP_TOKENS] * 2)
    assert isinstance(failure, TrialFailure) and failure.kind == "out_of_memory"
    assert essence(found) == alone(whole, 9 * STEP_TOKENS)
    assert short.shortages == 2 and state.shortages == 0


def test_until_it_is_measured_trainings_follow_one_another() -> None:
    assert together([of(64)] * 4, ROOMY) == together([of(64)] * 4, ROOMY, UNMEASURED) == 1
