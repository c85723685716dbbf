"""A step by torch's automatic differentiation: what every device and format can do, and what faster paths are compared with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.model.transformer import Transformer
from autonas.training.optimizers import set_rate
from autonas.training.precision import autocast_dtype
from autonas.training.state import TrainState


class EagerStep:
    """Operation by operation, products in the number format of the settings, everything else in float32."""

    path = "eager"

    def __call__(self, state: TrainState) -> Tensor:
        model, optimizer = state.model, state.optimizer
        if not model.training:
            model.train()
        optimizer.zero_grad()
        batch = take_batch(state)
        with torch.enable_grad(), dropout_stream(state):
            loss = accumulate(model, batch, state.micro_windows, autocast_dtype(state.settings.precision, state.device))
        return torch.stack((loss, update(state)))


def take_batch(state: TrainState) -> Tensor:
    """The windows of the next step (B, T + 1), on the model's device."""
    first = state.tokens // state.model.spec.context_length
    batch = torch.from_numpy(state.windows.take(first, state.step_windows))
    if state.device.type == "cuda":
        return batch.pin_memory().to(state.device, non_blocking=True)
    return batch.to(state.device)


def update(state: TrainState) -> Tensor:
    """Clip the gradients and let the optimizer use them, which filters them where it does; returns the norm they had.

    On a processor, where to look costs nothing, what is not finite is not used: the weights stay those that made it, and it can
    be found out where it began (nonfinite.py).
    """
    norm = clip_(state.optimizer.flat.gradients, state.settings.clip_norm)
    if norm.device.type == "cpu" and not math.isfinite(norm.item()):
        return norm
    set_rate(state.optimizer, state.schedule.over_step(state.tokens, state.step_tokens))
    state.optimizer.step()
    return norm


def clip_(gradients: Tensor, most: float) -> Tensor:
    """Scale `gradients` (n) down to a norm of `most`; returns the norm they had."""
    norm: Tensor = torch.linalg.vector_norm(gradients)
    gradients.mul_((most / (norm + 1e-6)).clamp_(max=1.0))
    return norm


def accumulate(model: Transformer, batch: Tensor, micro_windows: int | None, dtype: torch.dtype | None) -> Tensor:
    """Gradients of the mean loss over `batch` (B, T + 1); returns that loss, detached."""
    total = torch.zeros((), device=batch.device)
    for part in torch.split(batch, micro_windows or len(batch)):
        share = len(part) / len(batch)
        with autocast(batch.device, dtype):
            logits = model(part[:, :-1])  # (B, T, V)
        smoothing = model.spec.label_smoothing
        # In float32: log-probabilities of bfloat16 have two digits.
        loss = F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), label_smoothing=smoothing) * share
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Products in `dtype`, where one is given."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def dropout_stream(state: TrainState) -> Iterator[None]:
    """Dropout of a step is drawn from (seed, tokens) alone; the global random state is afterwards what it was before."""
    spec = state.model.spec
    if not (spec.attention_dropout or spec.residual_dropout):
        yield
        return
    digest = hashlib.blake2b(f"dropout {state.seed} {state.tokens}".encode(), digest_size=8).digest()
    generator = default_generator(state.device)
    before = generator.get_state()
    generator.manual_seed(int.from_bytes(digest, "little"))
    try:
        yield
    finally:
        generator.set_state(before)


def default_generator(device: torch.device) -> torch.Generator:
    """What dropout on `device` draws from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.default_generator
