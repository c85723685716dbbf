"""One training as a generator of progress. Where the rate goes is in schedule.py, what is kept on disk in checkpoint.py.

Everything that happens in a step follows from (weights, moments, tokens shown, seeds): there is no hidden random state, so that
a resumed training, a fork and a replay are bitwise what they would have been, on one machine with the same number of threads.

Shapes: B windows, T context length, V vocabulary.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.data.batches import Windows
from autonas.errors import RecipeError, TrialFailure
from autonas.model.transformer import Transformer
from autonas.training.allocator import keep_freed_memory
from autonas.training.guards import LossGuard, memory_guard
from autonas.training.optimizers import make_optimizer, moments, resolve_settings, set_moments, set_rate
from autonas.training.precision import autocast_dtype
from autonas.training.schedule import Schedule
from autonas.trial import TrainingSettings

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


@dataclass(slots=True, kw_only=True)
class TrainState:
    """A training between two steps. `tokens` counts the tokens shown, and with them the place in `windows` and in dropout."""

    model: Transformer
    optimizer: torch.optim.AdamW
    windows: Windows
    settings: TrainingSettings  # with what the spec names already in place
    schedule: Schedule
    guard: LossGuard
    seed: int  # of dropout
    data_fingerprint: str = ""
    tokens: int = 0

    @property
    def step_windows(self) -> int:
        return self.settings.batch_tokens // self.model.spec.context_length

    @property
    def step_tokens(self) -> int:
        """Tokens of one step: `batch_tokens` rounded down to whole windows."""
        return self.step_windows * self.model.spec.context_length

    def whole_steps(self, tokens: int) -> int:
        """`tokens` rounded up to whole steps: where a training until `tokens` really ends."""
        return -(-tokens // self.step_tokens) * self.step_tokens


def new_state(
    model: Transformer,
    windows: Windows,
    settings: TrainingSettings,
    *,
    seed: int,
    total_tokens: int | None = None,
    data_fingerprint: str = "",
) -> TrainState:
    """The state of a training that has not begun.

    `total_tokens` is the length of a cosine schedule; wsd does not need it.

    Raises:
        RecipeError: a batch holds no whole window.
        DeviceError: a number format that the model's device does not have.
    """
    spec = model.spec
    settings = resolve_settings(spec, settings)
    assert windows.tokens_per_window == spec.context_length, (windows.tokens_per_window, spec.context_length)
    if settings.batch_tokens < spec.context_length:
        raise RecipeError(
            f"batch_tokens is {settings.batch_tokens}, less than one window of context_length {spec.context_length}. "
            f"Give at least {spec.context_length}."
        )
    autocast_dtype(settings.precision, _device(model))
    schedule = Schedule(
        warmup_tokens=settings.warmup_tokens,
        final_share=settings.final_rate_share,
        kind=settings.schedule,
        total_tokens=total_tokens if settings.schedule == "cosine" else None,
    )
    return TrainState(
        model=model,
        optimizer=make_optimizer(model, spec, settings),
        windows=windows,
        settings=settings,
        schedule=schedule,
        guard=LossGuard(spec.vocab_size, settings.warmup_tokens),
        seed=seed,
        data_fingerprint=data_fingerprint,
    )


def fork_cooldown(state: TrainState, cooldown_tokens: int) -> TrainState:
    """A copy of `state` that cools down over the next `cooldown_tokens`, rounded up to whole steps; `train` it to its end.

    The trunk is not touched. Both read the same windows from here on, so that the cooled model has seen exactly the first
    `fork.tokens` tokens of the stream, and a trunk that goes on later skips none.
    """
    model = copy.deepcopy(state.model)
    optimizer = make_optimizer(model, model.spec, state.settings)
    set_moments(model, optimizer, dict(moments(state.model, state.optimizer)))
    guard = LossGuard(model.spec.vocab_size, state.settings.warmup_tokens)
    guard.restore(state.guard.state())
    return TrainState(
        model=model,
        optimizer=optimizer,
        windows=state.windows,
        settings=state.settings,
        schedule=state.schedule.cool(state.tokens, state.whole_steps(cooldown_tokens)),
        guard=guard,
        seed=state.seed,
        data_fingerprint=state.data_fingerprint,
        tokens=state.tokens,
    )


def train(
    state: TrainState,
    *,
    until_tokens: int | None = None,
    stop: Callable[[], bool] | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    micro_windows: int | None = None,
) -> Iterator[Progress]:
    """Train until `until_tokens` in all (rounded up to whole steps), or to the end of the schedule; yields between steps.

    At every yield `state` may be saved, forked or left for good. `stop` is asked before every step; `deadline` is a value of
    `clock`, which also tells the speed and may leave out what is no training. `micro_windows`: at most so many windows go
    through the model at once; the gradients are the same but for rounding and for the masks of dropout.

    Raises:
        TrialFailure: "preempted" or "timeout", with `state` as good as at a yield; "nan", "diverged" or "out_of_memory".
    """
    target = state.schedule.end_tokens if until_tokens is None else until_tokens
    assert target is not None, "a stable phase has no end of its own: give until_tokens"
    end = state.whole_steps(target)
    device = _device(state.model)
    if device.type == "cpu":
        keep_freed_memory()
    steps_per_read = STEPS_PER_READ.get(device.type, ACCELERATOR_STEPS_PER_READ)
    place = f"training {state.model.spec.fingerprint}"
    pending: list[tuple[int, Tensor]] = []
    since = clock()
    while state.tokens < end:
        failure = _interruption(stop, deadline, clock)
        if failure is None:
            with memory_guard(place):
                measured = _step(state, device, micro_windows)
            state.tokens += state.step_tokens
            pending.append((state.tokens, measured))
        if pending and (failure is not None or len(pending) == steps_per_read or state.tokens >= end):
            values = _read(state, pending)
            progress = _progress(state, values, clock() - since)
            pending = []
            yield progress
            since = clock()
        if failure is not None:
            raise failure


def _interruption(stop: Callable[[], bool] | None, deadline: float | None, clock: Callable[[], float]) -> TrialFailure | None:
    if stop is not None and stop():
        return TrialFailure("preempted", "asked to stop")
    if deadline is not None and clock() >= deadline:
        return TrialFailure("timeout", "the time limit was reached")
    return None


def _read(state: TrainState, pending: list[tuple[int, Tensor]]) -> list[list[float]]:
    """Wait for the pending steps and judge each of them; their losses and gradient norms."""
    values: list[list[float]] = torch.stack([measured for _, measured in pending]).tolist()
    for (tokens, _), (loss, norm) in zip(pending, values, strict=True):
        state.guard.check(tokens, loss, norm)
    return values


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


def _step(state: TrainState, device: torch.device, micro_windows: int | None) -> Tensor:
    """One update of the weights; returns (loss, gradient norm) where they are, so that nothing waits for them."""
    model, optimizer = state.model, state.optimizer
    if not model.training:
        model.train()
    optimizer.zero_grad(set_to_none=True)
    first = state.tokens // state.model.spec.context_length
    batch = torch.from_numpy(state.windows.take(first, state.step_windows))  # (B, T + 1)
    if device.type != "cpu":
        batch = batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)
    with torch.enable_grad(), _dropout_stream(state, device):
        loss = _accumulate(model, batch, micro_windows, autocast_dtype(state.settings.precision, device))
    # From the groups, since walking the modules for them takes as long as the norm of a small model.
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, state.settings.clip_norm)
    set_rate(optimizer, state.schedule.over_step(state.tokens, state.step_tokens))
    optimizer.step()
    # Gradients are not part of a state: neither a fork nor a checkpoint carries them.
    optimizer.zero_grad(set_to_none=True)
    return torch.stack((loss, norm))


def _accumulate(model: Transformer, batch: Tensor, micro_windows: int | None, dtype: torch.dtype | None) -> Tensor:
    """Gradients of the mean loss over `batch` (B, T + 1); returns that loss, detached."""
    total = torch.zeros((), device=batch.device)
    for part in torch.split(batch, micro_windows or len(batch)):
        share = len(part) / len(batch)
        with _autocast(batch.device, dtype):
            logits = model(part[:, :-1])  # (B, T, V)
        smoothing = model.spec.label_smoothing
        # In float32: log-probabilities of bfloat16 have two digits.
        loss = F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), label_smoothing=smoothing) * share
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def _dropout_stream(state: TrainState, device: torch.device) -> Iterator[None]:
    """Dropout of a step is drawn from (seed, tokens) alone; the global random state is afterwards what it was before."""
    spec = state.model.spec
    if not (spec.attention_dropout or spec.residual_dropout):
        yield
        return
    digest = hashlib.blake2b(f"dropout {state.seed} {state.tokens}".encode(), digest_size=8).digest()
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int.from_bytes(digest, "little"))
        yield


def finish_steps(device: torch.device) -> None:
    """Wait until the device has done what it was given: steps are begun ahead of it, and it may be asked to stand still."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device(model: Transformer) -> torch.device:
    return next(model.parameters()).device
