"""Who tunes in `autonas bench lora`: ours, PEFT in a loop as one writes it by hand, and PEFT in Hugging Face's Trainer.

A task's file holds examples, and its batch of windows is a batch of them.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.bench.trainers import Task
from autonas.bench.trainers.steps import begin, mixed_precision, precision_words, serve_steps
from autonas.bench.turns import OURS, Turns
from autonas.model.transformer import build_model
from autonas.training.allocator import keep_freed_memory
from autonas.training.schedule import Schedule
from autonas.trial import TuningSettings
from autonas.tuning.encoding import Encoded, step_numbers
from autonas.tuning.state import Tuning

TITLES: Final = {"loop": "PEFT, plain PyTorch loop", "trainer": "PEFT, Hugging Face Trainer"}
_RANK, _ALPHA, _TARGETS = 8, 16, ("qkv", "out")
_IGNORED = -100
_MULTIPLE = 8  # of tokens that peers pad to: oneDNN compiles for each new shape, so that they take less time than without it
_STEPS = 1 << 16  # of the Trainer: more than a bench ever takes


def serve(turns: Turns, task: Task, who: str, dropout: float) -> None:
    device = begin(task)
    examples = [
        Encoded(tokens=tuple(tokens), prompt=prompt) for tokens, prompt in json.loads(Path(task.tokens_file).read_text())
    ]
    if who == OURS:
        if device.type == "cpu":
            keep_freed_memory()
        serve_steps(turns, task, _ours(task, device, examples, dropout), f"tuning.state.Tuning, {precision_words(device)}")
    elif who == "loop":
        words = f"get_peft_model, eager, {precision_words(device)}, fused AdamW, padded to a multiple of {_MULTIPLE}"
        serve_steps(turns, task, _loop(task, device, examples, dropout), words)
    else:
        _serve_trainer(turns, task, device, examples, dropout)


def _ours(task: Task, device: torch.device, examples: list[Encoded], dropout: float) -> Callable[[], Tensor]:
    settings = TuningSettings(
        base="",
        base_weights="",
        data="",
        data_digest="",
        method="lora",
        steps=_STEPS,
        learning_rate=task.learning_rate,
        probe_steps=_STEPS,
        batch_examples=task.batch_windows,
        clip_norm=task.clip_norm,
        rank=_RANK,
        alpha=_ALPHA,
        dropout=dropout,
        targets=_TARGETS,
    )
    state = Tuning(build_model(task.spec, 0, device), settings, task.settings(), examples, 0)
    state.schedule = Schedule(warmup_tokens=0)  # one rate, as the peers have
    return lambda: state.step()[0]


def _peft_model(task: Task, device: torch.device, dropout: float) -> Any:
    import peft

    config = peft.LoraConfig(r=_RANK, lora_alpha=_ALPHA, lora_dropout=dropout, target_modules=list(_TARGETS), bias="none")
    torch.manual_seed(0)
    return peft.get_peft_model(build_model(task.spec, 0), config).to(device).train()


def _padded(examples: list[Encoded]) -> dict[str, Tensor]:
    """A batch as collators make it with `pad_to_multiple_of=8`: filled up at the right, what is no target marked."""
    length = -(-max(each.read for each in examples) // _MULTIPLE) * _MULTIPLE
    tokens = torch.zeros(len(examples), length, dtype=torch.int64)
    labels = torch.full((len(examples), length), _IGNORED)
    for row, each in enumerate(examples):
        tokens[row, : each.read] = torch.tensor(each.tokens[:-1])
        labels[row, each.prompt - 1 : each.read] = torch.tensor(each.tokens[each.prompt :])
    return {"input_ids": tokens, "labels": labels}


def _loss(model: Any, input_ids: Tensor, labels: Tensor) -> Tensor:
    logits = model(input_ids)
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=_IGNORED)


def _loop(task: Task, device: torch.device, examples: list[Encoded], dropout: float) -> Callable[[], Tensor]:
    model = _peft_model(task, device, dropout)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=task.learning_rate, betas=(task.beta1, task.beta2), weight_decay=0.0, fused=True)
    taken = 0

    def step() -> Tensor:
        nonlocal taken
        numbers = step_numbers(len(examples), task.batch_windows, 0, taken)
        taken += 1
        batch = _padded([examples[number] for number in numbers])
        if device.type == "cuda":
            batch = {name: value.pin_memory().to(device, non_blocking=True) for name, value in batch.items()}
        optimizer.zero_grad(set_to_none=True)
        with mixed_precision(device):
            loss = _loss(model, **batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, task.clip_norm)
        optimizer.step()
        return loss.detach()

    return step


def _serve_trainer(turns: Turns, task: Task, device: torch.device, examples: list[Encoded], dropout: float) -> None:
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from autonas.bench.trainers.hugging_face import NoMoreTurns, TakesTurns, trainer_flags

    order = [n for step in range(_STEPS // 16) for n in step_numbers(len(examples), task.batch_windows, 0, step)]

    class Tuner(Trainer):
        """In our order, with the loss of our examples, kept for the end of the turn."""

        watch: Any

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return order

        def compute_loss(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            return _loss(model, **inputs)

        def training_step(self, *arguments: Any, **named: Any) -> Tensor:
            loss: Tensor = super().training_step(*arguments, **named)
            self.watch.losses.append(loss)
            return loss

    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        flags = trainer_flags(task, device)
        trainer: Any = Tuner(
            model=_peft_model(task, device, dropout),
            args=TrainingArguments(output_dir=folder, **flags),
            train_dataset=examples,
            data_collator=_padded,
        )
        trainer.remove_callback(PrinterCallback)  # it would print on stdout
        words = f"{', '.join(f'{name}={value}' for name, value in flags.items())}; all else default"
        trainer.add_callback(TakesTurns(turns, trainer, device, words))
        with contextlib.suppress(NoMoreTurns):
            trainer.train()
