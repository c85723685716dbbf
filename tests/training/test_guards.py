from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas.errors import TrialFailure
from autonas.training.guards import LossGuard, is_out_of_memory, memory_guard

CHANCE = math.log(2048)


def failure_of(guard: LossGuard, losses: list[float], first: int = 0) -> tuple[str, int] | None:
    """The kind of the failure and the step it came at."""
    for step, loss in enumerate(losses, first):
        try:
            guard.check((step + 1) * 1024, loss, 1.0)
        except TrialFailure as failure:
            return failure.kind, step
    return None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_or_a_gradient_that_is_no_number_is_nan(bad: float) -> None:
    for loss, norm in ((bad, 1.0), (1.0, bad)):
        with pytest.raises(TrialFailure) as caught:
            LossGuard(2048, 0).check(1024, loss, norm)
        assert caught.value.kind == "nan"


@given(st.lists(st.floats(-0.8, 0.8), min_size=100, max_size=300))
def test_a_noisy_curve_that_falls_is_left_alone(noise: list[float]) -> None:
    losses = [CHANCE * 0.99**step + 1.0 + wobble * 0.5 for step, wobble in enumerate(noise)]
    assert failure_of(LossGuard(2048, 32 * 1024), [min(loss, CHANCE) for loss in losses]) is None


@given(st.integers(0, 200))
def test_one_bad_batch_is_no_divergence(at: int) -> None:
    losses = [max(3.0, CHANCE - 0.03 * step) for step in range(250)]
    losses[at] += 12.0
    assert failure_of(LossGuard(2048, 16 * 1024), losses) is None


@given(st.floats(1.5, 100.0))
def test_a_loss_that_stays_above_chance_has_diverged_after_the_warm_up(excess: float) -> None:
    found = failure_of(LossGuard(2048, 32 * 1024), [CHANCE + excess] * 100)
    assert found == ("diverged", 32)


@given(st.floats(3.0, 100.0), st.integers(40, 80))
def test_a_loss_that_climbs_far_above_its_best_has_diverged(rise: float, at: int) -> None:
    found = failure_of(LossGuard(2048, 10**9), [2.0] * at + [2.0 + rise] * 100)
    assert found is not None
    assert found[0] == "diverged"
    assert at <= found[1] < at + 32


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=120), st.integers(0, 120))
def test_a_guard_restored_from_json_fails_exactly_where_the_first_would_have(losses: list[float], stop: int) -> None:
    expected = failure_of(LossGuard(2048, 20 * 1024), losses)
    first = LossGuard(2048, 20 * 1024)
    found = failure_of(first, losses[:stop])
    if found is None:
        second = LossGuard(2048, 20 * 1024)
        second.restore(json.loads(json.dumps(first.state())))
        found = failure_of(second, losses[stop:], first=min(stop, len(losses)))
    assert found == expected


def test_real_memory_exhaustion_is_out_of_memory() -> None:
    with pytest.raises(TrialFailure) as caught, memory_guard("testing"):
        torch.empty(1 << 52)
    assert caught.value.kind == "out_of_memory"
    assert "testing" in str(caught.value)
    with pytest.raises(TrialFailure), memory_guard("testing"):
        bytearray(1 << 60)


def test_other_errors_are_not_taken_for_exhausted_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_guard("testing"):
        raise RuntimeError("shapes do not fit")
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))


def test_what_came_of_too_little_memory_is_known_by_what_led_to_it() -> None:
    error, cause = RuntimeError("capture ended"), torch.OutOfMemoryError("planted")
    error.__context__ = cause
    assert is_out_of_memory(error)
    error.__suppress_context__ = True
    assert not is_out_of_memory(error)
    error.__cause__ = ValueError("wrapped")
    error.__cause__.__context__ = cause
    assert is_out_of_memory(error)
    cause.__context__ = error
    assert is_out_of_memory(error)
    circle = RuntimeError("a")
    circle.__context__ = RuntimeError("b")
    circle.__context__.__context__ = circle
    assert not is_out_of_memory(circle)
