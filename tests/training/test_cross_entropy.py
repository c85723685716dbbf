from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.training.cross_entropy import HeadGradients, LossInPlace, best_loss, has_triton, head_gradients, torch_loss_

ROWS, WIDTH = 23, 5
interpreted = pytest.mark.skipif(
    not has_triton() or os.environ.get("TRITON_INTERPRET") != "1", reason="needs triton and TRITON_INTERPRET=1"
)


def problem(vocabulary: int, dtype: torch.dtype, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(vocabulary)
    features = scale * torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary, WIDTH, generator=generator, dtype=torch.float64)
    return features.to(dtype), weight.to(dtype), torch.randint(vocabulary, (ROWS,), generator=generator)


def by_autograd(
    features: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, smoothing: float, share: float
) -> HeadGradients:
    features, weight = (value.double().requires_grad_() for value in (features, weight))
    loss = F.cross_entropy(features @ weight.t(), targets, label_smoothing=smoothing, reduction="sum") * share
    return HeadGradients(loss.detach(), *torch.autograd.grad(loss, (features, weight)))


@given(
    vocabulary=st.integers(2, 40),
    smoothing=st.sampled_from((0.0, 0.1, 0.9)),
    share=st.sampled_from((1.0, 1 / 23)),
    block_rows=st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_loss_and_gradients_are_those_of_autograd_in_blocks_of_any_size(
    vocabulary: int, smoothing: float, share: float, block_rows: int
) -> None:
    features, weight, targets = problem(vocabulary, torch.float64)
    found = head_gradients(features, weight, targets, smoothing, share, torch_loss_, 8 * vocabulary * block_rows)
    for value, expected in zip(found, by_autograd(features, weight, targets, smoothing, share), strict=True):
        assert torch.allclose(value, expected, rtol=1e-10, atol=1e-12)


def check_low_precision(loss_: LossInPlace, dtype: torch.dtype, vocabulary: int, smoothing: float, device: str = "cpu") -> None:
    """Against float64 on the same rounded inputs; NaN and rows that nobody wrote fail. Logits of 8 are rounded by 0.03."""
    features, weight, targets = problem(vocabulary, dtype, scale=0.5)
    tolerance = {torch.bfloat16: 1e-2, torch.float32: 1e-5}[dtype]
    for block_bytes in (1 << 20, 7 * vocabulary * dtype.itemsize):
        found = head_gradients(
            features.to(device), weight.to(device), targets.to(device), smoothing, 1 / ROWS, loss_, block_bytes
        )
        for value, expected in zip(found, by_autograd(features, weight, targets, smoothing, 1 / ROWS), strict=True):
            assert (value.double().cpu() - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_low_precision_follows_float64(dtype: torch.dtype, smoothing: float) -> None:
    check_low_precision(torch_loss_, dtype, 301, smoothing)


def test_large_logits_neither_overflow_nor_lose_their_loss() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 1e4]])
    losses = torch_loss_(logits, torch.tensor([1, 2]), 0.0, 1.0)
    assert losses.tolist() == [2e4, 0.0]
    assert logits.tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_weight_that_is_no_number_shows_in_the_loss() -> None:
    features, weight, targets = problem(8, torch.float32)
    weight[3, 0] = torch.nan
    assert head_gradients(features, weight, targets, 0.1, 1.0, torch_loss_).loss.isnan()


def test_without_a_kernel_the_loss_is_torchs() -> None:
    assert best_loss(torch.device("cpu")) is torch_loss_


@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [3, 301, 4096, 4500])
def test_the_kernel_follows_float64(dtype: torch.dtype, vocabulary: int) -> None:
    from autonas.training.triton_loss import triton_loss_

    for smoothing in (0.0, 0.1):
        check_low_precision(triton_loss_, dtype, vocabulary, smoothing)
    logits = torch.randn(4, vocabulary)
    logits[2, 1] = torch.nan
    assert triton_loss_(logits, torch.zeros(4, dtype=torch.int64), 0.1, 1.0).isnan().tolist() == [False, False, True, False]
