"""Generation with a KV cache: many prompts of different lengths at once. Rows that come and go are in rows.py.

A prompt and its completion share the context: longer prompts lose their beginning. A row's logits do not depend on its
neighbours, but for the order of floating-point sums. How prompts are read is in prompts.py, a step in plan.py, memory.py
and steps.py (on CUDA as a graph, graphs.py), how a token is chosen in sampling.py, where a row ends in stopping.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.errors import RequestError
from autonas.model.cache import KVCache
from autonas.model.graphs import GraphSteps, row_bucket
from autonas.model.memory import RowMemory, SharedMemory, StaticMemory, can_share
from autonas.model.native_decode import MOST_BFLOAT16_ROWS, NativeDecoder, NativeSteps, doubt, native_decoder
from autonas.model.plan import Plan
from autonas.model.prompts import Tokens, batches, crop, read_prompts, window
from autonas.model.sampling import GREEDY, Sampling
from autonas.model.steps import PATHS, Choice, PlainSteps, StaticSteps
from autonas.model.stopping import NEVER, Completions, StopRule
from autonas.model.transformer import Transformer

__all__ = ["PATHS", "Sampling", "StopRule", "generate", "make_cache"]

# How often the host looks which rows have ended: on a device it waits for all that was asked of it.
CHECK_STEPS = {"cpu": 4, "cuda": 16}
# Rows that have ended are left out when at most this share goes on: that copies the keys of the others once.
COMPACT_BELOW = 0.75


def make_cache(model: Transformer, batch: int, max_tokens: int) -> KVCache:
    """An empty cache in the model's number format and on its device."""
    weight = model.embedding.weight
    return KVCache(model.spec, batch, max_tokens, weight.dtype, weight.device)


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    uniforms: np.ndarray | None = None,
    stop: StopRule = NEVER,
    make_way: Callable[[], object] = lambda: None,
) -> list[list[int]]:
    """The new tokens after each of `prompts`, at most `max_new_tokens`, up to where `stop` ends them.

    Where sampling draws, `uniforms` (prompts, max_new_tokens) in [0, 1) decide: the same numbers give the same tokens, and
    common numbers make two models comparable (see sampling.py). `make_way` is called before each new token of a batch.
    Training mode, dropout and gradients play no part.

    Raises:
        RequestError: an empty prompt, a token outside the vocabulary, no room for new tokens, or sampling without its
        numbers.
    """
    room = window(model.spec, max_new_tokens)
    if sampling.draws and (uniforms is None or uniforms.shape != (len(prompts), max_new_tokens)):
        given = "none" if uniforms is None else f"an array of shape {uniforms.shape}"
        raise RequestError(
            f"temperature {sampling.temperature:g} needs uniform numbers of shape ({len(prompts)}, {max_new_tokens}), "
            f"and got {given}. Draw them, or set the temperature to 0."
        )
    cropped = [crop(model.spec, prompt, room, place) for place, prompt in enumerate(prompts)]
    weights = _weights(model, cropped)
    completions: list[list[int]] = [[] for _ in prompts]
    for rows in batches(cropped, max_new_tokens):
        batch = [cropped[row] for row in rows]
        draws = None if uniforms is None or not sampling.draws else uniforms[rows]
        make_way()
        steps = begin(weights, batch, max_new_tokens, sampling, draws)
        for row, tokens in zip(rows, _complete(steps, len(rows), max_new_tokens, stop, make_way), strict=True):
            completions[row] = tokens
    return completions


def _weights(model: Transformer, prompts: Sequence[Tokens]) -> Plan | NativeDecoder:
    """The model's weights as its fastest path here wants them, which is believed only after a look."""
    many = model.embedding.weight.dtype == torch.bfloat16 and len(prompts) > MOST_BFLOAT16_ROWS
    decoder = None if many or not prompts else native_decoder(model)
    if decoder is not None:
        reason = doubt(decoder, Plan(model, pack=False), max(prompts, key=len))
        if not reason:
            return decoder
        PATHS.reasons[reason] += 1
    return Plan(model)


