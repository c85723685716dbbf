"""A step that learns from a teacher's predictions beside the text (Hinton et al., arXiv 1503.02531, section 2).

Shapes: B windows, T context, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.training.precision import autocast_dtype
from autonas.training.state import TrainState
from autonas.training.steps import autocast, dropout_stream, take_batch, update


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """What a student hears: `logits` of tokens (B, T) -> (B, T, V), which need no gradients."""

    logits: Callable[[Tensor], Tensor]
    weight: float
    temperature: float


class DistilledStep:
    """As `EagerStep`, with the loss `(1 - weight) * text + weight * temperature² * KL(teacher ‖ student)`.

    The teacher's part is measured against the teacher's own entropy: it is 0 for a student that says the same. Label smoothing
    is of the text's part alone.
    """

    path = "eager distilled"

    def __init__(self, teaching: Teaching) -> None:
        self._teaching = teaching

    def __call__(self, state: TrainState) -> Tensor:
        model, optimizer = state.model, state.optimizer
        if not model.training:
            model.train()
        optimizer.zero_grad()
        batch = take_batch(state)
        dtype = autocast_dtype(state.settings.precision, state.device)
        total = torch.zeros((), device=batch.device)
        with torch.enable_grad(), dropout_stream(state):
            for part in torch.split(batch, state.micro_windows or len(batch)):
                share = len(part) / len(batch)
                with autocast(batch.device, dtype):
                    with torch.no_grad():
                        taught = self._teaching.logits(part[:, :-1])
                    logits = model(part[:, :-1])  # (B, T, V)
                text = F.cross_entropy(
                    logits.flatten(0, 1).float(), part[:, 1:].flatten(), label_smoothing=model.spec.label_smoothing
                )
                weight = self._teaching.weight
                loss = (1.0 - weight) * text + weight * divergence(logits, taught, self._teaching.temperature)
                (loss * share).backward()  # type: ignore[no-untyped-call]
                total += text.detach() * share
        return torch.stack((total, update(state)))


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`temperature² * KL(teacher ‖ student)` of logits (B, T, V), mean nats per token; gradients keep their size."""
    said = F.log_softmax(student.flatten(0, 1).float() / temperature, dim=-1)
    taught = F.log_softmax(teacher.flatten(0, 1).float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(said, taught, reduction="batchmean", log_target=True)
