"""Held-out losses by the native forward pass in bfloat16: three to four times as fast, and held to the plain pass every time.

Of three models trained on the standard library's source, losses in bfloat16 were within .0001 nats of those in float32, where
the interval of 96 K tokens is ±.17.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autonas.evaluation.scored import ScoredTokens
from autonas.kernels import Kernels, find_kernels
from autonas.model.formats import has_bfloat16
from autonas.model.native import DropoutKeys, NativeForward, cast_weights, part_windows
from autonas.model.transformer import Transformer

LARGEST_BIAS: Final = 0.002  # nats per token, of the mean over the compared windows
LARGEST_ERROR: Final = 0.03  # the same, of the mean size of the tokens' differences: what a pass that is wrong would not meet
_COMPARED_TOKENS: Final = 1024  # at least so many, in at least 4 windows: of fewer, rounding would look like a bias
FEWEST_TOKENS: Final = 2 * _COMPARED_TOKENS  # of which a fast pass saves anything
_BUCKET: Final = 64  # windows are padded to a multiple of so many tokens


def evaluation_kernels(model: Transformer) -> Kernels | None:
    """The kernels that losses of `model` may be computed with: for float32 models on processors with bfloat16 instructions."""
    weight = model.embedding.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not has_bfloat16(weight.device):
        return None
    return find_kernels(16)[0]


@torch.no_grad()
def native_nats(
    model: Transformer, kernels: Kernels, scored: ScoredTokens, make_way: Callable[[], object] = lambda: None
) -> tuple[NDArray[np.float64] | None, str]:
    """Summed nats of each document, (documents,), and how far a few windows were from the plain pass; None when too far.

    The model is in evaluation mode.
    """
    # Evaluation mode is the module's own affair: here it is a spec that drops and smooths nothing.
    spec = dataclasses.replace(model.spec, attention_dropout=0.0, residual_dropout=0.0, label_smoothing=0.0)
    context = spec.context_length
    begins, lengths, owners = scored.windows(context)
    weights = cast_weights(model, kernels)
    padded = np.minimum(-(-lengths // _BUCKET) * _BUCKET, context)
    losses: list[NDArray[np.float64]] = [np.zeros(0)] * len(lengths)
    for length in np.unique(padded):
        members = np.flatnonzero(padded == length)
        windows = min(max(1, part_windows(spec) * context // int(length)), len(members))
        run = NativeForward(model, spec, weights, kernels, windows=windows, length=int(length), keep=False)
        for first in range(0, len(members), windows):
            make_way()
            rows = members[first : first + windows]
            found = _losses(run, scored, begins[rows], lengths[rows])
            for row, row_losses in zip(rows, found, strict=True):
                losses[row] = row_losses
    nats = np.zeros(scored.num_documents)
    np.add.at(nats, owners, [float(row.sum()) for row in losses])
    compared = _spread(lengths)
    off = np.concatenate([losses[row] - _plain(model, scored, begins[row], lengths[row]) for row in compared])
    bias, error = float(off.mean()), float(np.abs(off).mean())
    note = f"in bfloat16, {bias:+.0e} nats from float32 on {len(off):,} tokens"
    # Written so that a NaN fails.
    return (nats if abs(bias) <= LARGEST_BIAS and error <= LARGEST_ERROR else None), note


def _spread(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Windows from all over that together have enough tokens to compare; all of them where there are few."""
    count = 4
    while True:
        chosen = np.unique(np.linspace(0, len(lengths) - 1, count).astype(np.int64))
        if lengths[chosen].sum() >= _COMPARED_TOKENS or len(chosen) == len(lengths):
            return chosen
        count *= 2


def _losses(
    run: NativeForward, scored: ScoredTokens, begins: NDArray[np.int64], lengths: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """The losses of each window's tokens; windows that are missing, and tokens, are padded at the end and left out."""
    offsets = np.arange(run.length)
    real = np.zeros((run.windows, run.length), dtype=bool)
    real[: len(lengths)] = offsets < lengths[:, None]
    places = np.zeros(real.shape, dtype=np.int64)
    places[: len(lengths)] = begins[:, None] + offsets
    places[~real] = 0
    inputs = torch.from_numpy(np.where(real, scored.inputs[places], 0).ravel())
    targets = torch.from_numpy(np.where(real, scored.targets[places], 0).ravel())
    found = run(inputs, targets, 1.0, torch.get_num_threads(), _NO_DROPOUT).double().numpy().reshape(real.shape)
    return [row[:length].copy() for row, length in zip(found, lengths, strict=False)]


def _plain(model: Transformer, scored: ScoredTokens, begin: int, length: int) -> NDArray[np.float64]:
    place = slice(begin, begin + length)
    logits = model(torch.from_numpy(scored.inputs[place])[None])[0]
    losses: NDArray[np.float64] = (
        F.cross_entropy(logits, torch.from_numpy(scored.targets[place]), reduction="none").double().numpy()
    )
    return losses


_NO_DROPOUT: Final = DropoutKeys("evaluation")
