"""A whole step as one CUDA graph: launched by one call, where its hundred kernels would wait for the host one by one.

What is captured is program.py's; here it is made ready without changing the training, captured and replayed. What fails is
given up by and by, loudly: an order of sums where that is what is missing, compiled blocks, the fused loss, the graph. On a
processor nothing is captured (`Way.recorded`).
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.utils.deterministic
from torch import Tensor

from autonas.training.cross_entropy import best_loss, torch_loss_
from autonas.training.guards import is_out_of_memory
from autonas.training.optimizers import set_rate
from autonas.training.program import StepProgram
from autonas.training.state import TrainState
from autonas.training.steps import EagerStep, dropout_stream
from autonas.training.streams import capture_stream

Replay = Callable[[], object]
WARM_UPS = 2  # libraries make their workspaces, Triton and inductor their kernels: none of that may happen in a capture

COMPILED_TOLERANCE = 0.1  # of the norm: what bfloat16 allows two ways of summing (proof.py)

_SHAPES = 1 << 20  # of blocks that one process may compile: dynamo's own limit is 8, and a search goes through hundreds


def order_products() -> None:
    """Let cuBLAS repeat itself bitwise, with workspaces of its own. To be called before the process's first product on CUDA."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a step is made that is the same calls on the same memory each time."""

    recorded: bool = True  # as a CUDA graph
    compiled: bool = False
    fused_loss: bool = True  # where there is Triton
    ordered: bool = True  # only kernels whose sums have an order

    @property
    def path(self) -> str:
        """Its name in `TrainState.paths`."""
        compiled, ordered = "+compile" if self.compiled else "", "" if self.ordered else "+nondeterministic"
        return f"{'graph' if self.recorded else 'program'}{compiled}{ordered}{'' if self.fused_loss else ' without triton'}"


_WAYS = {
    way.path: way
    for way in (
        Way(recorded=recorded, compiled=compiled, fused_loss=fused_loss, ordered=ordered)
        for recorded, compiled, fused_loss, ordered in itertools.product((True, False), repeat=4)
    )
}


