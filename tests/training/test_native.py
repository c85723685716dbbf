from __future__ import annotations

import ctypes
import dataclasses
import statistics
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.data.batches import Windows
from autonas.errors import ResourceError
from autonas.kernels import Kernels, find_kernels
from autonas.model.formats import has_bfloat16
from autonas.model.native import DropoutKeys, NativeForward, attention_bytes
from autonas.model.transformer import build_model
from autonas.training import native, paths
from autonas.training.loop import train
from autonas.training.native import NativeStep
from autonas.training.proof import Tolerance, doubt
from autonas.training.state import TrainState, fork_cooldown, new_state
from autonas.training.steps import EagerStep
from autonas.trial import TrainingSettings
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec

specs = st.builds(
    ArchSpec,
    layers=st.integers(1, 3),
    width=st.sampled_from((8, 24)),
    heads=st.just(4),
    kv_heads=st.sampled_from((1, 2, 4)),
    ffn_multiplier=st.sampled_from((1.5, 4.0)),
    norm=st.sampled_from(NORMS),
    activation=st.sampled_from(ACTIVATIONS),
    position=st.sampled_from(POSITIONS),
    tied_embeddings=st.booleans(),
    label_smoothing=st.sampled_from((0.0, 0.1)),
    vocab_size=st.sampled_from((7, 40)),
    context_length=st.sampled_from((2, 9)),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads wait for each other at every kernel, and for whoever else uses the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def kernels(bits: int) -> Kernels:
    found, reason = find_kernels(bits)
    assert found is not None, reason
    return found


def double_state(spec: ArchSpec, windows: int = 5) -> TrainState:
    tokens = np.random.default_rng(0).integers(spec.vocab_size, size=2000, dtype=np.uint32)
    settings_ = TrainingSettings(batch_tokens=windows * spec.context_length, clip_norm=1e9)
    # Drawn in float32 and small: scaled, so that softmax and the activations leave their straight parts.
    model = build_model(spec, 0, dtype=torch.float64)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    return new_state(model, Windows(tokens, spec.context_length, 0), settings_, seed=0)


def native_gradients(state: TrainState, monkeypatch: pytest.MonkeyPatch) -> tuple[float, dict[str, Tensor]]:
    """The loss and the gradients of the next step, which is not taken."""
    with monkeypatch.context() as patch:
        patch.setattr(native, "update", lambda state: torch.zeros((), dtype=state.optimizer.flat.weights.dtype))
        loss = float(NativeStep(kernels(64))(state)[0])
    return loss, {n: w.grad.clone() for n, w in state.model.named_parameters() if w.grad is not None}


@given(specs, st.sampled_from((1, 2, 5, None)))
@settings(max_examples=60, deadline=None)
def test_gradients_are_those_of_autograd_in_float64(spec: ArchSpec, micro_windows: int | None) -> None:
    state = double_state(spec)
    state.micro_windows = micro_windows
    batch = torch.from_numpy(state.windows.take(0, 5))
    logits = state.model(batch[:, :-1]).flatten(0, 1)
    plain = F.cross_entropy(logits, batch[:, 1:].flatten(), label_smoothing=spec.label_smoothing)
    state.optimizer.zero_grad()
    plain.backward()  # type: ignore[no-untyped-call]
    expected = {n: w.grad.clone() for n, w in state.model.named_parameters() if w.grad is not None}
    loss, found = native_gradients(state, pytest.MonkeyPatch())
    assert loss == pytest.approx(plain.item(), rel=1e-12)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("dropouts", [(0.3, 0.0), (0.0, 0.3), (0.2, 0.2)])
def test_gradients_under_dropout_are_those_of_differences(
    activation: str, dropouts: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ArchSpec(layers=2, width=16, heads=4, kv_heads=2, activation=activation, vocab_size=30, context_length=8)
    spec = dataclasses.replace(spec, attention_dropout=dropouts[0], residual_dropout=dropouts[1])
    state = double_state(spec)
    _, gradients = native_gradients(state, monkeypatch)
    generator = torch.Generator().manual_seed(0)
    for name, weight in state.model.named_parameters():
        direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        losses = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                weight.add_(direction, alpha=step)
            losses.append(native_gradients(state, monkeypatch)[0])
        with torch.no_grad():
            weight.add_(direction, alpha=1e-6)
        slope = (losses[0] - losses[1]) / 2e-6
        assert slope == pytest.approx(float((gradients[name] * direction).sum()), rel=1e-4, abs=1e-7), name


def test_dropout_drops_its_share_anew_in_every_step_and_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ArchSpec(layers=1, width=16, heads=4, kv_heads=4, residual_dropout=0.3, vocab_size=30, context_length=8)
    state = double_state(spec)
    first, gradients = native_gradients(state, monkeypatch)
    assert native_gradients(state, monkeypatch)[0] == first
    state.micro_windows = 2
    in_parts, gradients_in_parts = native_gradients(state, monkeypatch)
    assert in_parts == pytest.approx(first, rel=1e-12)
    assert all(torch.allclose(gradients_in_parts[name], value, atol=1e-12) for name, value in gradients.items())
    other = double_state(spec)
    other.seed = 1
    assert native_gradients(other, monkeypatch)[0] != first

    count, rows = 100_000, 10
    ones, kept = torch.ones(rows, count, dtype=torch.float64), torch.empty(rows, count, dtype=torch.float64)
    drop = DropoutKeys("here").dropout("there", 0.3, 0)
    # SiLU of 1, dropped: the masks themselves
    kernels(64).activation(1, rows, count, 1, 0, ones.data_ptr(), kept.data_ptr(), drop)
    masks = kept / F.silu(ones)
    assert torch.all((masks == 0) | ((masks - 1 / 0.7).abs() < 1e-12))
    share = (masks == 0).double().mean().item()
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / masks.numel()) ** 0.5
    # Neighbours, and the same column of neighbouring rows, are independent.
    dropped = (masks == 0).double() - share
    for one, two in ((dropped[:, 1:], dropped[:, :-1]), (dropped[1:], dropped[:-1])):
        assert abs((one * two).mean().item() / 0.21) < 5 / one.numel() ** 0.5


def real_state(seed: int, precision: str, step: Any, path: Path) -> TrainState:
    text = path.read_bytes()
    tokens = np.frombuffer(text, dtype=np.uint8).astype(np.uint32)
    spec = ArchSpec(layers=2, width=32, heads=2, kv_heads=1, activation="swiglu", vocab_size=256, context_length=64)
    settings_ = TrainingSettings(batch_tokens=512, warmup_tokens=8_192, learning_rate=2e-3, precision=precision)  # type: ignore[arg-type]
    state = new_state(build_model(spec, seed), Windows(tokens, 64, seed), settings_, seed=seed)
    state.step = step
    return state


@pytest.mark.slow
@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16 instructions")
def test_300_steps_in_bfloat16_end_within_the_seed_spread_of_float32() -> None:
    path = Path(statistics.__file__)

    def last_losses(seed: int, precision: str, step: Any) -> float:
        curve = [p.loss for p in train(real_state(seed, precision, step, path), until_tokens=300 * 512)]
        return statistics.mean(curve[-50:])

    plain = [last_losses(seed, "float32", EagerStep()) for seed in (0, 1, 2)]
    fast = [last_losses(seed, "bfloat16", NativeStep(kernels(16))) for seed in (0, 1, 2)]
    assert plain[0] < 3.0  # it learns: log 256 is 5.5
    spread = max(statistics.stdev(plain), 0.01)
    for one, other in zip(plain, fast, strict=True):
        assert abs(one - other) < spread


def test_a_training_says_which_path_it_took(make_state: StateMaker) -> None:
    state = make_state()
    list(train(state, until_tokens=3 * STEP_TOKENS))
    assert state.slower_because == ""
    (path,) = state.paths
    assert path.startswith("native ")
    assert state.paths[path] == 3


def test_without_a_compiler_training_goes_on_and_says_so(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    find_kernels.cache_clear()
    try:
        monkeypatch.setenv("CC", "/no/such/compiler")
        state = make_state()
        list(train(state, until_tokens=2 * STEP_TOKENS))
    finally:
        monkeypatch.undo()
        find_kernels.cache_clear()
    assert dict(state.paths) == {"eager": 2}
    assert "/no/such/compiler" in state.slower_because


def test_a_training_goes_on_as_it_began(make_state: StateMaker) -> None:
    state = make_state()
    state.step = EagerStep()
    list(train(state, until_tokens=2 * STEP_TOKENS))
    state.step = None  # as after a resume
    list(train(state, until_tokens=4 * STEP_TOKENS))
    assert dict(state.paths) == {"eager": 4}
    assert "began as eager" in state.checks()["training path"]
    fork = fork_cooldown(state, STEP_TOKENS)
    list(train(fork))
    assert state.paths["eager"] == 4 and fork.paths["eager"] == 5


def test_kernels_are_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path))
    find_kernels.cache_clear()
    try:
        first = kernels(32).library
        made = first.stat().st_mtime_ns
        find_kernels.cache_clear()
        assert kernels(32).library == first
        assert first.stat().st_mtime_ns == made
        assert [path.name for path in (tmp_path / "kernels").iterdir()] == [first.name]
    finally:
        find_kernels.cache_clear()


