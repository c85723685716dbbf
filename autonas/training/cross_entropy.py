"""The head, its loss and the gradients of both in one go: what of a training step is most of the work in a small model.

Logits are made in blocks of rows and turned into their own gradient in place, so that there is never more than one block of
them. On a CUDA device with Triton that is one kernel (triton_loss.py), else a few of torch's with the same meaning.

Shapes: N rows, d width, V vocabulary.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# (logits (N, V), targets (N), smoothing, share) -> losses (N); see `torch_loss_`.
LossInPlace = Callable[[Tensor, Tensor, float, float], Tensor]
BLOCK_BYTES = 512 << 20  # of logits: 32 K rows of 8,192 in bfloat16, which keeps the products large


class HeadGradients(NamedTuple):
    """Of one call of `head_gradients`."""

    loss: Tensor  # () float32 or better: the sum of the rows' losses times the share
    features: Tensor  # (N, d), like the features
    weight: Tensor  # (V, d), like the weight, or float32 when several blocks were added up


def has_triton() -> bool:
    """Whether Triton is installed; whether it works here shows when it compiles."""
    return importlib.util.find_spec("triton") is not None


def best_loss(device: torch.device) -> LossInPlace:
    """The kernel where there is one."""
    if device.type == "cuda" and has_triton():
        from autonas.training.triton_loss import triton_loss_

        return triton_loss_
    return torch_loss_


@torch.no_grad()
def head_gradients(
    features: Tensor,
    weight: Tensor,
    targets: Tensor,
    smoothing: float,
    share: float,
    loss_: LossInPlace,
    block_bytes: int = BLOCK_BYTES,
) -> HeadGradients:
    """Cross-entropy of `features` (N, d) times `weight` (V, d) transposed against `targets` (N), and its gradients.

    As `F.cross_entropy(…, label_smoothing=smoothing, reduction="sum") * share` and its backward pass, of logits in the number
    format of the features. Log-probabilities and losses are float32 or better.
    """
    block = max(1, block_bytes // (len(weight) * features.element_size()))
    d_features = torch.empty_like(features)
    d_weight: Tensor | None = None
    losses = []
    for first in range(0, len(features), block):
        rows = slice(first, first + block)
        logits = features[rows] @ weight.t()  # (n, V)
        losses.append(loss_(logits, targets[rows], smoothing, share).sum())
        torch.mm(logits, weight, out=d_features[rows])
        part = logits.t() @ features[rows]  # (V, d)
        if d_weight is None:
            # The sum of several blocks would lose digits in bfloat16.
            d_weight = part if block >= len(features) else part.to(losses[0].dtype)
        else:
            d_weight += part
    assert d_weight is not None
    return HeadGradients(torch.stack(losses).sum() * share, d_features, d_weight)


def torch_loss_(logits: Tensor, targets: Tensor, smoothing: float, share: float) -> Tensor:
    """The loss of each row of `logits` (N, V), whose place its gradient times `share` takes.

    loss = log Σ exp(x) - (1 - s) x[target] - s mean(x), as torch smooths labels (Szegedy et al., arXiv 1512.00567).
    """
    x = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_sum = torch.logsumexp(x, dim=1, keepdim=True)  # (N, 1)
    hit = x.gather(1, targets[:, None])
    losses = log_sum - (1.0 - smoothing) * hit
    if smoothing:
        losses -= smoothing * x.mean(dim=1, keepdim=True)
    gradient = torch.exp(x - log_sum).sub_(smoothing / x.shape[1])
    gradient.scatter_add_(1, targets[:, None], torch.full_like(hit, smoothing - 1.0))
    logits.copy_(gradient.mul_(share))
    return losses[:, 0]
