"""A training loop as one writes it by hand: our module, autocast, fused AdamW, clipping. Eager, on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.bench.trainers import Task
from autonas.bench.trainers.steps import begin, mixed_precision, precision_words, serve_steps
from autonas.bench.turns import Turns
from autonas.model.transformer import build_model


def serve(turns: Turns, task: Task, way: str) -> None:
    device = begin(task)
    words = f"eager, {precision_words(device)}, fused AdamW, clip {task.clip_norm:g}"
    serve_steps(turns, task, make_step(task, device), words)


def make_step(task: Task, device: torch.device, *, compiled: bool = False) -> Callable[[], Tensor]:
    """A function that trains one step of a new model and returns the loss, where it is."""
    torch.manual_seed(0)
    model: Any = build_model(task.spec, 0, device).train()
    weights = list(model.parameters())
    if compiled:
        model = torch.compile(model, mode=task.compile_mode)
    windows, count, shown = task.windows(), task.batch_windows, 0
    betas, smoothing = (task.beta1, task.beta2), task.spec.label_smoothing
    optimizer = torch.optim.AdamW(weights, lr=task.learning_rate, betas=betas, weight_decay=0.0, fused=True)

    def step() -> Tensor:
        nonlocal shown
        batch = torch.from_numpy(windows.take(shown, count))  # (B, T + 1)
        shown += count
        batch = batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch
        optimizer.zero_grad(set_to_none=True)
        with mixed_precision(device):
            logits = model(batch[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten(), label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, task.clip_norm)
        optimizer.step()
        return loss.detach()

    return step