class LooksAhead:
    """Kernels whose attention forgets to be causal: what the prototype's model did."""

    def __init__(self, real: Kernels) -> None:
        self._real = real
        self.bits = real.bits

    def __getattr__(self, name: str) -> Any:
        if name != "attention_weights":
            return getattr(self._real, name)

        def uniform(threads: int, heads: int, per_row: int, length: int, scores: int, *_: Any) -> None:
            weights = np.ctypeslib.as_array((ctypes.c_float * (heads * length * length)).from_address(scores))
            weights[:] = 1.0 / length

        return uniform


def test_a_path_that_looks_ahead_is_not_taken(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty: Any = LooksAhead(kernels(32))
    state = make_state(settings=tiny_settings(precision="float32"))
    assert "differ" in doubt(state, NativeStep(faulty))
    # Nor when plain losses were just as wrong: the second half of a window is replaced, and losses of the first must not move.
    monkeypatch.setattr("autonas.training.proof.TOLERANCES", {torch.float32: Tolerance(loss=1e9, gradient=1e9)})
    assert "tokens that come later" in doubt(state, NativeStep(faulty))
    assert doubt(state, NativeStep(kernels(32))) == ""

    monkeypatch.undo()
    monkeypatch.setattr(paths, "find_kernels", lambda bits: (faulty, ""))
    list(train(state, until_tokens=STEP_TOKENS))
    assert dict(state.paths) == {"eager": 1}
    assert "differ" in state.checks()["training path"]


def test_the_proof_leaves_no_trace(make_state: StateMaker) -> None:
    one, other = make_state(), make_state()
    step = NativeStep(kernels(16 if has_bfloat16(torch.device("cpu")) else 32))
    before = torch.random.get_rng_state()
    assert doubt(one, step) == ""
    assert torch.equal(torch.random.get_rng_state(), before)
    one.step = other.step = step
    assert [p.loss for p in train(one, until_tokens=4 * STEP_TOKENS)] == [
        p.loss for p in train(other, until_tokens=4 * STEP_TOKENS)
    ]


@pytest.mark.parametrize(
    "change", [{"norm": "layernorm"}, {"position": "alibi"}, {"position": "learned"}, {"activation": "geglu"}]
)
def test_every_family_proves_itself(make_state: StateMaker, change: dict[str, Any]) -> None:
    state = make_state(spec=tiny_spec(**change))
    assert doubt(state, NativeStep(kernels(32))) == ""


@contextmanager
def nan_where_nothing_was_written() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)  # torch.empty is filled with NaN
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


