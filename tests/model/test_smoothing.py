from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from autonas.model.smoothing import smoothing_floor


def test_the_floor_of_the_prior_run() -> None:
    assert smoothing_floor(0.1, 8000) == pytest.approx(1.22365, abs=5e-6)
    assert smoothing_floor(0.0, 8000) == 0.0


@given(epsilon=st.floats(0.01, 0.9), vocab_size=st.integers(2, 300), seed=st.integers(0, 1000))
def test_no_logits_come_below_the_floor_and_the_smoothed_target_reaches_it(epsilon: float, vocab_size: int, seed: int) -> None:
    target = torch.tensor([seed % vocab_size])
    smoothed = torch.full((1, vocab_size), epsilon / vocab_size, dtype=torch.float64)
    smoothed[0, target] += 1.0 - epsilon
    best = F.cross_entropy(smoothed.log(), target, label_smoothing=epsilon).item()
    assert best == pytest.approx(smoothing_floor(epsilon, vocab_size), abs=1e-9)
    logits = 4.0 * torch.randn(1, vocab_size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert F.cross_entropy(logits, target, label_smoothing=epsilon).item() >= best - 1e-9


def test_it_rises_with_smoothing_and_vocabulary() -> None:
    floors = [smoothing_floor(epsilon, 1000) for epsilon in (0.0, 0.05, 0.1, 0.2, 0.5)]
    assert floors == sorted(floors)
    assert smoothing_floor(0.1, 100) < smoothing_floor(0.1, 10_000) < math.log(10_000)
