"""The whole step of a CUDA graph, run as it stands on the processor: all but the capture, which tests/test_gpu.py has."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autonas.errors import TrialFailure
from autonas.model.blocks import Block
from autonas.model.formats import has_bfloat16
from autonas.training.checkpoint import load, save
from autonas.training.cross_entropy import LossInPlace, torch_loss_
from autonas.training.graphs import WARM_UPS, GraphStep, Way, deterministic, unchanged, way_begun
from autonas.training.loop import train
from autonas.training.state import TrainState, fork_cooldown
from autonas.training.step_table import ROWS
from autonas.training.steps import EagerStep
from tests.training.conftest import CONTEXT, STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.test_loop import DROPPING, assert_same, losses

CPU = torch.device("cpu")


def again(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """A graph's replay without a graph."""
    return body


def graphed(state: TrainState) -> TrainState:
    state.step = GraphStep(record=again)
    return state


def eager(state: TrainState) -> TrainState:
    state.step = EagerStep()
    return state


@pytest.mark.parametrize(
    "spec",
    [
        tiny_spec(),
        DROPPING,
        tiny_spec(position="learned", norm="layernorm", tied_embeddings=False, label_smoothing=0.1),
        tiny_spec(position="alibi", activation="swiglu"),
    ],
)
@pytest.mark.parametrize("micro_windows", [None, 3])
def test_the_steps_are_those_of_the_plain_path(make_state: StateMaker, spec: Any, micro_windows: int | None) -> None:
    """Over a refill of the table, and with masks of dropout drawn alike."""
    plain, graph = eager(make_state(spec=spec)), graphed(make_state(spec=spec))
    steps = ROWS + 6
    expected = list(train(plain, until_tokens=steps * STEP_TOKENS, micro_windows=micro_windows))
    found = list(train(graph, until_tokens=steps * STEP_TOKENS, micro_windows=micro_windows))
    assert graph.checks() == {"training path": f"graph {steps} steps"}
    assert [p.loss for p in found] == pytest.approx([p.loss for p in expected], rel=2e-4)
    assert [p.gradient_norm for p in found[:20]] == pytest.approx([p.gradient_norm for p in expected[:20]], rel=1e-3)
    assert [p.learning_rate for p in found] == [p.learning_rate for p in expected]


def test_the_first_step_has_the_plain_gradients_and_update(make_state: StateMaker) -> None:
    plain, graph = eager(make_state()), graphed(make_state())
    for state in (plain, graph):
        list(train(state, until_tokens=1))
    assert torch.allclose(graph.optimizer.flat.gradients, plain.optimizer.flat.gradients, rtol=1e-4, atol=1e-6)
    assert torch.allclose(graph.optimizer.flat.weights, plain.optimizer.flat.weights, atol=1e-5)