# Matrices of 144 and 1,212 numbers: both leave a gap behind them in the flat arrays.
ODD_SPEC = ArchSpec(layers=2, width=12, heads=2, kv_heads=1, vocab_size=101, context_length=16)


def odd_state(spec: ArchSpec = ODD_SPEC) -> TrainState:
    tokens = np.random.default_rng(0).integers(101, size=2000, dtype=np.uint32)
    settings_ = TrainingSettings(batch_tokens=5 * spec.context_length, precision="float32")
    return new_state(build_model(spec, 0), Windows(tokens, spec.context_length, 0), settings_, seed=0)


def measured(state: TrainState) -> list[tuple[float, float]]:
    """Loss and gradient norm of three steps."""
    return [(p.loss, p.gradient_norm) for p in train(state, until_tokens=3 * state.step_tokens)]


@pytest.mark.parametrize("bits", [16, 32])
def test_no_number_comes_from_memory_that_nobody_wrote(bits: int) -> None:
    # Not of NaN alone: a huge number between two gradients would only make every step a small one.
    state, plain = odd_state(), odd_state()
    with nan_where_nothing_was_written():
        state.step, plain.step = NativeStep(kernels(bits)), EagerStep()
        found = measured(state)
    for (loss, norm), (plain_loss, plain_norm) in zip(found, measured(plain), strict=True):
        assert loss == pytest.approx(plain_loss, rel=1e-3)
        assert norm == pytest.approx(plain_norm, rel=1e-2)


