"""What the trainers share: turns of steps on a clock, and the number format."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from autonas.bench.trainers import FLAGS, Task
from autonas.bench.turns import Block, Turns
from autonas.model.formats import has_bfloat16
from autonas.training.loop import finish_steps


class Stopwatch:
    """Times one turn: `losses` are read at its end, as a loop that logs would, and then the device has finished."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.losses: list[Tensor] = []
        self._begun = time.perf_counter()

    def block(self) -> Block:
        loss = float(torch.stack(self.losses).float().mean())
        finish_steps(self._device)
        return Block(seconds=time.perf_counter() - self._begun, loss=loss)


def serve_steps(turns: Turns, task: Task, step: Callable[[], Tensor], flags: str) -> None:
    """Serve a trainer that is a function of one step, which returns its loss where it is."""
    turns.reply(None)
    for request in turns:
        if request == FLAGS:
            turns.reply(flags)
            continue
        watch = Stopwatch(torch.device(task.device))
        for _ in range(request):
            watch.losses.append(step())
        turns.reply(watch.block())


def begin(task: Task) -> torch.device:
    """Set the threads of this process; the device to train on."""
    torch.set_num_threads(task.threads)
    return torch.device(task.device)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the device computes in it, as ours does by `precision: auto`."""
    return torch.autocast(device.type, torch.bfloat16) if has_bfloat16(device) else nullcontext()


def precision_words(device: torch.device) -> str:
    return "bf16 autocast" if has_bfloat16(device) else "float32"
