"""Muon's update of hidden matrices: the momentum's nearest semi-orthogonal matrix, so that every direction of it moves alike.

Jordan et al., https://kellerjordan.github.io/posts/muon (2024). Rates, momentum and decay are in flat_optimizer.py.

Shapes: m rows and n columns of a matrix, N matrices of one shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.training.flat import Place

STEPS: Final = 5
# Jordan's quintic: its slope at 0 is the steepest for which singular values end between 0.68 and 1.13 and not nearer 1.
COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_SMALLEST_NORM: Final = 1e-30  # of a momentum that has a direction


def newton_schulz(matrices: Tensor, steps: int = STEPS) -> Tensor:
    """U Vᵀ of each of `matrices` (N, m, n) = U S Vᵀ, about: singular values from 0.7 to 1.2 where S were not nearly zero.

    Computed in the format of `matrices`, whose scale does not matter; a matrix of zeros stays one.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # (N, m, n) with m <= n: the products with the transpose are the small ones
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT  # (N, m, m)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def row_parts(name: str, spec: ArchSpec) -> list[int] | None:
    """The rows of the matrices that the hidden weight `name` stacks: queries, keys and values; gate and value."""
    if name.endswith("attention.qkv.weight"):
        keys = spec.kv_heads * spec.head_width
        return [spec.heads * spec.head_width, keys, keys]
    if name.endswith("feed_forward.up.weight") and spec.gated:
        return [spec.ffn_width, spec.ffn_width]
    return None


class HiddenMatrices:
    """The hidden matrices in a flat slice, each of those that share a weight for itself, in groups of one shape.

    `dtype`: of the products of the iteration; None: that of the slice.
    """

    def __init__(self, places: Mapping[str, Place], start: int, spec: ArchSpec, dtype: torch.dtype | None) -> None:
        self._dtype = dtype
        self._groups: dict[tuple[int, int], list[tuple[int, int]]] = {}  # by shape with m <= n: (offset, rows)
        for name, place in places.items():
            rows, columns = place.shape
            offset = place.start - start
            for part in row_parts(name, spec) or [rows]:
                shape = (min(part, columns), max(part, columns))
                self._groups.setdefault(shape, []).append((offset, part))
                offset += part * columns

    def orthogonalize_(self, directions: Tensor) -> None:
        """Put in the place of each matrix in `directions` (n) its orthogonal factor, times sqrt(max(1, m / n))."""
        for (small, large), members in self._groups.items():
            views = [self._view(directions, *member, small, large) for member in members]
            stack = torch.stack([view.mT if self._is_tall(view) else view for view in views])  # (N, m, n)
            norm = torch.linalg.vector_norm(stack, dim=(-2, -1), keepdim=True).clamp_(min=_SMALLEST_NORM)
            stack.div_(norm)
            found = newton_schulz(stack if self._dtype is None else stack.to(self._dtype))
            for view, one in zip(views, found.unbind(), strict=True):
                view.copy_(one.mT if self._is_tall(view) else one)
                # What leaves a matrix is as large for tall and wide ones then (spectral norm, arXiv 2310.17813).
                if self._is_tall(view):
                    view.mul_(math.sqrt(large / small))

    @staticmethod
    def _is_tall(matrix: Tensor) -> bool:
        return matrix.shape[0] > matrix.shape[1]

    @staticmethod
    def _view(directions: Tensor, offset: int, rows: int, small: int, large: int) -> Tensor:
        columns = small * large // rows
        return directions[offset : offset + small * large].view(rows, columns)