def test_a_dropout_that_drops_next_to_nothing_is_no_other_model() -> None:
    states = [odd_state(), odd_state(dataclasses.replace(ODD_SPEC, attention_dropout=1e-11, residual_dropout=1e-11))]
    with nan_where_nothing_was_written():
        for state in states:
            state.step = NativeStep(kernels(32))
        one, other = map(measured, states)
    assert [number for pair in one for number in pair] == pytest.approx([number for pair in other for number in pair])


def test_a_token_outside_the_vocabulary_is_told_and_not_looked_up() -> None:
    state = odd_state()
    state.windows = Windows(np.full(2000, 101, dtype=np.uint32), 16, 0)
    with pytest.raises(IndexError, match="token 101 is outside the vocabulary of 101"):
        NativeStep(kernels(32))(state)


def test_memory_of_parts_that_were_too_large_is_given_up_before_smaller_ones_have_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most: dict[int, int] = {}
    make = NativeForward.__init__

    def remember(self: Any, *args: Any, windows: int, **named: Any) -> None:
        alive.add(self)
        make(self, *args, windows=windows, **named)
        most[windows] = max(most.get(windows, 0), sum(run.windows for run in alive))

    monkeypatch.setattr(NativeForward, "__init__", remember)
    state = odd_state()
    step = NativeStep(kernels(32))
    step(state)
    state.micro_windows = 3
    step(state)
    step(state)
    assert most == {5: 5, 3: 3, 2: 5}


def test_where_one_window_does_not_fit_training_goes_on_by_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(NativeForward, "__init__", no_memory)
    state = odd_state()
    measured(state)
    assert dict(state.paths) == {"eager": 3}
    assert "memory" in state.slower_because


def test_a_compiler_may_be_called_with_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "cc -pthread")
    find_kernels.cache_clear()
    try:
        assert find_kernels(32)[1] == ""
    finally:
        find_kernels.cache_clear()


def test_without_a_folder_for_the_cache_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise ResourceError("no home folder for the cache; set AUTONAS_CACHE to a folder")

    monkeypatch.setattr("autonas.kernels.build.cache_folder", homeless)
    find_kernels.cache_clear()
    try:
        found, reason = find_kernels(32)
    finally:
        find_kernels.cache_clear()
    assert found is None
    assert "AUTONAS_CACHE" in reason


def test_attention_weights_of_a_long_context_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ArchSpec(layers=1, width=4, heads=2, kv_heads=1, vocab_size=101, context_length=256)
    step = NativeStep(kernels(32))
    step(odd_state(spec))
    (run,) = step._passes.values()
    kept = [*(layer.weights for layer in run.forward.layers), run._scores]
    assert attention_bytes(spec, windows=5, bits=32) == sum(weights.nbytes for weights in kept)

    assert paths.choose_step(odd_state(spec)).path == "native float32"  # more than the estimate, and little all the same
    monkeypatch.setattr(paths, "_ATTENTION_BYTES", 2**10)
    state = odd_state(spec)
    assert paths.choose_step(state).path == "eager"
    assert "a context of 256 tokens" in state.slower_because
    assert paths.choose_step(odd_state()).path == "native float32"
