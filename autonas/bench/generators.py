"""Who generates in `autonas bench decode`: ours, and Hugging Face's `generate` on a Llama with the same weights.

Requests are tuples: ("time", workload, calls), ("tokens", workload), ("logits", workload), ("gap", tokens, a, b), ("flags",).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.bench.trainers import Task
from autonas.bench.trainers.ours import train_steps
from autonas.bench.trainers.steps import begin
from autonas.bench.turns import Block, NotMeasured, Turns
from autonas.model.decode import generate
from autonas.model.transformer import Transformer, build_model
from autonas.training.loop import finish_steps
from autonas.training.state import new_state

PAD = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Prompts, and how many new tokens each of them gets."""

    name: str
    prompts: tuple[tuple[int, ...], ...]
    new_tokens: int

    @property
    def tokens(self) -> int:
        return len(self.prompts) * self.new_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What all of them do: one model, some workloads."""

    spec: ArchSpec
    weights_file: str
    workloads: tuple[Workload, ...]
    device: str
    threads: int

    def model(self, dtype: torch.dtype) -> Transformer:
        model = build_model(self.spec, 0, self.device)
        model.load_state_dict(torch.load(self.weights_file, weights_only=True))
        return model.to(dtype).eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of what is timed. Tokens and logits are compared in float32: bfloat16 has near ties at every turn."""
        return torch.bfloat16 if self.device.startswith("cuda") else torch.float32


def serve_pupil(turns: Turns, task: Task, steps: int, weights_file: str) -> None:
    """Train for so many steps and write the weights: an untrained model's likeliest tokens are nearly tied everywhere."""
    device = begin(task)
    state = new_state(build_model(task.spec, 0, device), task.windows(), task.settings(), seed=0)
    loss = train_steps(state, steps)
    torch.save({name: value.cpu().clone() for name, value in state.model.state_dict().items()}, weights_file)
    turns.reply(loss)


def serve_ours(turns: Turns, writing: Writing) -> None:
    torch.set_num_threads(writing.threads)
    exact, timed = writing.model(torch.float32), writing.model(writing.dtype)
    turns.reply(None)
    for request in turns:
        what, *arguments = request
        if what == "flags":
            turns.reply(f"generate, {str(writing.dtype).removeprefix('torch.')}")
            continue
        load = writing.workloads[arguments[0]]
        if what == "logits":
            turns.reply(_our_logits(exact, load.prompts))
        elif what == "tokens":
            turns.reply(generate(exact, load.prompts, max_new_tokens=load.new_tokens))
        else:
            begun = time.perf_counter()
            for _ in range(arguments[1]):
                generate(timed, load.prompts, max_new_tokens=load.new_tokens)
            finish_steps(torch.device(writing.device))
            turns.reply(Block(seconds=time.perf_counter() - begun))


@torch.no_grad()
def _our_logits(model: Transformer, prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """The logits after each prompt, (B, V)."""
    device = model.embedding.weight.device
    rows = [model(torch.tensor([prompt], device=device))[0, -1] for prompt in prompts]
    logits: np.ndarray = torch.stack(rows).float().cpu().numpy()
    return logits


def serve_hugging_face(turns: Turns, writing: Writing, way: str, compiled: bool) -> None:
    torch.set_num_threads(writing.threads)
    try:
        from autonas.bench.llama import to_llama
    except ImportError as error:
        raise NotMeasured(f"{error}; pip install 'autonas[peers]'") from error
    device = torch.device(writing.device)
    exact, timed = (to_llama(writing.model(dtype)).eval() for dtype in (torch.float32, writing.dtype))
    options: dict[str, Any] = {"do_sample": False, "pad_token_id": PAD}
    if way == "static":
        options["cache_implementation"] = "static"
        if not compiled:
            options["disable_compile"] = True
    batches = [_left_padded(load.prompts, device) for load in writing.workloads]

    def run(model: Any, number: int, **named: Any) -> list[list[int]]:
        load, (tokens, mask) = writing.workloads[number], batches[number]
        made = model.generate(tokens, attention_mask=mask, max_new_tokens=load.new_tokens, **named)
        new: list[list[int]] = made[:, tokens.shape[1] :].tolist()
        return new

    turns.reply(None)
    with torch.inference_mode():
        for request in turns:
            what, *arguments = request
            if what == "flags":
                words = ", ".join(f"{name}={value}" for name, value in options.items())
                turns.reply(f"generate, {str(writing.dtype).removeprefix('torch.')}, left-padded, {words}")
            elif what == "logits":
                tokens, mask = batches[arguments[0]]
                positions = (mask.cumsum(-1) - 1).clamp(min=0)
                turns.reply(exact(tokens, attention_mask=mask, position_ids=positions).logits[:, -1].float().cpu().numpy())
            elif what == "tokens":
                turns.reply(run(exact, arguments[0], do_sample=False, pad_token_id=PAD))
            elif what == "gap":
                prefix, first, second = arguments
                logits = exact(torch.tensor([prefix], device=device)).logits[0, -1]
                turns.reply(float((logits.max() - torch.min(logits[first], logits[second])).abs()))
            else:
                begun = time.perf_counter()
                for _ in range(arguments[1]):
                    run(timed, arguments[0], **options)
                finish_steps(device)
                turns.reply(Block(seconds=time.perf_counter() - begun))


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and mask, (B, T): prompts end together, as `generate` wants them."""
    longest = max(map(len, prompts))
    tokens = [[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)
