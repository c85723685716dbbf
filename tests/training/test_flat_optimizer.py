"""The update: what torch's AdamW does, Muon's and the filter's closed forms, and that every way and every moment agree."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas import cost
from autonas.arch import ArchSpec
from autonas.model.transformer import build_model
from autonas.training.checkpoint import load, save
from autonas.training.flat_optimizer import FlatOptimizer
from autonas.training.loop import train
from autonas.training.muon import newton_schulz
from autonas.training.optimizers import make_optimizer, moments, set_rate
from autonas.training.rollback import KEEP_STEPS
from autonas.training.state import TrainState, fork_cooldown
from autonas.trial import TrainingSettings
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.faults import PATHS, Faulty, kick, step_by
from tests.training.test_loop import DROPPING, assert_same, losses

KINDS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "grokfast": {"grokfast": 2.0},
    "muon": {"optimizer": "muon"},
    "muon-grokfast": {"optimizer": "muon", "grokfast": 2.0, "grokfast_alpha": 0.9},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(settings: TrainingSettings, spec: ArchSpec | None = None) -> FlatOptimizer:
    spec = spec or tiny_spec()
    return make_optimizer(build_model(spec, 0), spec, settings)


def give(optimizer: FlatOptimizer, number: int, scale: float = 1.0) -> dict[str, Tensor]:
    """Gradients from a seed; by name."""
    generator = torch.Generator().manual_seed(number)
    for place in optimizer.flat.places.values():
        place.of(optimizer.flat.gradients).copy_(scale * torch.randn(place.shape, generator=generator))
    return {name: place.of(optimizer.flat.gradients).clone() for name, place in optimizer.flat.places.items()}


def weights_of(optimizer: FlatOptimizer) -> dict[str, Tensor]:
    return {name: place.of(optimizer.flat.weights).clone() for name, place in optimizer.flat.places.items()}


def test_adamw_is_torchs_bitwise() -> None:
    optimizer = make(tiny_settings())
    groups = [
        {"params": [torch.nn.Parameter(group["params"][0].detach().clone())], "lr": group["lr"], "weight_decay": wd}
        for group in optimizer.param_groups
        for wd in [group["weight_decay"]]
    ]
    plain = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    for number in range(5):
        give(optimizer, number)
        for group, (_, gradient) in zip(groups, optimizer.flat.segments(optimizer.flat.gradients), strict=True):
            group["params"][0].grad = gradient.clone()
        optimizer.step()
        plain.step()
    for group, (_, found) in zip(groups, optimizer.flat.segments(optimizer.flat.weights), strict=True):
        assert torch.equal(group["params"][0].data, found)


def test_muon_is_its_formula() -> None:
    """m = .95 m + .05 g; the direction of .95 m + .05 g, orthogonal; decay by rate x decay."""
    optimizer = make(tiny_settings(optimizer="muon", muon_momentum=0.95))
    name = "blocks.1.feed_forward.down.weight"
    (group,) = [group for group in optimizer.param_groups if group["role"] == "hidden"]
    expected = weights_of(optimizer)[name]
    momentum = torch.zeros_like(expected)
    for number in range(4):
        gradient = give(optimizer, number)[name]
        optimizer.step()
        momentum = 0.95 * momentum + 0.05 * gradient
        direction = 0.95 * momentum + 0.05 * gradient
        expected = expected * (1 - group["lr"] * group["weight_decay"])
        expected = expected - group["lr"] * newton_schulz((direction / direction.norm())[None])[0]
    assert torch.allclose(weights_of(optimizer)[name], expected, atol=1e-6)


def test_muon_has_adamw_for_all_other_weights() -> None:
    one, other = make(tiny_settings(optimizer="muon")), make(tiny_settings())
    for number in range(3):
        for optimizer in (one, other):
            give(optimizer, number)
            optimizer.step()
    found, expected = weights_of(one), weights_of(other)
    same = {name for name in found if torch.equal(found[name], expected[name])}
    assert same == {name for name, place in one.flat.places.items() if len(place.shape) < 2 or "blocks." not in name}


@given(factor=st.floats(1e-3, 1e3))
@settings(max_examples=8, deadline=None)
def test_muons_update_does_not_depend_on_the_scale_of_all_gradients(factor: float) -> None:
    found = []
    for scale in (1.0, factor):
        optimizer = make(tiny_settings(optimizer="muon"))
        for number in range(3):
            give(optimizer, number, scale)
            optimizer.step()
        found.append({n: w for n, w in weights_of(optimizer).items() if n.startswith("blocks.") and w.ndim == 2})
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-4) for name in found[0])


def test_without_lambda_there_is_no_filter_and_nothing_is_kept_for_one(make_state: StateMaker) -> None:
    plain, zero = make_state(), make_state(settings=tiny_settings(grokfast=0.0, grokfast_alpha=0.5))
    assert losses(zero, 6 * STEP_TOKENS) == losses(plain, 6 * STEP_TOKENS)
    assert_same(zero, plain)
    assert not any("slow" in name for name, _ in moments(zero.optimizer))


def test_the_filter_is_its_closed_form() -> None:
    """AdamW gets g_t + lambda (1 - alpha) sum alpha^(t - i) g_i."""
    share, alpha = 3.0, 0.7
    filtered, plain = make(tiny_settings(grokfast=share, grokfast_alpha=alpha)), make(tiny_settings())
    seen: list[dict[str, Tensor]] = []
    for number in range(6):
        seen.append(give(filtered, number))
        filtered.step()
        for name, place in plain.flat.places.items():
            slow = sum((1 - alpha) * alpha ** (number - i) * seen[i][name] for i in range(number + 1))
            place.of(plain.flat.gradients).copy_(seen[number][name] + share * slow)
        plain.step()
    found, expected = weights_of(filtered), weights_of(plain)
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in found)


def test_gradients_are_clipped_before_they_are_filtered(make_state: StateMaker) -> None:
    """One wild batch weighs in the slow part as any other, and what is reported is the norm of the batch's own gradient."""
    state = make_state(settings=tiny_settings(grokfast=5.0, grokfast_alpha=0.9, clip_norm=1e-3))
    norm = losses_and_norms(state, 1)[0][1]
    slow = [value for name, value in moments(state.optimizer) if name.endswith("slow_gradient")]
    length = float(torch.linalg.vector_norm(torch.cat([value.flatten() for value in slow])))
    assert norm > 1e-2
    assert length == pytest.approx((1 - 0.9) * 1e-3, rel=1e-3)


