from __future__ import annotations

import dataclasses
import json
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.errors import TrialFailure
from autonas.kernels import find_kernels
from autonas.model.native import part_windows
from autonas.model.transformer import build_model
from autonas.training.loop import train
from autonas.training.micro_batches import fewer_windows
from autonas.training.native import NativeStep
from autonas.training.optimizers import moments
from autonas.training.state import TrainState, fork_cooldown, new_state
from autonas.training.steps import EagerStep
from autonas.trial import TrainingSettings
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings
from tests.training.test_loop import losses

CONTEXT = multiprocessing.get_context("spawn")


class Starved(EagerStep):
    """A step on a machine whose memory holds `most` windows: it fails with gradients half made, as a real one would."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tried: list[int] = []

    def __call__(self, state: TrainState) -> Tensor:
        at_once = min(state.micro_windows or state.step_windows, state.step_windows)
        self.tried.append(at_once)
        if at_once > self.most:
            state.optimizer.flat.gradients.fill_(7.0)
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory")
        return super().__call__(state)


def eager(state: TrainState) -> TrainState:
    state.step = EagerStep()
    return state


def test_a_step_that_does_not_fit_is_taken_in_parts(make_state: StateMaker) -> None:
    settings = tiny_settings(batch_tokens=2 * STEP_TOKENS)
    plain, short = eager(make_state(settings=settings)), make_state(settings=settings)
    step = short.step = Starved(2)
    expected = list(train(plain, until_tokens=12 * STEP_TOKENS))
    found = list(train(short, until_tokens=12 * STEP_TOKENS))
    assert step.tried == [8, 4, 2, 2, 2, 2, 2, 2], "what was found out once is kept"
    assert [p.loss for p in found] == pytest.approx([p.loss for p in expected], rel=1e-5)
    assert [p.gradient_norm for p in found] == pytest.approx([p.gradient_norm for p in expected], rel=1e-4)
    assert [p.tokens for p in found] == [p.tokens for p in expected]
    assert short.checks() == {
        "training path": "eager 6 steps",
        "micro-batches": "2 of 8 windows at once, after running out of memory 2 times",
    }
    assert fork_cooldown(short, STEP_TOKENS).checks() == short.checks()
    assert "micro-batches" not in plain.checks()


def test_a_step_that_goes_through_a_batch_in_parts_is_given_less_than_one() -> None:
    """Half of the whole batch would be the same parts again."""
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=60, context_length=256)
    windows = Windows(np.zeros(64 * 256 + 1, dtype=np.uint32), 256, 0)
    state = new_state(build_model(spec, 0), windows, TrainingSettings(batch_tokens=64 * 256), seed=0)
    kernels, reason = find_kernels(32)
    assert kernels is not None, reason
    state.step = NativeStep(kernels)
    assert part_windows(spec, 64) == 8 and fewer_windows(state) == 4
    state.micro_windows = 4
    assert fewer_windows(state) == 2
    state.step = EagerStep()
    state.micro_windows = None
    assert fewer_windows(state) == 32


def test_a_window_that_does_not_fit_alone_fails_and_changes_nothing(make_state: StateMaker) -> None:
    state, untouched = make_state(), make_state()
    state.step = Starved(0)
    with pytest.raises(TrialFailure, match="can't allocate memory") as caught:
        list(train(state, until_tokens=STEP_TOKENS))
    assert caught.value.kind == "out_of_memory"
    assert state.step.tried == [4, 2, 1, 1], "the last time without copies to go back to"
    assert state.tokens == 0
    for (name, weight), (_, same) in zip(state.model.named_parameters(), untouched.model.named_parameters(), strict=True):
        assert torch.equal(weight, same), name
    assert all(not value.any() for _, value in moments(state.optimizer))
    state.step = Starved(1)
    assert losses(state, 3 * STEP_TOKENS) == pytest.approx(losses(eager(untouched), 3 * STEP_TOKENS), rel=1e-5)


def test_an_error_that_is_no_lack_of_memory_is_not_tried_again(make_state: StateMaker) -> None:
    state = make_state()
    calls: list[int] = []

    class Broken(EagerStep):
        def __call__(self, state: TrainState) -> Tensor:
            calls.append(state.tokens)
            raise RuntimeError("shapes do not match")

    state.step = Broken()
    with pytest.raises(RuntimeError, match="shapes"):
        list(train(state, until_tokens=STEP_TOKENS))
    assert calls == [0]


@given(whole=st.integers(1, 300), micro=st.none() | st.integers(1, 400))
def test_parts_become_half_as_large_and_stay_even(whole: int, micro: int | None) -> None:
    settings = TrainingSettings(batch_tokens=16 * whole)
    model = build_model(ArchSpec(layers=1, width=8, heads=1, kv_heads=1, vocab_size=16, context_length=16), 0, "meta")
    state = dataclasses.replace(_shell(model, settings), micro_windows=micro)
    now = min(micro or whole, whole)
    fewer = fewer_windows(state)
    if now == 1:
        assert fewer is None
        return
    assert fewer is not None
    assert 1 <= fewer <= (now + 1) // 2
    num_parts = -(-whole // fewer)
    assert fewer == -(-whole // num_parts), "no smaller part would do in as many"


def _shell(model: Any, settings: TrainingSettings) -> TrainState:
    nothing: Any = None
    return TrainState(
        model=model,
        optimizer=nothing,
        windows=nothing,
        settings=settings,
        schedule=nothing,
        guard=nothing,
        watch=nothing,
        seed=0,
    )


def _train_in(room_bytes: int | None, result: Path) -> None:
    """In a process of its own: five steps with so much memory beyond what there is before the first."""
    import numpy as np

    from autonas.training.allocator import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    spec = ArchSpec(layers=2, width=64, heads=2, kv_heads=2, vocab_size=8192, context_length=128)
    settings = TrainingSettings(batch_tokens=64 * 128, warmup_tokens=1024, precision="float32")
    tokens = np.random.default_rng(0).integers(8192, size=80_000, dtype=np.uint16)
    # Libraries take memory of their own at the first call, in which a lack of it is nobody's business here.
    warm = eager(new_state(build_model(spec, 0), Windows(tokens, 128, 0), settings, seed=0))
    list(train(warm, until_tokens=1, micro_windows=1))
    state = eager(new_state(build_model(spec, 0), Windows(tokens, 128, 0), settings, seed=0))
    if room_bytes is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room_bytes, used + room_bytes))
    curve = [progress.loss for progress in train(state, until_tokens=5 * state.step_tokens)]
    result.write_text(json.dumps({"curve": curve, "micro": state.micro_windows, "shortages": state.shortages}))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells and limits the memory of a process")
def test_a_training_under_a_real_limit_goes_on_with_smaller_parts(tmp_path: Path) -> None:
    # Logits of a whole step are 268 MB, and there are several arrays of that size.
    children = [
        CONTEXT.Process(target=_train_in, args=(room, tmp_path / name)) for name, room in (("free", None), ("tight", 400 << 20))
    ]
    for child in children:
        child.start()
        child.join()
    free, tight = (json.loads((tmp_path / name).read_text()) for name in ("free", "tight"))
    assert free["micro"] is None
    assert 1 <= tight["micro"] <= 32
    assert tight["shortages"] >= 1
    assert tight["curve"] == pytest.approx(free["curve"], rel=1e-4)


def test_the_paths_taken_are_counted_through_forks(make_state: StateMaker) -> None:
    state = eager(make_state())
    losses(state, 3 * STEP_TOKENS)
    fork = eager(fork_cooldown(state, 2 * STEP_TOKENS))
    losses(fork)
    assert fork.checks() == {"training path": "eager 5 steps"}
    fork.slower_because = "no graph: RuntimeError"
    assert fork.checks()["training path"] == "eager 5 steps (no graph: RuntimeError)"
