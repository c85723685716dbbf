"""Before a fast path may train a model it has to agree with the plain one on that very model, and must not look ahead.

Once for each training, on one window: tens of milliseconds for a small model. A path that fails is not taken, and why is
recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.model.transformer import eval_mode
from autonas.training.native import NativeStep
from autonas.training.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """`loss`: mean difference of the tokens' losses, nats. `gradient`: norm of the difference over the norm."""

    loss: float
    gradient: float


# Measured on 24 untrained and trained models of widths 16 to 256: at most .007 and .7 % in bfloat16, 4e-7 and .05 % in float32.
TOLERANCES: Final = {
    torch.bfloat16: Tolerance(loss=0.03, gradient=0.05),
    torch.float32: Tolerance(loss=1e-4, gradient=1e-3),
    torch.float64: Tolerance(loss=1e-9, gradient=1e-8),
}


def doubt(state: TrainState, step: NativeStep) -> str:
    """Why `step` must not train this model; nothing when it may. Leaves weights, moments and the random state alone."""
    context = state.model.spec.context_length
    window = torch.from_numpy(state.windows.take(state.tokens // context, 1))  # (1, T + 1)
    flat = state.optimizer.flat
    losses = step.prove(state, window).clone()  # (T)
    gradient = flat.gradients.clone()
    flat.gradients.zero_()
    with eval_mode(state.model), torch.enable_grad():
        logits = state.model(window[:, :-1])[0]
        plain = F.cross_entropy(logits, window[0, 1:], reduction="none")
        plain.mean().backward()  # type: ignore[no-untyped-call]
    expected = flat.gradients.clone()
    flat.gradients.zero_()
    allowed = TOLERANCES[step.format]
    off = float((losses - plain.detach()).abs().mean())
    turned = float((gradient - expected).norm() / expected.norm().clamp(min=1e-30))
    # Written so that a NaN fails.
    if not off <= allowed.loss:
        return f"{step.path}: losses differ from the plain path's by {off:.2g} nats"
    if not turned <= allowed.gradient:
        return f"{step.path}: the gradient differs from the plain path's by {turned:.1%}"
    return _leak(state, step, window, losses)


def _leak(state: TrainState, step: NativeStep, window: Tensor, losses: Tensor) -> str:
    """Whether a loss depends on tokens behind its target: the second half of the window is replaced."""
    middle = window.shape[1] // 2
    if middle < 2:
        return ""
    changed = window.clone()
    changed[:, middle:] = (changed[:, middle:] + 1) % state.model.spec.vocab_size
    again = step.prove(state, changed)
    state.optimizer.flat.gradients.zero_()
    seen = middle - 1  # losses of targets before the first token that was replaced
    most = float((again[:seen] - losses[:seen]).abs().max())
    return "" if most <= 1e-6 else f"{step.path}: a loss changes by {most:.2g} nats with tokens that come later"