@pytest.mark.parametrize("path", PATHS)
@every_kind
def test_every_way_of_a_step_makes_the_same_update(make_state: StateMaker, kind: str, path: str) -> None:
    """To rounding; with gradients that are clipped. The program updates with rates and scale on the device."""
    values = {"clip_norm": 0.3, **KINDS[kind]}
    plain, other = (make_state(settings=tiny_settings(**values)) for _ in range(2))
    plain.step, other.step = step_by("eager"), step_by(path)
    expected, found = (losses_and_norms(state, 8) for state in (plain, other))
    for (loss, norm), (same, alike) in zip(expected, found, strict=True):
        assert same == pytest.approx(loss, rel=1e-4)
        assert alike == pytest.approx(norm, rel=1e-2)
    apart = (plain.optimizer.flat.weights - other.optimizer.flat.weights).norm() / plain.optimizer.flat.weights.norm()
    assert float(apart) < 1e-3
    assert plain.optimizer.flat.weights.isfinite().all()


def losses_and_norms(state: TrainState, steps: int) -> list[tuple[float, float]]:
    return [(p.loss, p.gradient_norm) for p in train(state, until_tokens=steps * STEP_TOKENS)]


@every_kind
@given(stops=st.lists(st.integers(0, 9), min_size=1, max_size=3).map(sorted))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_resumed_training_is_bitwise_the_whole_one(
    make_state: StateMaker, tmp_path_factory: pytest.TempPathFactory, kind: str, stops: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{kind}.safetensors"
    values: dict[str, Any] = {"spec": DROPPING, "settings": tiny_settings(**KINDS[kind])}
    plain, state = make_state(**values), make_state(**values)
    expected = losses(plain, 10 * STEP_TOKENS)
    curve: list[float] = []
    for stop in stops:
        curve += losses(state, stop * STEP_TOKENS)
        save(path, state)
        state = make_state(**values)
        load(path, state)
    curve += losses(state, 10 * STEP_TOKENS)
    assert curve == expected
    assert_same(state, plain)


@pytest.mark.parametrize("path", ["native", "program"])
@every_kind
def test_a_fast_way_resumes_bitwise_too(make_state: StateMaker, tmp_path: Path, kind: str, path: str) -> None:
    def begin() -> TrainState:
        state = make_state(settings=tiny_settings(**KINDS[kind]))
        state.step = step_by(path)
        return state

    plain, first, resumed = begin(), begin(), begin()
    expected = losses(plain, 7 * STEP_TOKENS)
    curve = losses(first, 3 * STEP_TOKENS)
    save(tmp_path / "file", first)
    load(tmp_path / "file", resumed)
    assert curve + losses(resumed, 7 * STEP_TOKENS) == expected
    assert_same(resumed, plain)


@every_kind
def test_a_fork_goes_on_as_its_trunk(make_state: StateMaker, kind: str) -> None:
    trunk = make_state(spec=DROPPING, settings=tiny_settings(final_rate_share=1.0, **KINDS[kind]))
    list(train(trunk, until_tokens=6 * STEP_TOKENS))
    fork = fork_cooldown(trunk, 3 * STEP_TOKENS)
    assert losses(fork) == losses(trunk, 9 * STEP_TOKENS)
    assert_same(fork, trunk)


@every_kind
def test_a_rollback_brings_all_memory_back(make_state: StateMaker, kind: str) -> None:
    """The training that went back goes on bitwise as one that began there with half the rate."""
    state = make_state(settings=tiny_settings(**KINDS[kind]))
    state.step = Faulty(step_by("eager"), kick, (KEEP_STEPS + 6) * STEP_TOKENS)
    list(train(state, until_tokens=(KEEP_STEPS + 12) * STEP_TOKENS))
    (back,) = state.rollbacks
    other = make_state(settings=tiny_settings(**KINDS[kind]))
    other.step = step_by("eager")
    list(train(other, until_tokens=back.to_tokens))
    other.schedule = other.schedule.lower(0.5)
    list(train(other, until_tokens=(KEEP_STEPS + 12) * STEP_TOKENS))
    assert torch.equal(state.optimizer.flat.weights, other.optimizer.flat.weights)
    ours, theirs = dict(moments(state.optimizer)), dict(moments(other.optimizer))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(
    ("kind", "spec"),
    list(itertools.product(KINDS, [tiny_spec(), tiny_spec(tied_embeddings=False, activation="swiglu", position="learned")])),
)
def test_what_the_optimizer_remembers_is_its_arithmetic(kind: str, spec: ArchSpec) -> None:
    settings = tiny_settings(**KINDS[kind])
    held = sum(value.numel() for _, value in moments(make(settings, spec)) if value.ndim)
    assert held == cost.moment_values(spec, settings)


@every_kind
def test_every_kind_learns(make_state: StateMaker, kind: str) -> None:
    state = make_state(settings=tiny_settings(**KINDS[kind]))
    curve = losses(state, 80 * STEP_TOKENS)
    assert sum(curve[-10:]) / 10 < curve[0] - 1.0


def test_a_rate_of_zero_moves_nothing() -> None:
    for values in KINDS.values():
        optimizer = make(tiny_settings(**values))
        before = optimizer.flat.weights.clone()
        give(optimizer, 0)
        set_rate(optimizer, 0.0)
        optimizer.step()
        assert torch.equal(optimizer.flat.weights, before)
