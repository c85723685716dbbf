"""Newton-Schulz, and what Muon makes of a model's hidden matrices."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.model.transformer import build_model
from autonas.training.flat import FlatWeights
from autonas.training.muon import HiddenMatrices, newton_schulz, row_parts
from autonas.training.optimizers import make_optimizer
from tests.training.conftest import tiny_settings, tiny_spec


def random_matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(matrix: Tensor) -> Tensor:
    unit: Tensor = matrix / matrix.norm()
    return unit[None]


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_singular_values_come_near_one_and_directions_stay(rows: int, columns: int, seed: int) -> None:
    """Those not lost beside the largest: the iteration lifts what is below some .002 of the norm only so far."""
    matrix = random_matrix(rows, columns, seed)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = newton_schulz(normed(matrix))[0]
    turned = left.T @ found @ right.T  # the same directions: diagonal
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-8)
    lasting = turned.diagonal()[values > 0.005 * matrix.norm()]
    assert bool(((lasting > 0.6) & (lasting < 1.25)).all()), lasting


def test_a_matrix_that_is_orthogonal_stays_about_what_it_is() -> None:
    orthogonal = torch.linalg.qr(random_matrix(12, 12, 0)).Q
    found = newton_schulz(normed(orthogonal))[0]
    assert float((found - orthogonal).norm() / orthogonal.norm()) < 0.3


def test_zeros_stay_zeros() -> None:
    assert not newton_schulz(torch.zeros(2, 3, 5)).any()


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_every_matrix_is_orthogonalised_for_itself(activation: str) -> None:
    """Queries, keys and values apart, gate and value apart: as if each were a weight of its own."""
    spec = tiny_spec(activation=activation)
    flat, matrices = hidden(spec)
    directions = flat.gradients[slice(*flat.roles["hidden"])]
    directions.copy_(torch.randn(len(directions), generator=torch.Generator().manual_seed(0), dtype=directions.dtype))
    expected = {}
    for name, place in flat.places.items():
        if name.startswith("blocks.") and len(place.shape) == 2:
            parts = torch.split(place.of(flat.gradients).clone(), row_parts(name, spec) or [place.shape[0]])
            scales = [math.sqrt(max(1.0, part.shape[0] / part.shape[1])) for part in parts]
            expected[name] = torch.cat([newton_schulz(normed(p))[0] * s for p, s in zip(parts, scales, strict=True)])
    matrices.orthogonalize_(directions)
    assert len(expected) == 4 * spec.layers
    for name, matrix in expected.items():
        assert torch.allclose(flat.places[name].of(flat.gradients), matrix, atol=1e-5), name


def test_the_parts_are_all_rows() -> None:
    for spec in (tiny_spec(), tiny_spec(activation="geglu", kv_heads=2)):
        for name, weight in build_model(spec, 0).named_parameters():
            parts = row_parts(name, spec)
            assert parts is None or sum(parts) == weight.shape[0]


@given(factor=st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_the_scale_of_the_gradients_does_not_matter(factor: float) -> None:
    one, other = (hidden(tiny_spec()) for _ in range(2))
    for (flat, matrices), times in ((one, 1.0), (other, factor)):
        directions = flat.gradients[slice(*flat.roles["hidden"])]
        directions.copy_(times * torch.randn(len(directions), generator=torch.Generator().manual_seed(0)))
        matrices.orthogonalize_(directions)
    assert torch.allclose(one[0].gradients, other[0].gradients, atol=1e-4)


def hidden(spec: ArchSpec) -> tuple[FlatWeights, HiddenMatrices]:
    """The flat weights of a model, and its hidden matrices."""
    optimizer = make_optimizer(build_model(spec, 0), spec, tiny_settings(optimizer="muon"))
    places = {name: p for name, p in optimizer.flat.places.items() if name.startswith("blocks.") and len(p.shape) == 2}
    return optimizer.flat, HiddenMatrices(places, optimizer.flat.roles["hidden"][0], spec, None)
