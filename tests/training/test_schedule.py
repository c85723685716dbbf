from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.training.schedule import Schedule

lengths = st.integers(1, 10**9)
shares = st.floats(0.0, 1.0)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    warmup, share = draw(st.integers(0, 10**9)), draw(shares)
    kind = draw(st.sampled_from(("stable", "cooling", "cosine")))
    if kind == "cosine":
        return Schedule(warmup_tokens=warmup, final_share=share, kind="cosine", total_tokens=draw(lengths))
    trunk = Schedule(warmup_tokens=warmup, final_share=share)
    return trunk.cool(draw(st.integers(0, 10**9)), draw(lengths)) if kind == "cooling" else trunk


@given(schedules(), st.floats(0.0, 4e9))
def test_the_rate_is_never_negative_nor_above_its_peak(schedule: Schedule, tokens: float) -> None:
    assert 0.0 <= schedule.multiplier(tokens) <= 1.0


@given(schedules(), st.integers(0, 4 * 10**9))
def test_the_rate_never_jumps(schedule: Schedule, tokens: int) -> None:
    """Within one token it moves by no more than the steepest of its slopes."""
    lengths_of_slopes = [schedule.cooldown_tokens or math.inf, schedule.warmup_tokens or math.inf]
    if schedule.kind == "cosine":
        assert schedule.total_tokens is not None
        warmup = min(schedule.warmup_tokens, schedule.total_tokens // 2)
        lengths_of_slopes = [warmup or math.inf, (schedule.total_tokens - warmup) * 2 / math.pi]
    steepest = 1.0 / min(lengths_of_slopes)
    assert abs(schedule.multiplier(tokens + 1.0) - schedule.multiplier(tokens)) <= steepest * 1.0001 + 1e-12


@given(schedules())
def test_the_end_is_at_the_final_share_and_stays_there(schedule: Schedule) -> None:
    if schedule.end_tokens is None:
        assert schedule.multiplier(schedule.warmup_tokens + 1e9) == 1.0
        return
    # A trunk that has not warmed up to the final share yet does not heat up in order to cool down.
    start = (
        1.0
        if schedule.cooldown_start is None
        else Schedule(warmup_tokens=schedule.warmup_tokens).multiplier(schedule.cooldown_start)
    )
    expected = min(start, schedule.final_share)
    assert schedule.multiplier(schedule.end_tokens) == pytest.approx(expected, abs=1e-9)
    assert schedule.multiplier(schedule.end_tokens * 2.0 + 1.0) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 10**6), shares, st.integers(0, 10**6), lengths, st.floats(0.0, 1.0))
def test_a_fork_leaves_the_trunk_as_it_was(warmup: int, share: float, start: int, cooldown: int, place: float) -> None:
    trunk = Schedule(warmup_tokens=warmup, final_share=share)
    fork = trunk.cool(start, cooldown)
    assert fork.multiplier(start * place) == trunk.multiplier(start * place)
    assert fork.multiplier(start) == trunk.multiplier(start)


@given(schedules(), st.integers(0, 20), st.integers(1, 20))
def test_a_decay_never_rises(schedule: Schedule, twentieth: int, further: int) -> None:
    if schedule.end_tokens is None:
        return
    begin = max(schedule.cooldown_start or 0, schedule.warmup_tokens if schedule.kind == "cosine" else 0)
    end = max(schedule.end_tokens, begin)
    early, late = (begin + (end - begin) * n / 20 for n in (twentieth, twentieth + further))
    assert schedule.multiplier(late) <= schedule.multiplier(early) + 1e-12


@given(st.integers(1, 64), st.sampled_from((1, 2, 4, 8)))
def test_the_sum_over_a_warm_up_does_not_depend_on_the_batch(steps: int, split: int) -> None:
    schedule = Schedule(warmup_tokens=steps * 64)
    coarse = sum(schedule.over_step(n * 64, 64) * 64 for n in range(steps))
    fine = sum(schedule.over_step(n * 64 // split, 64 // split) * 64 / split for n in range(steps * split))
    assert coarse == pytest.approx(fine)


def test_no_step_is_wasted_on_a_rate_of_zero() -> None:
    schedule = Schedule(warmup_tokens=1000).cool(2000, 500)
    assert schedule.over_step(0, 100) > 0.0
    assert schedule.over_step(2400, 100) > 0.0