def way_begun(paths: Iterable[str]) -> Way | None:
    """The way to which a training that took `paths` has come down; None where it has no step by a graph."""
    begun = [_WAYS[path] for path in paths if path in _WAYS]
    if not begun:
        return None
    return Way(
        recorded=all(way.recorded for way in begun),
        compiled=all(way.compiled for way in begun),
        fused_loss=all(way.fused_loss for way in begun),
        ordered=all(way.ordered for way in begun),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    program: StepProgram
    replay: Replay
    made_for: tuple[object, ...]


class GraphStep:
    """Replays the steps of one training; captures again when the batch, the windows at once or the weights' place change.

    `record` turns device work into something that repeats it, and is a parameter so that all else can be tested without a GPU.
    """

    def __init__(
        self,
        *,
        way: Way | None = None,
        record: Callable[[Callable[[], None], torch.device], Replay] | None = None,
        on_compiled: Callable[[], None] = lambda: None,
    ) -> None:
        self._way = way or Way()
        self._record = record or (capture if self._way.recorded else _as_it_is)
        self._on_compiled = on_compiled
        self._captured: _Captured | None = None
        self._plain: EagerStep | None = None

    @property
    def path(self) -> str:
        """Of the way that is left, or of the plain step."""
        return self._way.path if self._plain is None else self._plain.path

    def __call__(self, state: TrainState) -> Tensor:
        if self._plain is None and (self._captured is None or self._captured.made_for != _made_for(state)):
            self._captured = None  # its memory first
            self._captured = self._capture(state)
        if self._captured is None:
            assert self._plain is not None
            return self._plain(state)
        table = self._captured.program.table
        table.prepare(state)
        with dropout_stream(state):
            self._captured.replay()
        set_rate(state.optimizer, state.schedule.over_step(state.tokens, state.step_tokens))  # for who asks
        return table.advance(state)

    def _capture(self, state: TrainState) -> _Captured | None:
        """The step as a graph; None where that cannot be. What was given up for it is in the state, with the reason.

        Raises:
            MemoryError, RuntimeError: there was not enough memory.
        """
        if state.device.type == "cuda" and not _fuses(state):
            self._way = replace(self._way, fused_loss=False)
        while self._plain is None:
            try:
                return self._try(state)
            except Exception as error:  # whatever is missing here, the training can go on without it
                if is_out_of_memory(error):
                    if isinstance(error, MemoryError | RuntimeError):
                        raise
                    raise torch.OutOfMemoryError(str(error)) from error
                lines = str(error).strip().splitlines() or [""]
                reason = f"{type(error).__name__}: {lines[0][:200]}"
                unordered = isinstance(error, RuntimeError) and "deterministic" in str(error).lower()
            # Only here: the error held on to what the step had allocated.
            self._give_up(state, reason, unordered)
        return None

    def _give_up(self, state: TrainState, reason: str, unordered: bool) -> None:
        """Come down to the next way. `unordered`: what failed was to do without kernels whose sums have no order."""
        if unordered and self._way.ordered:
            self._way, given_up = replace(self._way, ordered=False), "no order of sums"
        elif self._way.compiled:
            self._way, given_up = replace(self._way, compiled=False), "no compiled blocks"
        elif self._way.fused_loss and _fuses(state):
            self._way, given_up = replace(self._way, fused_loss=False), "no fused loss"
        else:
            self._plain, given_up = EagerStep(), "no graph"
        _say(state, f"{given_up}: {reason}")

    def _try(self, state: TrainState) -> _Captured:
        way, on_cuda = self._way, state.device.type == "cuda"
        program = StepProgram(state, compiled=way.compiled, fused_loss=way.fused_loss)
        device = torch.cuda.device(state.device) if on_cuda else nullcontext()
        ordered = deterministic(strict=way.ordered) if on_cuda else nullcontext()
        with device, dropout_stream(state), ordered, _compiling() if way.compiled else nullcontext():
            program.table.prepare(state)
            with unchanged(program.lasting()):
                warm_up(program.run, state.device)
            if way.compiled:
                _check_compiled(program, state, way)
                self._on_compiled()
            return _Captured(program=program, replay=self._record(program.run, state.device), made_for=_made_for(state))


def _fuses(state: TrainState) -> bool:
    return best_loss(state.device) is not torch_loss_


def _check_compiled(program: StepProgram, state: TrainState, way: Way) -> None:
    """See that a step of compiled blocks finds the gradients that torch's own operations find.

    A compiler draws masks of dropout in a way of its own, so where there is dropout both are made anew without it.

    Raises:
        ArithmeticError: it does not, or there is no memory to see it: that of the training itself may well be enough.
    """
    try:
        if state.model.spec.attention_dropout or state.model.spec.residual_dropout:
            program = StepProgram(state, compiled=True, fused_loss=way.fused_loss, dropout=False)
        plain = StepProgram(state, fused_loss=way.fused_loss, dropout=False)
        found, expected = (_gradients(one, state) for one in (program, plain))
        off = float((found - expected).norm() / expected.norm())
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        off = None
    # Out here, where no lack of memory is what led to it.
    if off is None:
        raise ArithmeticError("there is no memory to compare the gradient with the plain one")
    if not off <= COMPILED_TOLERANCE:  # so that a NaN fails
        raise ArithmeticError(f"the gradient differs from the plain one by {off:.1%}")


def _gradients(program: StepProgram, state: TrainState) -> Tensor:
    """Those of the state's next step (n), which is not taken."""
    program.table.prepare(state)
    with unchanged(program.lasting()):
        program.run()
    return state.optimizer.flat.gradients.clone()


@contextmanager
def _compiling() -> Iterator[None]:
    """Let dynamo compile another shape of block, however many there were, and warn of nothing that is its own."""
    import torch._dynamo  # a second, which only this needs

    limits = torch._dynamo.config.patch(recompile_limit=_SHAPES, accumulated_recompile_limit=_SHAPES)
    with limits, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def capture(body: Callable[[], None], device: torch.device) -> Replay:
    """`body`'s work on `device` as a graph that does it again when called; now it is not done."""
    graph = torch.cuda.CUDAGraph()
    # The stream from here again after a capture that fails: torch then leaves its own in place. Other threads may go on with
    # calls that a capture does not allow: they are no part of it.
    here = torch.cuda.stream(torch.cuda.current_stream(device))
    with here, torch.cuda.graph(graph, stream=capture_stream(device), capture_error_mode="thread_local"):
        body()
    return graph.replay


def _as_it_is(body: Callable[[], None], device: torch.device) -> Replay:
    return body


def warm_up(body: Callable[[], None], device: torch.device) -> None:
    """Run `body` a few times, on the stream of the capture: what libraries keep for a stream is made before it."""
    if device.type != "cuda":
        for _ in range(WARM_UPS):
            body()
        return
    side, here = capture_stream(device), torch.cuda.current_stream(device)
    side.wait_stream(here)
    try:
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                body()
    finally:
        here.wait_stream(side)
        torch.cuda.synchronize(device)


@contextmanager
def unchanged(tensors: list[Tensor]) -> Iterator[None]:
    """Give `tensors` afterwards the values that they had, in the same place, however the block ends."""
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


@contextmanager
def deterministic(*, strict: bool) -> Iterator[None]:
    """Kernels whose sums have an order, for what is captured inside: attention's backward pass has none by default.

    So a resumed training is bitwise the one that never stopped. What has no such kernel raises a RuntimeError. Where that is
    not `strict`, what has none is left as it is, and so is attention: its kernels ask for the strict mode.
    """
    mode = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # would be captured too
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.set_deterministic_debug_mode("error" if strict else "warn")
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        memory.fill_uninitialized_memory = fill


def _made_for(state: TrainState) -> tuple[object, ...]:
    """What a captured step takes for granted."""
    moments = (value.data_ptr() for values in state.optimizer.state.values() for value in values.values())
    return (state.step_windows, state.micro_windows, state.settings, state.optimizer.flat.weights.data_ptr(), *moments)


def _say(state: TrainState, reason: str) -> None:
    if reason not in state.slower_because:
        state.slower_because = "; ".join(filter(None, (state.slower_because, reason)))
    warnings.warn(f"training {state.model.spec.fingerprint} goes a slower way, {reason}", RuntimeWarning, stacklevel=2)
