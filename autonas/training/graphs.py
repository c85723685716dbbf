"""A whole step as one CUDA graph: launched by one call, where its hundred kernels would wait for the host one by one.

What is captured is program.py's; here it is made ready without changing the training, captured, replayed, and given up for the
plain step where that fails, loudly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
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
        compiled: bool = False,
        record: Callable[[Callable[[], None], torch.device], Replay] | None = None,
        on_compiled: Callable[[], None] = lambda: None,
    ) -> None:
        self._compiled = compiled
        self._record = capture if record is None else record
        self._on_compiled = on_compiled
        self._captured: _Captured | None = None
        self._plain: EagerStep | None = None
        self._suffix = ""

    @property
    def path(self) -> str:
        """ "graph", "graph+compile", with what they lack, or that of the plain step."""
        if self._plain is not None:
            return self._plain.path
        return ("graph+compile" if self._compiled else "graph") + self._suffix

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
        """The step as a graph; None, with the reason in the state, where that cannot be.

        Raises:
            MemoryError, RuntimeError: there was not enough memory.
        """
        try:
            return self._try(state)
        except Exception as error:  # whatever is missing here, the training can go on without it
            if is_out_of_memory(error):
                raise
            lines = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {lines[0][:200]}"
        if self._compiled:
            self._compiled = False
            _say(state, f"no compiled blocks: {reason}")
            return self._capture(state)
        self._plain = EagerStep()
        _say(state, f"no graph: {reason}")
        return None

    def _try(self, state: TrainState) -> _Captured:
        program = StepProgram(state, compiled=self._compiled)
        on_cuda = state.device.type == "cuda"
        self._suffix = " without triton" if on_cuda and best_loss(state.device) is torch_loss_ else ""
        device = torch.cuda.device(state.device) if on_cuda else nullcontext()
        with device, dropout_stream(state), _deterministic() if on_cuda else nullcontext():
            program.table.prepare(state)
            with unchanged(program.lasting()):
                warm_up(program.run, state.device)
            if self._compiled:
                _check_compiled(program, state)
                self._on_compiled()
            return _Captured(program=program, replay=self._record(program.run, state.device), made_for=_made_for(state))


def _check_compiled(program: StepProgram, state: TrainState) -> None:
    """See that a step of compiled blocks finds the gradients that torch's own operations find.

    Raises:
        ArithmeticError: it does not. Masks of dropout are drawn in another way, so where there is dropout nothing is compared.
    """
    if state.model.spec.attention_dropout or state.model.spec.residual_dropout:
        return
    plain = StepProgram(state)
    plain.table.prepare(state)
    gradients = []
    for one in (program, plain):
        with unchanged(one.lasting()):
            one.run()
        gradients.append(state.optimizer.flat.gradients.clone())
    found, expected = gradients
    off = float((found - expected).norm() / expected.norm())
    if not off <= COMPILED_TOLERANCE:  # so that a NaN fails
        raise ArithmeticError(f"the gradient differs from the plain one by {off:.1%}")


def capture(body: Callable[[], None], device: torch.device) -> Replay:
    """`body`'s work on `device` as a graph that does it again when called; now it is not done."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on with calls that a capture does not allow: they are no part of it.
    with torch.cuda.graph(graph, stream=capture_stream(device), capture_error_mode="thread_local"):
        body()
    return graph.replay


def warm_up(body: Callable[[], None], device: torch.device) -> None:
    """Run `body` a few times, on a stream of its own as captures need it."""
    if device.type != "cuda":
        for _ in range(WARM_UPS):
            body()
        return
    side, here = torch.cuda.Stream(device), torch.cuda.current_stream(device)  # type: ignore[no-untyped-call]
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
def _deterministic() -> Iterator[None]:
    """Kernels whose sums have an order, for what is captured inside: attention's backward pass has none by default.

    So a resumed training is bitwise the one that never stopped. What has no such kernel is left as it is.
    """
    mode = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # would be captured too
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.set_deterministic_debug_mode("warn")
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        memory.fill_uninitialized_memory = fill


def _made_for(state: TrainState) -> tuple[object, ...]:
    """What a captured step takes for granted."""
    moments = (value.data_ptr() for values in state.optimizer.state.values() for value in values.values())
    return (state.step_windows, state.micro_windows, state.settings, state.optimizer.flat.weights.data_ptr(), *moments)


def _say(state: TrainState, reason: str) -> None:
    state.slower_because = reason
    warnings.warn(f"training {state.model.spec.fingerprint} goes a slower way, {reason}", RuntimeWarning, stacklevel=2)
