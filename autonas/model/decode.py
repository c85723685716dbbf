"""Generation with a KV cache: many prompts of different lengths at once, or one as a stream. Sampling rules are in sampling.py.

A prompt and its completion share the context: longer prompts lose their beginning. Equal prompts are read once, prompts
of similar length side by side, padded on the right: causal attention never looks there, and the padding's keys are
forgotten before the first new token. So a row's logits do not depend on its neighbours (but for the order of
floating-point sums).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from autonas.errors import RequestError
from autonas.model.cache import KVCache
from autonas.model.sampling import choose_tokens
from autonas.model.transformer import Transformer, eval_mode

__all__ = ["KVCache", "generate", "make_cache", "prefill", "stream"]

# Prompts are read together while the longest is at most this much longer than the shortest: another pass over the
# weights costs more than padding does.
LENGTH_RATIO, LENGTH_SLACK = 2.0, 16
# Rows times tokens of one batch: bounds the cache and the logits in flight.
MAX_BATCH_TOKENS = 131_072
# How often the host asks the device whether every row has stopped.
STOP_CHECK_STEPS = 16


def make_cache(model: Transformer, batch: int, max_tokens: int) -> KVCache:
    """An empty cache in the model's number format and on its device."""
    weight = model.embedding.weight
    return KVCache(model.spec, batch, max_tokens, weight.dtype, weight.device)


def prefill(model: Transformer, prompts: Sequence[Sequence[int]], cache: KVCache) -> Tensor:
    """Read `prompts` into the empty `cache`; returns the logits (B, V) of the token after each."""
    lengths = [len(prompt) for prompt in prompts]
    padded = np.zeros((len(prompts), max(lengths)), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = prompt
    device = cache.keys.device
    features = model.features(torch.from_numpy(padded).to(device), cache)  # (B, T, d)
    cache.trim(lengths)
    last = torch.tensor(lengths, device=device) - 1
    return model.head(features[torch.arange(len(prompts), device=device), last])


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    uniforms: np.ndarray | None = None,
    stop_token: int | None = None,
) -> list[list[int]]:
    """The new tokens after each of `prompts`, at most `max_new_tokens`, up to and without `stop_token`.

    Temperature 0 takes the likeliest token. Otherwise `uniforms` (prompts, max_new_tokens) in [0, 1) decide: the same
    numbers give the same tokens, and common numbers make two models comparable (see sampling.py).

    Raises:
        RequestError: an empty prompt, a token outside the vocabulary, no room for new tokens, or sampling without its
        numbers.
    """
    window = _window(model, max_new_tokens)
    _check_sampling(temperature, top_k)
    if temperature > 0.0 and (uniforms is None or uniforms.shape != (len(prompts), max_new_tokens)):
        given = "none" if uniforms is None else f"an array of shape {uniforms.shape}"
        raise RequestError(
            f"temperature {temperature:g} needs uniform numbers of shape ({len(prompts)}, {max_new_tokens}), and got {given}. "
            "Draw them, or set the temperature to 0."
        )
    cropped = [_crop(model, prompt, window, place) for place, prompt in enumerate(prompts)]
    completions: list[list[int]] = [[] for _ in prompts]
    with eval_mode(model):
        for rows in _batches(cropped, max_new_tokens):
            draws = None if uniforms is None else uniforms[rows]
            batch = [cropped[row] for row in rows]
            found = _generate_batch(model, batch, max_new_tokens, temperature, top_k, draws, stop_token)
            for row, tokens in zip(rows, found, strict=True):
                completions[row] = tokens
    return completions


def stream(
    model: Transformer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    seed: int = 0,
    stop_token: int | None = None,
) -> Iterator[int]:
    """The tokens after `prompt` one by one as they are made, up to and without `stop_token`; arguments as for `generate`.

    Raises:
        RequestError: as `generate`, at the call and not at the first token.
    """
    window = _window(model, max_new_tokens)
    _check_sampling(temperature, top_k)
    return _stream(model, _crop(model, prompt, window, 0), max_new_tokens, temperature, top_k, seed, stop_token)