def test_warming_up_changes_nothing(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bitwise: whether the step was run before or not."""
    warm, cold = graphed(make_state(spec=DROPPING)), graphed(make_state(spec=DROPPING))
    assert WARM_UPS > 0
    expected = losses(warm, 5 * STEP_TOKENS)
    monkeypatch.setattr("autonas.training.graphs.WARM_UPS", 0)
    assert losses(cold, 5 * STEP_TOKENS) == expected
    assert_same(cold, warm)


def test_values_come_back_when_the_block_fails() -> None:
    tensor = torch.arange(4.0)
    place = tensor.data_ptr()
    with contextlib.suppress(ZeroDivisionError), unchanged([tensor]):
        tensor.zero_()
        raise ZeroDivisionError
    assert tensor.tolist() == [0, 1, 2, 3]
    assert tensor.data_ptr() == place


@pytest.mark.parametrize("stop", [1, 7, ROWS, ROWS + 3])
def test_a_resumed_graph_is_bitwise_the_one_that_never_stopped(make_state: StateMaker, tmp_path: Path, stop: int) -> None:
    plain, first = graphed(make_state(spec=DROPPING)), graphed(make_state(spec=DROPPING))
    expected = losses(plain, (ROWS + 8) * STEP_TOKENS)
    curve = losses(first, stop * STEP_TOKENS)
    save(tmp_path / "file", first)
    resumed = graphed(make_state(spec=DROPPING))
    load(tmp_path / "file", resumed)
    assert curve + losses(resumed, (ROWS + 8) * STEP_TOKENS) == expected
    assert_same(resumed, plain)
    assert resumed.checks() == plain.checks(), "the steps before the interruption are counted too"


def test_a_checkpoint_may_be_loaded_into_a_training_that_has_its_graph(make_state: StateMaker, tmp_path: Path) -> None:
    state = graphed(make_state())
    losses(state, 3 * STEP_TOKENS)
    save(tmp_path / "file", state)
    expected = losses(state, 9 * STEP_TOKENS)[-6:]
    load(tmp_path / "file", state)
    assert losses(state, 9 * STEP_TOKENS) == expected


def test_a_fork_goes_its_own_way(make_state: StateMaker) -> None:
    plain, forked = graphed(make_state(spec=DROPPING)), graphed(make_state(spec=DROPPING))
    expected = losses(plain, 12 * STEP_TOKENS)
    curve = losses(forked, 5 * STEP_TOKENS)
    fork = graphed(fork_cooldown(forked, 4 * STEP_TOKENS))
    cooled = [progress.learning_rate for progress in train(fork)]
    assert cooled == sorted(cooled, reverse=True)
    assert curve + losses(forked, 12 * STEP_TOKENS) == expected


def test_measured_values_stay_for_as_long_as_a_loop_may_wait(make_state: StateMaker) -> None:
    state = graphed(make_state())
    step = state.step
    assert step is not None
    seen, kept = [], []
    for _ in range(ROWS):
        measured = step(state)
        seen.append(measured.tolist())
        kept.append(measured)
        state.tokens += STEP_TOKENS
    assert [measured.tolist() for measured in kept] == seen
    assert len(set(map(tuple, seen))) == ROWS


def test_another_batch_or_fewer_windows_at_once_are_captured_anew(make_state: StateMaker) -> None:
    captured: list[int] = []

    def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        captured.append(1)
        return body

    state, plain = make_state(), eager(make_state())
    state.step = GraphStep(record=record)
    found = losses(state, 2 * STEP_TOKENS)
    assert len(captured) == 1
    state.micro_windows = 2
    found += losses(state, 4 * STEP_TOKENS)
    assert len(captured) == 2
    expected = losses(plain, 4 * STEP_TOKENS)
    for one in (state, plain):
        one.settings = tiny_settings(batch_tokens=2 * CONTEXT)
    found += losses(state, 5 * STEP_TOKENS)
    assert len(captured) == 3
    assert found == pytest.approx(expected + losses(plain, 5 * STEP_TOKENS), rel=1e-3)


def test_a_capture_that_fails_gives_way_to_the_plain_step_and_says_so(make_state: StateMaker) -> None:
    def refuse(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    plain, state = eager(make_state(spec=DROPPING)), make_state(spec=DROPPING)
    state.step = GraphStep(record=refuse)
    with pytest.warns(RuntimeWarning, match="goes a slower way, no graph: RuntimeError: operation not permitted"):
        found = losses(state, 4 * STEP_TOKENS)
    assert found == losses(plain, 4 * STEP_TOKENS)
    assert_same(state, plain)
    reason = "no graph: RuntimeError: operation not permitted when stream is capturing"
    assert state.checks()["training path"] == f"eager 4 steps ({reason})"


def test_compiled_blocks_are_counted_as_such(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(Block, "compile", lambda self, **options: made.append(self))
    remembered: list[int] = []
    state = make_state()
    state.step = GraphStep(way=Way(compiled=True), record=again, on_compiled=lambda: remembered.append(1))
    assert losses(state, 3 * STEP_TOKENS) == losses(graphed(make_state()), 3 * STEP_TOKENS)
    assert state.checks()["training path"] == "graph+compile 3 steps"
    assert len(made) == 2
    assert not {id(block) for block in made} & {id(block) for block in state.model.blocks}, "only those that train"
    assert remembered == [1]


def test_blocks_that_do_not_compile_or_compute_something_else_are_left_as_they_are(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Block, **options: object) -> None:
        raise RuntimeError("no compiler here")

    def spoil(self: Block, **options: object) -> None:
        self.register_forward_hook(lambda module, inputs, output: output.roll(1, -1))

    expected = losses(graphed(make_state()), 3 * STEP_TOKENS)
    for compile_, reason in ((fail, "RuntimeError: no compiler here"), (spoil, "ArithmeticError: the gradient differs")):
        state = make_state()
        state.step = GraphStep(way=Way(compiled=True), record=again)
        monkeypatch.setattr(Block, "compile", compile_)
        with pytest.warns(RuntimeWarning, match="no compiled blocks"):
            found = losses(state, 3 * STEP_TOKENS)
        assert found == expected
        assert f"graph 3 steps (no compiled blocks: {reason}" in state.checks()["training path"]


def give_loss(monkeypatch: pytest.MonkeyPatch, loss: LossInPlace) -> None:
    """As if it were the kernel of this device."""
    for module in ("graphs", "program"):
        monkeypatch.setattr(f"autonas.training.{module}.best_loss", lambda device: loss)


def broken(logits: Tensor, targets: Tensor, smoothing: float, share: float) -> Tensor:
    raise RuntimeError("no host compiler")


def test_a_fused_loss_that_fails_gives_way_to_the_plain_one_and_keeps_the_graph(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = losses(graphed(make_state()), 3 * STEP_TOKENS)
    give_loss(monkeypatch, broken)
    state = make_state()
    state.step = GraphStep(record=again)
    with pytest.warns(RuntimeWarning, match="no fused loss"):
        assert losses(state, 3 * STEP_TOKENS) == expected
    reason = "no fused loss: RuntimeError: no host compiler"
    assert state.checks()["training path"] == f"graph without triton 3 steps ({reason})"


def test_what_is_given_up_on_the_way_to_the_plain_step_is_all_said(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise RuntimeError("no capture today")

    give_loss(monkeypatch, broken)
    monkeypatch.setattr(Block, "compile", lambda self, **options: None)
    state = make_state()
    state.step = GraphStep(way=Way(compiled=True), record=refuse)
    with pytest.warns(RuntimeWarning):
        assert losses(state, 2 * STEP_TOKENS) == losses(eager(make_state()), 2 * STEP_TOKENS)
    assert state.checks()["training path"] == (
        "eager 2 steps (no compiled blocks: RuntimeError: no host compiler; no fused loss: RuntimeError: no host compiler; "
        "no graph: RuntimeError: no capture today)"
    )


def test_an_operation_without_an_order_costs_the_order_and_not_the_graph(make_state: StateMaker) -> None:
    tried: list[int] = []

    def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError("scatter does not have a deterministic implementation, but you set")
        return body

    state = make_state()
    state.step = GraphStep(record=record)
    with pytest.warns(RuntimeWarning, match="no order of sums"):
        losses(state, 2 * STEP_TOKENS)
    assert set(state.paths) == {"graph+nondeterministic"}


def test_kernels_with_an_order_are_asked_for_strictly_and_only_inside() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    with deterministic(strict=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled(), "attention has an order in the strict mode alone"
        assert not memory.fill_uninitialized_memory
        with deterministic(strict=False):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert memory.fill_uninitialized_memory


def test_attention_is_of_one_family_in_a_step_and_what_it_was_outside(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    kernels: Any = torch.backends.cuda

    def look(logits: Tensor, targets: Tensor, smoothing: float, share: float) -> Tensor:
        seen.append(kernels.cudnn_sdp_enabled())
        assert kernels.flash_sdp_enabled() and kernels.math_sdp_enabled()
        return torch_loss_(logits, targets, smoothing, share)

    before = kernels.cudnn_sdp_enabled()
    give_loss(monkeypatch, look)
    losses(graphed(make_state()), STEP_TOKENS)
    assert seen and not any(seen)
    assert kernels.cudnn_sdp_enabled() == before


def test_a_way_is_known_by_its_name_and_goes_down_only() -> None:
    every = itertools.product((True, False), repeat=4)
    ways = [Way(recorded=a, compiled=b, fused_loss=c, ordered=d) for a, b, c, d in every]
    assert all(way_begun([way.path]) == way for way in ways)
    assert way_begun([]) is None and way_begun(["eager", "native float32"]) is None
    assert way_begun(["graph", "graph+compile"]) == Way()
    assert way_begun(["graph+compile without triton", "graph+nondeterministic"]) == Way(fused_loss=False, ordered=False)


def test_compiled_blocks_are_compared_where_there_is_dropout_too(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = losses(graphed(make_state(spec=DROPPING)), 3 * STEP_TOKENS)
    monkeypatch.setattr(Block, "compile", lambda self, **options: None)
    state = make_state(spec=DROPPING)
    state.step = GraphStep(way=Way(compiled=True), record=again)
    assert losses(state, 3 * STEP_TOKENS) == expected
    assert set(state.paths) == {"graph+compile"}

    def spoil(self: Block, **options: object) -> None:
        self.register_forward_hook(lambda module, inputs, output: output.roll(1, -1))

    monkeypatch.setattr(Block, "compile", spoil)
    state = make_state(spec=DROPPING)
    state.step = GraphStep(way=Way(compiled=True), record=again)
    with pytest.warns(RuntimeWarning, match="the gradient differs"):
        assert losses(state, 3 * STEP_TOKENS) == expected
    assert set(state.paths) == {"graph"}


def test_memory_that_only_the_comparison_lacks_makes_no_smaller_parts(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Block, "compile", lambda self, **options: None)
    monkeypatch.setattr("autonas.training.graphs._gradients", short)
    state = make_state()
    state.step = GraphStep(way=Way(compiled=True), record=again)
    with pytest.warns(RuntimeWarning, match="no memory to compare"):
        losses(state, 2 * STEP_TOKENS)
    assert (set(state.paths), state.shortages, state.micro_windows) == ({"graph"}, 0, None)


@pytest.mark.slow
def test_blocks_that_are_really_compiled_have_the_plain_gradients(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By dynamo and autograd's tracer, with no compiler behind them; one graph for all layers, and more shapes than 8."""
    torch._dynamo.reset()
    traced: list[int] = []

    def count(graph: Any, inputs: Any) -> Any:
        from torch._dynamo.backends.debugging import aot_eager

        traced.append(1)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(Block, "compile", lambda self, **options: nn.Module.compile(self, backend=count, **options))
    for number, width in enumerate((16, 24, 32, 40, 48, 56, 64, 72, 80, 88)):
        spec = tiny_spec(layers=3, width=width)
        plain, state = graphed(make_state(spec=spec)), make_state(spec=spec)
        state.step = GraphStep(way=Way(compiled=True), record=again)
        assert losses(state, STEP_TOKENS) == pytest.approx(losses(plain, STEP_TOKENS), rel=1e-5)
        assert set(state.paths) == {"graph+compile"}, state.checks()
        assert torch.allclose(state.optimizer.flat.gradients, plain.optimizer.flat.gradients, rtol=1e-4, atol=1e-6)
        assert len(traced) == number + 1
    torch._dynamo.reset()


def test_an_error_of_another_kind_that_came_of_too_little_memory_leads_to_smaller_parts(make_state: StateMaker) -> None:
    tried: list[int] = []

    def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        tried.append(1)
        if len(tried) == 1:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            finally:
                raise ValueError("the capture was invalidated")
        return body

    state = make_state()
    state.step = GraphStep(record=record)
    losses(state, 2 * STEP_TOKENS)
    assert (state.shortages, set(state.paths)) == (1, {"graph"})


def test_memory_that_runs_out_in_a_capture_leads_to_smaller_parts(make_state: StateMaker) -> None:
    tried: list[int] = []

    def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        tried.append(1)
        if len(tried) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return body

    plain, state = eager(make_state()), make_state()
    state.step = GraphStep(record=record)
    assert losses(state, 4 * STEP_TOKENS) == pytest.approx(losses(plain, 4 * STEP_TOKENS), rel=1e-4)
    assert state.checks() == {
        "training path": "graph 4 steps",
        "micro-batches": "1 of 4 windows at once, after running out of memory 2 times",
    }


def test_memory_that_is_never_enough_is_a_failure(make_state: StateMaker) -> None:
    def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    state = make_state()
    state.step = GraphStep(record=record)
    with pytest.raises(TrialFailure) as caught:
        losses(state, STEP_TOKENS)
    assert caught.value.kind == "out_of_memory"


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this processor has no bfloat16")
def test_bfloat16_weights_beside_float32_ones_learn_as_well(make_state: StateMaker) -> None:
    exact = losses(eager(make_state()), 60 * STEP_TOKENS)
    state = graphed(make_state(settings=tiny_settings(precision="bfloat16")))
    found = losses(state, 60 * STEP_TOKENS)
    assert found != exact
    assert found[:5] == pytest.approx(exact[:5], abs=0.02)
    assert sum(found[-10:]) == pytest.approx(sum(exact[-10:]), rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in state.model.parameters())
