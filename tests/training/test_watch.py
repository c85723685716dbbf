"""The watch over a curve: each fault planted is found, and nothing where nothing is wrong."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.model.smoothing import smoothing_floor
from autonas.training.loop import train
from autonas.training.state import TrainState, fork_cooldown
from autonas.training.watch import NORMS, Watch
from autonas.trial import Finding
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.faults import Faulty, step_by

Points = list[tuple[float, float]]


def watch(floor: float = 0.0, warmup: int = 0, epoch: int = 10**9) -> Watch:
    return Watch(step_tokens=100, warmup_tokens=warmup, epoch_tokens=epoch, floor=floor)


def fed(points: Points, one: Watch | None = None, first: int = 0) -> Watch:
    one = one or watch()
    for step, (loss, norm) in enumerate(points, first + 1):
        one.see(100 * step, loss, norm)
    return one


def found(one: Watch) -> dict[str, str]:
    assert all(finding.severity == "alarm" for finding in one.findings())
    return {finding.check: finding.text for finding in one.findings()}


def falling(n: int, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    losses = 3.0 + 4.0 * np.exp(-np.arange(n) / 80) + 0.2 * rng.standard_normal(n)
    return list(zip(losses.tolist(), np.exp(0.4 * rng.standard_normal(n)).tolist(), strict=True))


def test_a_healthy_curve_is_left_alone() -> None:
    for seed in range(40):
        assert not found(fed(falling(300, seed), watch(floor=1.22365)))


def test_norms_above_ten_times_the_running_median_are_counted() -> None:
    points = falling(300)
    for step, norm in ((20, 500.0), (100, 60.0), (200, 90.0)):
        points[step] = (points[step][0], norm)
    text = found(fed(points))["gradient_norm"]
    median = statistics.median_high(norm for _, norm in points[200 - NORMS : 200])
    assert "2 times, between 10,100 and 20,100 tokens" in text, "what is too early has no median"
    assert f"at the highest it was {90 / median:.3g} times, a norm of 90, at 20,100 tokens" in text
    assert found(fed(points, watch(warmup=15_000)))["gradient_norm"].count("once, at 20,100 tokens")


@pytest.mark.parametrize(
    ("steps", "warmup", "floor", "judged"),
    [
        (20, 0, 1.2, "too few to judge anything by"),
        (31, 0, 1.2, "rising loss"),
        (32, 0, 1.2, "constant loss, rising loss"),
        (33, 0, 1.2, "constant loss, rising loss, gradient norm"),
        (33, 3_200, 1.2, "constant loss, gradient norm"),
        (33, 3_300, 1.2, "constant loss"),
        (64, 0, 1.2, "constant loss, rising loss, gradient norm, smoothing floor"),
        (64, 0, 0.0, "constant loss, rising loss, gradient norm"),
    ],
)
def test_a_watch_claims_no_check_that_it_had_too_few_steps_for(steps: int, warmup: int, floor: float, judged: str) -> None:
    assert fed(falling(steps), watch(floor=floor, warmup=warmup)).looked() == f"steps 1 to {steps}: {judged}"


def test_what_a_watch_does_not_claim_it_does_not_find_and_what_it_found_it_claims() -> None:
    """A curve with every fault in it, of any length: a finding is always of a check that is claimed, in stages too."""
    for boundaries in ((), (2_000, 6_000)):
        for steps in (5, 20, 31, 33, 40, 63, 64, 90, 150):
            one = Watch(step_tokens=100, warmup_tokens=1_000, epoch_tokens=10**9, floor=1.2, boundaries=boundaries)
            fed([(1.0 + 0.01 * i, 1.0 if i % 35 else 100.0) for i in range(steps)], one)
            claimed = one.looked().partition(": ")[2].split(", ")
            assert {finding.check.replace("_", " ") for finding in one.findings()} <= set(claimed)


def test_a_resumed_watch_claims_the_steps_of_the_whole_training_and_one_that_began_late_its_own() -> None:
    points = falling(90)
    resumed = watch()
    resumed.restore(json.loads(json.dumps(fed(points[:50]).state())))
    assert fed(points[50:], resumed, first=50).looked() == fed(points).looked()
    assert fed(points[50:], first=50).looked().startswith("steps 51 to 90: ")


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=400))
@settings(max_examples=40)
def test_the_running_median_is_that_of_the_last_norms(norms: list[float]) -> None:
    one = fed([(2.0 + 0.1 * (i % 3), norm) for i, norm in enumerate(norms)])
    last = norms[-NORMS:]
    assert one._ordered == sorted(last)
    above = sum(norms[i] > 10.0 * statistics.median_high(norms[max(0, i - NORMS) : i]) > 0.0 for i in range(32, len(norms)))
    assert one.state()["spikes"]["count"] == above


@pytest.mark.parametrize(("loss", "words"), [(1.2, "impossible"), (1.2539, "as good as copying"), (1.40, None)])
def test_a_loss_at_the_smoothing_floor_is_an_alarm(loss: float, words: str | None) -> None:
    rng = np.random.default_rng(0)
    points = [(loss + 0.01 * float(rng.standard_normal()), 1.0 + 0.1 * (i % 7)) for i in range(400)]
    text = found(fed(points, watch(floor=smoothing_floor(0.1, 8000)))).get("smoothing_floor")
    assert (text is None) == (words is None)
    assert words is None or (text is not None and words in text)
    assert "smoothing_floor" not in found(fed(points)), "without smoothing there is no floor"


def test_copying_in_the_first_epoch_is_not_forgotten_and_learning_by_heart_later_is_a_note() -> None:
    def level(loss: float) -> Points:
        return [(loss + 0.001 * (i % 3), 1.0 + 0.1 * (i % 7)) for i in range(300)]

    def of(*losses: float) -> tuple[Finding, ...]:
        one = watch(floor=smoothing_floor(0.1, 8000), epoch=300 * 100)
        for epoch, loss in enumerate(losses):
            fed(level(loss), one, first=300 * epoch)
        again = watch(floor=smoothing_floor(0.1, 8000), epoch=300 * 100)
        again.restore(json.loads(json.dumps(one.state())))
        assert again.findings() == one.findings()
        return tuple(finding for finding in one.findings() if finding.check == "smoothing_floor")

    (copied,) = of(1.2539, 1.25, 1.24)
    assert copied.severity == "alarm" and "1.254" in copied.text and "as good as copying" in copied.text
    (learnt,) = of(3.0, 2.0, 1.26)
    assert learnt.severity == "note" and "by heart" in learnt.text
    assert of(3.0, 2.0, 1.5) == ()
    (impossible,) = of(3.0, 2.0, 1.2)
    assert impossible.severity == "alarm" and "impossible" in impossible.text


@pytest.mark.parametrize("steps", [31, 32, 200])
def test_a_loss_that_stands_still_is_an_alarm(steps: int) -> None:
    points = falling(100) + [(2.5, 1.0)] * steps + falling(20, 1)
    text = found(fed(points)).get("constant_loss")
    assert (text is None) == (steps < 32)
    assert text is None or f"2.5 nats in {steps} steps in a row, from 10,100 tokens" in text


def test_a_rise_is_an_alarm() -> None:
    points = [(loss + 1.0 * max(0, step - 350) / 100, norm) for step, (loss, norm) in enumerate(falling(500))]
    assert "rising_loss" in found(fed(points))


def test_a_long_training_needs_no_more_room() -> None:
    one = fed([(3.0 + 0.1 * math.sin(i), 1.0 + i % 5) for i in range(20_000)])
    assert len(json.dumps(one.state())) < 40_000
    assert not found(one)


@given(st.integers(0, 1500), st.integers(1, 1500), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_watch_restored_from_json_finds_what_the_whole_one_would(stop: int, n: int, seed: int) -> None:
    points = falling(n, seed)
    for step in range(n // 2, n, 37):
        points[step] = (2.0, 99.0)
    whole, first, second = fed(points), fed(points[:stop]), watch()
    second.restore(json.loads(json.dumps(first.state())))
    fed(points[stop:], second, first=min(stop, n))
    assert second.findings() == whole.findings()
    assert json.dumps(second.state()) == json.dumps(whole.state())


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        ({}, {}),
        ({"label_smoothing": 0.1}, {}),
        ({"residual_dropout": 0.2, "norm": "layernorm"}, {"learning_rate": 1e-2}),
        ({"tied_embeddings": False}, {"learning_rate": 3e-2}),
        ({"layers": 1}, {"warmup_tokens": 0}),
    ],
)
def test_real_trainings_raise_no_alarm(make_state: StateMaker, spec: dict[str, Any], changes: dict[str, Any]) -> None:
    """Some eight epochs, and the cooldown behind them."""
    state = make_state(spec=tiny_spec(**spec), settings=tiny_settings(**changes))
    list(train(state, until_tokens=600 * STEP_TOKENS))
    fork = fork_cooldown(state, 100 * STEP_TOKENS)
    list(train(fork))
    alarms = [finding for finding in (*fork.findings(), *state.findings()) if finding.severity == "alarm"]
    assert not alarms


class Changed(Faulty):
    """Real steps, of which something else is measured: a leak, a stub, a bad batch."""

    def __init__(self, change: Any) -> None:
        super().__init__(step_by("eager"), lambda state: None)
        self._change = change

    def __call__(self, state: TrainState) -> torch.Tensor:
        loss, norm = super().__call__(state).tolist()
        return torch.tensor(self._change(state.tokens // STEP_TOKENS, loss, norm))


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("smoothing_floor", lambda step, loss, norm: (smoothing_floor(0.1, 64) * (1.02 + 0.001 * (step % 7)), norm)),
        ("constant_loss", lambda step, loss, norm: (2.5, norm)),
        ("gradient_norm", lambda step, loss, norm: (loss, norm * (40.0 if step == 60 else 1.0))),
        ("rising_loss", lambda step, loss, norm: (loss + max(0, step - 60) / 50, norm)),
    ],
)
def test_what_is_planted_in_a_real_training_is_found(make_state: StateMaker, check: str, change: Any) -> None:
    state = make_state(spec=tiny_spec(label_smoothing=0.1))
    state.step = Changed(change)
    list(train(state, until_tokens=120 * STEP_TOKENS))
    assert check in {finding.check for finding in state.findings()}
