"""How likely a model finds the reference solutions: the score that tells tiny models apart which pass no task yet.

Only the solution's tokens count, each given the prompt and the solution before it; the white space at its end does not. Tasks
are the clusters of every interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autonas.evaluation.intervals import ratio_estimate, t_quantile
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import Score

_BATCH_TOKENS: Final = {"cpu": 4096, "cuda": 65_536}
_BLOCK_ROWS: Final = 1024  # of logits at once

Tokens = Sequence[int]
Asked = tuple[Tokens, Tokens]  # what goes before, at least one token; and what is to be scored


def continuation_nats(
    model: Transformer, asked: Sequence[Asked], make_way: Callable[[], object] = lambda: None
) -> list[NDArray[np.float64]]:
    """Nats of each token of each second part, given all before it as far as the context reaches: the beginning is cropped.

    The model's dropout is off meanwhile. `make_way` is called between batches.
    """
    limit = model.spec.context_length
    windows = [(row, *window) for row, pair in enumerate(asked) for window in _windows(*pair, limit)]
    losses: list[list[NDArray[np.float64]]] = [[] for _ in asked]
    device = model.embedding.weight.device
    order = sorted(range(len(windows)), key=lambda place: -len(windows[place][1]))
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(windows)
    with eval_mode(model):
        first = 0
        while first < len(order):
            make_way()
            longest = len(windows[order[first]][1])
            batch = order[first : first + max(1, _BATCH_TOKENS.get(device.type, 4096) // longest)]
            for place, nats in zip(batch, _score_batch(model, [windows[place][1:] for place in batch]), strict=True):
                found[place] = nats
            first += len(batch)
    for (row, _, _), nats in zip(windows, found, strict=True):
        losses[row].append(nats)
    return [np.concatenate(parts) if parts else np.zeros(0) for parts in losses]


def _windows(before: Tokens, scored: Tokens, limit: int) -> Iterator[tuple[list[int], int]]:
    """Tokens of which all but the last are inputs, at most `limit`, and where in them those begin that are scored.

    A text that is longer than the context is scored in parts, each with half a context before it.
    """
    tokens, first = [*before, *scored], len(before)
    assert first > 0, "the first token is predicted from something"
    while first < len(tokens):
        end = len(tokens) if len(tokens) - first <= limit else first + max(1, limit // 2)
        begin = max(0, end - 1 - limit)
        yield tokens[begin:end], first - begin
        first = end


def _score_batch(model: Transformer, windows: Sequence[tuple[list[int], int]]) -> list[NDArray[np.float64]]:
    """Padding stands at the end, where causal attention does not look."""
    longest = max(len(tokens) for tokens, _ in windows)
    padded = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens, _ in windows])  # (B, T + 1)
    wanted = torch.tensor([[begin <= place < len(tokens) for place in range(1, longest)] for tokens, begin in windows])
    device = model.embedding.weight.device
    features = model.features(padded[:, :-1].to(device))[wanted.to(device)]  # (N, d)
    targets = padded[:, 1:][wanted].to(device)
    nats = [
        F.cross_entropy(model.head(rows).float(), aims, reduction="none")
        for rows, aims in zip(torch.split(features, _BLOCK_ROWS), torch.split(targets, _BLOCK_ROWS), strict=True)
    ]
    sizes = [len(tokens) - begin for tokens, begin in windows]
    return np.split(torch.cat(nats).double().cpu().numpy(), np.cumsum(sizes)[:-1])


def clustered_score(sums: NDArray[np.float64], sizes: NDArray[np.int64], unit: str, what: str) -> Score:
    """Σ sums / Σ sizes with its 95 % interval over clusters, here tasks (intervals.ratio_estimate)."""
    value, error = ratio_estimate(sums, sizes)
    count = len(sums)
    reach = t_quantile(count - 1) * error if count > 1 else math.fabs(value)
    note = f"{what}; {count} tasks, clustered by task" + ("" if count > 1 else ", so no error estimate")
    return Score(value=value, low=value - reach, high=value + reach, unit=unit, n=count, note=note)
