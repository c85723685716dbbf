"""nanoGPT (github.com/karpathy/nanoGPT): the model and the optimiser of a checkout, in the loop of its train.py.

Its first weights are ours, so that losses can be compared. On a CPU its own script would run in float32 there; here it is
given autocast like everybody else.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autonas.bench.trainers import Task
from autonas.bench.trainers.steps import begin, mixed_precision, precision_words, serve_steps
from autonas.bench.turns import Turns
from autonas.model.transformer import Transformer, build_model


def serve(turns: Turns, task: Task, way: str) -> None:
    assert task.peer_dir is not None
    device = begin(task)
    torch.manual_seed(1337)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True  # as its script
        torch.backends.cudnn.allow_tf32 = True
    library, spec = _load(Path(task.peer_dir)), task.spec
    config = library.GPTConfig(
        block_size=spec.context_length,
        vocab_size=spec.vocab_size,
        n_layer=spec.layers,
        n_head=spec.heads,
        n_embd=spec.width,
        dropout=spec.residual_dropout,
        bias=False,
    )
    raw = library.GPT(config)
    copy_weights(build_model(spec, 0), raw)
    raw.to(device)
    optimizer = raw.configure_optimizers(0.0, task.learning_rate, (task.beta1, task.beta2), device.type)
    model: Any = torch.compile(raw, mode=task.compile_mode) if task.compile else raw
    model.train()
    scaler = torch.amp.GradScaler(device.type, enabled=False)
    batches = _Batches(task, device)
    x, y = batches.get()

    def step() -> Tensor:
        nonlocal x, y
        for group in optimizer.param_groups:
            group["lr"] = task.learning_rate
        with mixed_precision(device):
            _, loss = model(x, y)
        x, y = batches.get()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()  # type: ignore[no-any-return]

    compiled = f"torch.compile mode={task.compile_mode or 'default'}" if task.compile else "eager"
    serve_steps(turns, task, step, f"its model.py and configure_optimizers, {precision_words(device)}, {compiled}, bias=False")


def _load(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def copy_weights(ours: Transformer, theirs: Any) -> None:
    """Give `theirs`, a GPT of the same shapes, the weights of `ours`."""
    parts = theirs.transformer
    parts.wte.weight.copy_(ours.embedding.weight)
    parts.wpe.weight.copy_(ours.position_embedding.weight)
    for mine, its in zip(ours.blocks, parts.h, strict=True):
        block: Any = mine
        its.attn.c_attn.weight.copy_(block.attention.qkv.weight)
        its.attn.c_proj.weight.copy_(block.attention.out.weight)
        its.mlp.c_fc.weight.copy_(block.feed_forward.up.weight)
        its.mlp.c_proj.weight.copy_(block.feed_forward.down.weight)


class _Batches:
    """Its get_batch, with our order of windows in the place of random ones."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._data, self._windows, self._device = task.tokens(), task.windows(), device
        self._count, self._length, self._shown = task.batch_windows, task.spec.context_length, 0

    def get(self) -> tuple[Tensor, Tensor]:
        starts = self._windows.starts(self._shown, self._count)
        self._shown += self._count
        data, length = self._data, self._length
        x = torch.stack([torch.from_numpy(data[i : i + length].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + length].astype(np.int64)) for i in starts])
        if self._device.type == "cuda":
            return x.pin_memory().to(self._device, non_blocking=True), y.pin_memory().to(self._device, non_blocking=True)
        return x.to(self._device), y.to(self._device)