def begin(
    weights: Plan | NativeDecoder,
    prompts: Sequence[Tokens],
    max_new_tokens: int,
    sampling: Sampling,
    uniforms: np.ndarray | None,
    *,
    graphs: bool = True,
) -> PlainSteps | StaticSteps | NativeSteps:
    """The prompts read and a first token chosen; equal prompts stand side by side. Without `graphs` the steps keep `logits`."""
    distinct = list(dict.fromkeys(prompts))
    place = {prompt: row for row, prompt in enumerate(distinct)}
    rows = [place[prompt] for prompt in prompts]
    if isinstance(weights, NativeDecoder):
        choice = _choice(weights.spec, torch.device("cpu"), prompts, sampling, uniforms)
        return NativeSteps(weights, distinct, rows, choice, max_new_tokens)
    plan = weights
    graphs = graphs and plan.device.type == "cuda"
    cache, logits = read_prompts(plan, distinct)
    if graphs:
        rows += [0] * (row_bucket(len(rows)) - len(rows))
    index = torch.tensor(rows, device=plan.device)
    choice = _choice(plan.spec, plan.device, [distinct[row] for row in rows], sampling, uniforms)
    repeats = len(rows) // len(distinct)
    first = logits[index]  # (B, V)
    if graphs:
        memory = StaticMemory(cache, rows, max_new_tokens, plan.slopes)
        return GraphSteps(plan, memory, choice, first, max_new_tokens)
    if cache.keys.dtype == torch.bfloat16:
        # Attention of single queries is six times slower on a CPU in bfloat16 (torch 2.13): keys and values are widened.
        cache = cache.to(torch.float32)
    evenly = repeats > 1 and rows == [row for row in range(len(distinct)) for _ in range(repeats)]
    if evenly and can_share(plan.device):
        return PlainSteps(plan, SharedMemory(cache, repeats, max_new_tokens, plan.slopes), choice, first, max_new_tokens)
    return PlainSteps(plan, RowMemory(cache, rows, max_new_tokens, plan.slopes), choice, first, max_new_tokens)


def _choice(
    spec: ArchSpec, device: torch.device, prompts: Sequence[Tokens], sampling: Sampling, uniforms: np.ndarray | None
) -> Choice:
    draws: Tensor | None = None
    if uniforms is not None:
        padded = np.zeros((uniforms.shape[1], len(prompts)))
        padded[:, : len(uniforms)] = uniforms.T
        draws = torch.from_numpy(padded).to(device)  # (N, B)
    seen: Tensor | None = None
    if sampling.penalises:
        seen = torch.zeros(len(prompts), spec.vocab_size, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            seen[row, list(prompt)] = True
        seen = seen.to(device)
    counts = torch.zeros(len(prompts), spec.vocab_size, device=device) if sampling.counts else None
    bias: Tensor | None = None
    if sampling.logit_bias:
        bias = torch.zeros(spec.vocab_size)
        for token, value in sampling.logit_bias:
            if not 0 <= token < spec.vocab_size:
                raise RequestError(f"logit_bias has token {token}, outside the vocabulary of {spec.vocab_size}; leave it out.")
            bias[token] = value
        bias = bias.to(device)
    return Choice(sampling=sampling, uniforms=draws, seen=seen, counts=counts, bias=bias)


def _complete(
    steps: PlainSteps | StaticSteps | NativeSteps,
    count: int,
    max_new_tokens: int,
    stop: StopRule,
    make_way: Callable[[], object],
) -> list[list[int]]:
    """The completions of the first `count` rows."""
    completions = Completions(count, stop)
    rows = list(range(count))  # who is where
    told = 0
    every = CHECK_STEPS.get(steps.made.device.type, 1) if stop else max_new_tokens
    while True:
        if steps.count == max_new_tokens or steps.count - told >= every:
            completions.add(rows, steps.made[told : steps.count, : len(rows)].T.tolist())
            told = steps.count
            running = [place for place, row in enumerate(rows) if not completions.ended(row)]
            if told == max_new_tokens or not running:
                return completions.tokens
            if len(running) < len(rows):
                kept = steps.worth_keeping(running)
                if len(kept) <= COMPACT_BELOW * len(rows):
                    steps.select(kept)
                    rows = [rows[place] for place in kept]
        make_way()
        steps.step()
