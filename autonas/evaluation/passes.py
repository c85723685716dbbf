"""Losses of scored windows: the plain forward pass, and where the device has a faster one, that one, held to the plain one.

The faster ones are in bfloat16: on processors by kernels of our own (native_loss.py), on CUDA by autocast. Each time a few
windows are computed in float32 as well; a fast pass that is further off than rounding explains is not used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from autonas.evaluation.native_loss import native_losses
from autonas.evaluation.scored import ScoredTokens
from autonas.kernels import find_kernels
from autonas.model.formats import has_bfloat16
from autonas.model.transformer import Transformer

# Nats of each token of each window of `ScoredTokens.windows`, for a model in evaluation mode.
Losses = list[NDArray[np.float64]]
MakeWay = Callable[[], object]
Pass = Callable[[Transformer, ScoredTokens, MakeWay], Losses]

LARGEST_BIAS: Final = 0.002  # nats per token, of the mean over the compared windows
LARGEST_ERROR: Final = 0.03  # the same, of the mean size of the tokens' differences: what a pass that is wrong would not meet
_COMPARED_TOKENS: Final = 1024  # at least so many, in at least 4 windows: of fewer, rounding would look like a bias
FEWEST_TOKENS: Final = 2 * _COMPARED_TOKENS  # of which a fast pass saves anything

# Logits of a block, in numbers: few enough to stay in a processor's cache, enough to keep a GPU busy.
_BLOCK_LOGITS: Final = {"cpu": 1 << 20, "cuda": 1 << 26}
_BATCH_TOKENS: Final = {"cpu": 4096, "cuda": 65_536}


def document_nats(
    model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None
) -> tuple[NDArray[np.float64], str]:
    """Summed nats of each document, (documents,), and how they were computed, as `window_losses`."""
    losses, how = window_losses(model, scored, make_way)
    return _sum_documents(model, scored, losses), how


def token_nats(model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None) -> tuple[NDArray[np.float64], str]:
    """Nats of each target, (tokens,), and how they were computed, as `window_losses`."""
    losses, how = window_losses(model, scored, make_way)
    return np.concatenate(losses), how  # windows lie end to end


def window_losses(model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None) -> tuple[Losses, str]:
    """By the fastest pass that is right, and how: "" for the plain one where no faster one was to be expected.

    The model is in evaluation mode.
    """
    fast, missing = fast_pass(model) if len(scored.targets) >= FEWEST_TOKENS else (None, "")
    if fast is not None:
        losses = fast(model, scored, make_way)
        right, note = held_to_plain(model, scored, losses, make_way)
        if right:
            return losses, note
        missing = f"a fast pass was not right ({note})"
    return plain_losses(model, scored, make_way), f"in float32, since {missing}" if missing else ""


def fast_pass(model: Transformer) -> tuple[Pass | None, str]:
    """The pass in bfloat16 for a float32 model on a device that computes in it; None, and why, where it should be there."""
    weight = model.embedding.weight
    if weight.dtype != torch.float32 or not has_bfloat16(weight.device):
        return None, ""
    if weight.device.type != "cpu":
        return half_losses, ""
    kernels, reason = find_kernels(16)
    return (None, reason) if kernels is None else (functools.partial(native_losses, kernels), "")


def half_losses(model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None) -> Losses:
    """By the plain pass with its matrix products in bfloat16, as training has them.

    A copy of the weights in bfloat16 would be a little faster, and is up to .001 nats off where this is up to .0004.
    """
    with torch.autocast(model.embedding.weight.device.type, torch.bfloat16):
        return plain_losses(model, scored, make_way)


def plain_nats(model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None) -> NDArray[np.float64]:
    """Summed nats of each document, (documents,), by the plain pass; the model is used in the mode it is in."""
    return _sum_documents(model, scored, plain_losses(model, scored, make_way))


@torch.no_grad()
def plain_losses(
    model: Transformer, scored: ScoredTokens, make_way: MakeWay = lambda: None, chosen: NDArray[np.int64] | None = None
) -> Losses:
    """By torch's operations in the format of the weights: of all windows, or of the `chosen` ones in their order."""
    begins, lengths, _ = scored.windows(model.spec.context_length)
    if chosen is not None:
        begins, lengths = begins[chosen], lengths[chosen]
    losses: Losses = [np.zeros(0)] * len(lengths)
    device = model.embedding.weight.device
    # Windows of similar length go together, so that little is padded. Padding stands at the end, where causal attention
    # does not look, and is not counted.
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        make_way()
        longest = int(lengths[order[first]])
        rows = order[first : first + max(1, _BATCH_TOKENS[device.type] // longest)]
        offsets = np.arange(longest)
        real = offsets < lengths[rows, None]  # (B, T)
        places = np.where(real, begins[rows, None] + offsets, 0)
        inputs = torch.from_numpy(np.where(real, scored.inputs[places], 0)).to(device)
        features = model.features(inputs)[torch.from_numpy(real).to(device)]  # (real tokens, d)
        found = _token_losses(model, features, torch.from_numpy(scored.targets[places[real]]).to(device))
        for row, row_losses in zip(rows, np.split(found, np.cumsum(lengths[rows])[:-1]), strict=True):
            losses[row] = row_losses
        first += len(rows)
    return losses


def _token_losses(model: Transformer, features: torch.Tensor, targets: torch.Tensor) -> NDArray[np.float64]:
    """Nats of each target, (N,), with the logits of a block at a time."""
    rows = max(1, _BLOCK_LOGITS[features.device.type] // model.spec.vocab_size)
    losses = [
        F.cross_entropy(model.head(block).float(), target, reduction="none")
        for block, target in zip(torch.split(features, rows), torch.split(targets, rows), strict=True)
    ]
    return torch.cat(losses).double().cpu().numpy()


def held_to_plain(
    model: Transformer, scored: ScoredTokens, losses: Losses, make_way: MakeWay = lambda: None
) -> tuple[bool, str]:
    """Whether a few windows' `losses` are those of the plain pass but for rounding, and how far they are from them."""
    _, lengths, _ = scored.windows(model.spec.context_length)
    chosen = _spread(lengths)
    plain = plain_losses(model, scored, make_way, chosen)
    off = np.concatenate([losses[row] - expected for row, expected in zip(chosen, plain, strict=True)])
    bias, error = float(off.mean()), float(np.abs(off).mean())
    # Written so that a NaN fails.
    right = abs(bias) <= LARGEST_BIAS and error <= LARGEST_ERROR
    return right, f"in bfloat16, {bias:+.0e} nats from float32 on {len(off):,} tokens"


def _spread(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Windows from all over that together have enough tokens to compare; all of them where there are few."""
    count = 4
    while True:
        chosen = np.unique(np.linspace(0, len(lengths) - 1, count).astype(np.int64))
        if lengths[chosen].sum() >= _COMPARED_TOKENS or len(chosen) == len(lengths):
            return chosen
        count += 1


def _sum_documents(model: Transformer, scored: ScoredTokens, losses: Losses) -> NDArray[np.float64]:
    _, _, owners = scored.windows(model.spec.context_length)
    nats = np.zeros(scored.num_documents)
    np.add.at(nats, owners, [float(window.sum()) for window in losses])
    return nats
