from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS
from autonas.model.transformer import build_model
from autonas.training.optimizers import RULES, make_optimizer, moments, role, set_moments, set_rate
from tests.training.conftest import tiny_settings, tiny_spec

specs = st.builds(
    tiny_spec,
    layers=st.integers(1, 3),
    width=st.sampled_from((8, 16, 32)),
    norm=st.sampled_from(NORMS),
    activation=st.sampled_from(ACTIVATIONS),
    position=st.sampled_from(POSITIONS),
    tied_embeddings=st.booleans(),
)


def groups_of(**changes: Any) -> dict[str, dict[str, Any]]:
    spec = tiny_spec(**changes)
    return {group["role"]: group for group in make_optimizer(build_model(spec, 0), spec, tiny_settings()).param_groups}


@given(specs)
@settings(max_examples=30, deadline=None)
def test_every_weight_is_in_one_group_and_only_matrices_decay(spec: Any) -> None:
    model = build_model(spec, 0)
    optimizer = make_optimizer(model, spec, tiny_settings())
    ungrouped = {id(weight) for weight in model.parameters()}
    for group in optimizer.param_groups:
        (weights,) = group["params"]
        begin = weights.data_ptr()
        end = begin + weights.nbytes
        members = [weight for weight in model.parameters() if begin <= weight.data_ptr() < end]
        assert all(weight.ndim == 2 for weight in members) or group["weight_decay"] == 0.0
        assert all(weight.ndim == 1 for weight in members) == (group["role"] == "gain")
        ungrouped -= {id(weight) for weight in members}
    assert not ungrouped


def test_roles_follow_from_names() -> None:
    tied, untied = tiny_spec(position="learned"), tiny_spec(position="learned", tied_embeddings=False)
    found = {name: role(name, weight, untied) for name, weight in build_model(untied, 0).named_parameters()}
    assert (found["embedding.weight"], found["position_embedding.weight"]) == ("embedding", "position")
    assert found["unembedding.weight"] == "head"
    assert found["final_norm.weight"] == found["blocks.0.attention_norm.weight"] == "gain"
    assert {found[name] for name in found if ".attention." in name or ".feed_forward." in name} == {"hidden"}
    assert role("embedding.weight", torch.zeros(2, 2), tied) == "tied"
    assert set(found.values()) | {"tied"} == set(RULES)


@given(st.sampled_from((16, 64, 128, 256)), st.booleans())
@settings(max_examples=12, deadline=None)
def test_the_base_rate_is_that_of_hidden_matrices_at_width_128_and_two_layers(width: int, tied: bool) -> None:
    groups = groups_of(width=width, tied_embeddings=tied)
    assert groups["hidden"]["lr"] == pytest.approx(2e-3 * 128 / width)


def test_deeper_models_have_lower_rates_in_their_blocks_only() -> None:
    shallow, deep = groups_of(layers=2), groups_of(layers=8)
    assert deep["hidden"]["lr"] == pytest.approx(shallow["hidden"]["lr"] / 2)
    assert all(deep[kind]["lr"] == shallow[kind]["lr"] for kind in deep if kind != "hidden")


def test_what_a_step_forgets_does_not_depend_on_the_shape() -> None:
    shares = [groups_of(width=width, layers=layers)["hidden"] for width, layers in ((16, 1), (64, 2), (256, 5))]
    assert [group["lr"] * group["weight_decay"] for group in shares] == [pytest.approx(2e-3 * 0.1)] * 3


def test_the_rates_and_decay_a_spec_names_are_used() -> None:
    groups = groups_of(width=128, learning_rate=0.01, weight_decay=0.3)
    assert (groups["hidden"]["lr"], groups["hidden"]["weight_decay"]) == (pytest.approx(0.01), pytest.approx(0.3))


@given(st.floats(0.0, 1.0))
@settings(max_examples=10, deadline=None)
def test_a_schedule_scales_all_groups_alike(multiplier: float) -> None:
    optimizer = make_optimizer(build_model(tiny_spec(), 0), tiny_spec(), tiny_settings())
    set_rate(optimizer, 0.5)
    set_rate(optimizer, multiplier)
    assert all(group["lr"] == group["peak_rate"] * multiplier for group in optimizer.param_groups)


def test_moments_put_into_another_optimizer_give_the_same_next_step() -> None:
    spec = tiny_spec()
    models = [build_model(spec, 0) for _ in range(2)]
    optimizers = [make_optimizer(model, spec, tiny_settings()) for model in models]

    def step(number: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in models[number].parameters():
            assert weight.grad is not None
            weight.grad.copy_(torch.randn(weight.shape, generator=generator))
        optimizers[number].step()

    step(0, 1)
    step(1, 99)  # a state that must be forgotten
    models[1].load_state_dict(models[0].state_dict())
    set_moments(optimizers[1], dict(moments(optimizers[0])))
    before = {name: value.clone() for name, value in moments(optimizers[1])}
    step(0, 2)
    assert all(torch.equal(value, before[name]) for name, value in moments(optimizers[1]))  # copied, not shared
    step(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
