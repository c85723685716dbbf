from __future__ import annotations

import mmap

import pytest
import torch
from torch import Tensor

from autonas.errors import TrialFailure
from autonas.training import limits
from autonas.training.limits import memory_taken
from autonas.training.loop import train
from autonas.training.state import TrainState
from autonas.training.steps import EagerStep
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings
from tests.training.faults import step_by


def test_memory_is_that_of_the_process() -> None:
    """Of pages of its own: an array may lie in memory that was freed and kept (`keep_freed_memory`), which takes no more."""
    before = memory_taken(torch.device("cpu"))
    with mmap.mmap(-1, 64 << 20) as held:
        held.write(b"1" * len(held))
        assert memory_taken(torch.device("cpu")) >= before + len(held) // 2


def test_over_the_limit_there_are_fewer_windows_at_once_and_then_it_is_a_failure(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_EVERY_S", 0.0)
    state = make_state(settings=tiny_settings(memory_limit=1))
    state.step = step_by("eager")
    with pytest.raises(TrialFailure, match=r"[\d,]+ bytes are taken after [\d,]+ tokens with one window at once") as caught:
        list(train(state, until_tokens=10 * STEP_TOKENS))
    assert caught.value.kind == "out_of_memory"
    assert (state.micro_windows, state.shortages) == (1, 2), "twice fewer windows, and then the copies"


def test_below_the_limit_nothing_changes(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOK_EVERY_S", 0.0)
    state = make_state(settings=tiny_settings(memory_limit=10**12))
    list(train(state, until_tokens=3 * STEP_TOKENS))
    assert (state.micro_windows, state.shortages) == (None, 0)


def test_copies_to_go_back_to_are_given_up_before_a_training_is(make_state: StateMaker) -> None:
    class Hungry(EagerStep):
        """Fits only where there are no copies."""

        def __call__(self, state: TrainState) -> Tensor:
            if state.kept is not None:
                raise MemoryError("no memory beside copies")
            return super().__call__(state)

    state = make_state()
    state.step = Hungry()
    for _ in train(state, until_tokens=4 * state.step_tokens):
        pass
    assert state.tokens == 4 * state.step_tokens and state.kept is None
    assert "no memory for a copy" in state.checks()["rollbacks"]
