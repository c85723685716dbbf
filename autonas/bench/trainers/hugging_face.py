"""Hugging Face's Trainer: with its defaults on our module, tuned as well as we know how, and on its own Llama.

The Trainer owns its loop, so a callback waits for turns between two of its steps.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from autonas.bench.llama import to_llama
from autonas.bench.trainers import FLAGS, Task
from autonas.bench.trainers.steps import Stopwatch, begin
from autonas.bench.turns import NotMeasured, Turns
from autonas.model.formats import has_bfloat16
from autonas.model.transformer import Transformer, build_model
from autonas.training.allocator import keep_freed_memory

_NUM_WINDOWS = 1 << 18  # of an epoch of the Trainer: more than a bench ever shows


def serve(turns: Turns, task: Task, way: str) -> None:
    device = begin(task)
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        raise NotMeasured("the Trainer would use every GPU that it sees; set CUDA_VISIBLE_DEVICES to one")
    ours = build_model(task.spec, 0, device)
    model: nn.Module = to_llama(ours) if way == "llama" else _WithLoss(ours, logits=way == "default")
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        flags = {**trainer_flags(task, device), **(_tuned(task, device) if way == "tuned" else {})}
        windows = _Starts(task) if way == "tuned" else _Windows(task, shift=way == "llama")
        trainer = _Trainer(
            model=model,
            args=TrainingArguments(output_dir=folder, **flags),
            train_dataset=windows,
            data_collator=windows.collate if isinstance(windows, _Starts) else None,
        )
        trainer.remove_callback(PrinterCallback)  # it would print on stdout
        words = f"{', '.join(f'{name}={value}' for name, value in flags.items())}; all else default"
        # Not of the Trainer, and worth more than its own options on a CPU: what MALLOC_MMAP_THRESHOLD_ in the environment does.
        if way == "tuned" and device.type == "cpu" and keep_freed_memory():
            words += "; glibc told to keep freed memory"
        trainer.add_callback(TakesTurns(turns, trainer, device, words))
        with contextlib.suppress(NoMoreTurns):
            trainer.train()


def trainer_flags(task: Task, device: torch.device) -> dict[str, Any]:
    """What makes it train the same, and not write or report."""
    return {
        "per_device_train_batch_size": task.batch_windows,
        "max_steps": 1_000_000,
        "learning_rate": task.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "adam_beta1": task.beta1,
        "adam_beta2": task.beta2,
        "max_grad_norm": task.clip_norm,
        "optim": "adamw_torch_fused",
        "bf16": has_bfloat16(device),
        "use_cpu": device.type == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device.type == "cuda",
    }


def _tuned(task: Task, device: torch.device) -> dict[str, Any]:
    """No logits returned, whole batches gathered at once, nothing looked at in a step, the model compiled."""
    flags: dict[str, Any] = {"logging_strategy": "no", "logging_nan_inf_filter": False}
    if task.compile:
        flags["torch_compile"] = True
        if task.compile_mode is not None:
            flags["torch_compile_mode"] = task.compile_mode
    return flags


class _WithLoss(nn.Module):
    """Our module as the Trainer wants it: the loss comes out of the forward pass."""

    def __init__(self, model: Transformer, *, logits: bool) -> None:
        super().__init__()
        self.model, self._logits = model, logits

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(input_ids)  # (B, T, V)
        smoothing = self.model.spec.label_smoothing
        loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), label_smoothing=smoothing)
        return {"loss": loss, "logits": logits} if self._logits else {"loss": loss}


class _Windows(Dataset[dict[str, Tensor]]):
    """Packed windows in our order, as views of one tensor: the cheapest items that the default collator takes."""

    def __init__(self, task: Task, *, shift: bool) -> None:
        self._tokens = torch.from_numpy(task.tokens().astype("int64"))
        self._starts = task.windows().starts(0, _NUM_WINDOWS).tolist()
        self._length, self._shift = task.spec.context_length, shift

    def __len__(self) -> int:
        return _NUM_WINDOWS

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        start, length = self._starts[number], self._length
        item = {"input_ids": self._tokens[start : start + length], "labels": self._tokens[start + 1 : start + length + 1]}
        # Llama shifts labels itself and would lose the last target; these it takes as they are.
        return {**item, "shift_labels": item["labels"]} if self._shift else item


class _Starts(Dataset[int]):
    """Where windows start; `collate` gathers a whole batch at once."""

    def __init__(self, task: Task) -> None:
        self._tokens = torch.from_numpy(task.tokens().astype("int64"))
        self._starts = task.windows().starts(0, _NUM_WINDOWS).tolist()
        self._offsets = torch.arange(task.spec.context_length + 1)

    def __len__(self) -> int:
        return _NUM_WINDOWS

    def __getitem__(self, number: int) -> int:
        return int(self._starts[number])

    def collate(self, starts: list[int]) -> dict[str, Tensor]:
        batch = self._tokens[torch.tensor(starts)[:, None] + self._offsets]  # (B, T + 1)
        return {"input_ids": batch[:, :-1].contiguous(), "labels": batch[:, 1:].contiguous()}


class _Trainer(Trainer):
    """In our order, and with its losses kept for the end of the turn."""

    watch: Stopwatch

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(range(_NUM_WINDOWS))

    def training_step(self, *arguments: Any, **named: Any) -> Tensor:
        loss: Tensor = super().training_step(*arguments, **named)
        self.watch.losses.append(loss)
        return loss


class NoMoreTurns(Exception):
    """Ends a Trainer from inside."""


class TakesTurns(TrainerCallback):
    """Lets the Trainer go on for as many steps as it is asked for, and wait then."""

    def __init__(self, turns: Turns, trainer: _Trainer, device: torch.device, words: str) -> None:
        self._turns, self._trainer, self._device, self._words = turns, trainer, device, words
        self._left = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._turns.reply(None)
        self._wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self._turns.reply(self._trainer.watch.block())
            self._wait()

    def _wait(self) -> None:
        while (request := self._turns.next()) == FLAGS:
            self._turns.reply(self._words)
        if request is None:
            raise NoMoreTurns
        self._left = request
        self._trainer.watch = Stopwatch(self._device)