def _stream(
    model: Transformer,
    prompt: tuple[int, ...],
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    stop_token: int | None,
) -> Iterator[int]:
    cache = make_cache(model, 1, len(prompt) + max_new_tokens)
    uniforms = torch.from_numpy(np.random.default_rng(seed).random((max_new_tokens, 1))).to(cache.keys.device)
    tokens: Tensor | None = None
    for step in range(max_new_tokens):
        # The mode is set for each step: between two of them the model is its owner's.
        with eval_mode(model):
            logits = prefill(model, [prompt], cache) if tokens is None else model(tokens[:, None], cache)[:, -1]
            tokens = choose_tokens(logits, temperature, top_k, uniforms[step])
        token = int(tokens[0])
        if token == stop_token:
            return
        yield token


def _generate_batch(
    model: Transformer,
    prompts: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    uniforms: np.ndarray | None,
    stop_token: int | None,
) -> list[list[int]]:
    distinct = list(dict.fromkeys(prompts))
    longest = max(map(len, distinct))
    prompt_cache = make_cache(model, len(distinct), longest)
    logits = prefill(model, distinct, prompt_cache)  # (distinct, V)
    place = {prompt: row for row, prompt in enumerate(distinct)}
    rows = [place[prompt] for prompt in prompts]
    cache = prompt_cache.select(rows, longest + max_new_tokens)
    device = logits.device
    logits = logits[torch.tensor(rows, device=device)]  # (B, V)
    draws = None if uniforms is None else torch.from_numpy(np.ascontiguousarray(uniforms.T)).to(device)  # (steps, B)
    made = torch.empty(max_new_tokens, len(prompts), dtype=torch.int64, device=device)
    stopped = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    num_made = 0
    for step in range(max_new_tokens):
        if step > 0:
            logits = model(made[step - 1][:, None], cache)[:, -1]
        made[step] = choose_tokens(logits, temperature, top_k, None if draws is None else draws[step])
        num_made = step + 1
        if stop_token is not None:
            stopped |= made[step] == stop_token
            if num_made % STOP_CHECK_STEPS == 0 and bool(stopped.all()):
                break
    return [_until(tokens, stop_token) for tokens in made[:num_made].T.tolist()]


def _until(tokens: list[int], stop_token: int | None) -> list[int]:
    return tokens[: tokens.index(stop_token)] if stop_token is not None and stop_token in tokens else tokens


def _batches(prompts: Sequence[tuple[int, ...]], max_new_tokens: int) -> Iterator[list[int]]:
    """Indices of `prompts` in groups of similar length and bounded size, shortest first; equal prompts stand side by side."""
    group: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), prompts[row], row)):
        length = len(prompts[row])
        if group:
            too_long = length > len(prompts[group[0]]) * LENGTH_RATIO + LENGTH_SLACK
            if too_long or (len(group) + 1) * (length + max_new_tokens) > MAX_BATCH_TOKENS:
                yield group
                group = []
        group.append(row)
    if group:
        yield group


def _window(model: Transformer, max_new_tokens: int) -> int:
    """How many tokens of a prompt fit beside `max_new_tokens`."""
    context = model.spec.context_length
    if not 1 <= max_new_tokens < context:
        raise RequestError(
            f"{max_new_tokens} new tokens do not fit a context of {context} beside a prompt; ask for 1 to {context - 1}."
        )
    return context - max_new_tokens


def _check_sampling(temperature: float, top_k: int | None) -> None:
    if not 0.0 <= temperature < float("inf"):
        raise RequestError(f"temperature is {temperature}; give 0 (always the likeliest token) or a positive number.")
    if top_k is not None and top_k < 1:
        raise RequestError(f"top_k is {top_k}; give a whole number of at least 1, or leave it out.")


def _crop(model: Transformer, prompt: Sequence[int], window: int, place: int) -> tuple[int, ...]:
    if len(prompt) == 0:
        raise RequestError(f"prompt {place} has no tokens; begin it with the end-of-text token.")
    wrong = next((token for token in prompt if not 0 <= token < model.spec.vocab_size), None)
    if wrong is not None:
        raise RequestError(
            f"prompt {place} has token {wrong}, outside the vocabulary of {model.spec.vocab_size}. "
            "Encode it with the tokenizer that the model was trained with."
        )
    return tuple(prompt[-window:])
