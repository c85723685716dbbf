"""Adapters: PEFT's own in what they compute, how many they are, how they are kept and merged."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any, cast

import peft
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.bench.shapes import shape
from autonas.model.transformer import Transformer, build_model
from autonas.training.optimizers import make_optimizer
from autonas.trial import TrainingSettings, TuningSettings
from autonas.tuning.adapters import Adapters
from autonas.tuning.packed import lay_out, pack, solution_nats
from autonas.tuning.state import Tuning
from tests.tuning.test_packed import drawn

SPEC = ArchSpec(layers=2, width=32, heads=4, kv_heads=2, vocab_size=50, context_length=32, activation="swiglu")
EVERY = ("qkv", "out", "up", "down")
TOKENS = torch.arange(40).view(2, 20)
CPU = torch.device("cpu")


def settings(**changes: Any) -> TuningSettings:
    given = {"rank": 4, "alpha": 12.0, "dropout": 0.0, "targets": EVERY, "steps": 1, "learning_rate": 1e-3, "probe_steps": 1}
    return TuningSettings(base="", base_weights="", data="", data_digest="", method="lora", **{**given, **changes})


@pytest.fixture
def base() -> Transformer:
    return build_model(SPEC, 1).eval()


def trained(base: Transformer, **changes: Any) -> Adapters:
    """Adapters whose B is not zero any more."""
    adapters = Adapters(base, settings(**changes), 7)
    torch.manual_seed(0)
    for name, weights in adapters.parameters():
        if name.endswith(".B"):
            torch.nn.init.normal_(weights, std=0.1)
    adapters.model.eval()
    return adapters


def test_new_adapters_change_nothing_and_the_same_seed_draws_the_same(base: Transformer) -> None:
    state = torch.random.get_rng_state()
    one, other, third = (Adapters(base, settings(), seed) for seed in (7, 7, 8))
    assert torch.equal(torch.random.get_rng_state(), state), "the global random state is not moved"
    torch.testing.assert_close(one.model.eval()(TOKENS), base(TOKENS))
    weights = [dict(each.parameters()) for each in (one, other, third)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_merged_weights_compute_what_the_adapters_do_and_the_base_stays(base: Transformer) -> None:
    before = copy.deepcopy(base)
    adapters, merged = trained(base), copy.deepcopy(base)
    adapters.merge_into(merged, base)
    assert (merged(TOKENS) - base(TOKENS)).abs().max() > 0.01, "the adapters say something"
    torch.testing.assert_close(merged(TOKENS), adapters.model(TOKENS), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), before.parameters(), strict=True))


def test_merging_is_what_peft_merges(base: Transformer) -> None:
    adapters, merged = trained(base), copy.deepcopy(base)
    adapters.merge_into(merged, base)
    theirs = copy.deepcopy(adapters.peft).merge_and_unload()
    for (name, ours), (other, its) in zip(merged.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(ours, its, rtol=0, atol=1e-7)


def test_a_layer_with_its_adapter_is_pefts_layer_in_value_and_gradient(base: Transformer) -> None:
    adapters = trained(base)
    batch = pack(lay_out(drawn(4)), CPU)
    weights = [weight for _, weight in adapters.parameters()]
    ours = solution_nats(adapters.model, batch, adapters.project)
    theirs = solution_nats(adapters.model, batch)  # which calls PEFT's layers
    torch.testing.assert_close(ours, theirs)
    both = [torch.autograd.grad(nats.mean(), weights) for nats in (ours, theirs)]
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_what_is_written_is_read_by_peft(base: Transformer, tmp_path: Path) -> None:
    adapters = trained(base)
    adapters.save(tmp_path / "adapter")
    read = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(read(TOKENS), adapters.model(TOKENS))


@pytest.mark.parametrize("targets", [("qkv",), ("qkv", "out"), EVERY], ids=",".join)
def test_only_adapters_of_the_named_layers_are_trained(base: Transformer, targets: tuple[str, ...]) -> None:
    adapters = Adapters(base, settings(targets=targets), 0)
    assert {name.split(".")[-1] for name in adapters.layers} == set(targets)
    trainable = {weight for weight in adapters.model.parameters() if weight.requires_grad}
    assert trainable == {weight for _, weight in adapters.parameters()}


def test_the_prior_systems_adapters_have_its_number_of_weights() -> None:
    """Rank 8 on qkv and out of eight layers of width 512: 8 · (8 · (512 + 1536) + 8 · (512 + 512)) = 196,608."""
    adapters = Adapters(build_model(shape("large"), 0), settings(rank=8, targets=("qkv", "out")), 0)
    assert sum(weight.numel() for _, weight in adapters.parameters()) == 196_608


def test_dropout_is_of_what_the_adapters_read_alone_and_only_in_training(base: Transformer) -> None:
    adapters = trained(base, dropout=0.5)
    batch = pack(lay_out(drawn(4)), CPU)
    quiet = solution_nats(adapters.model, batch, adapters.project)
    torch.testing.assert_close(quiet, solution_nats(adapters.model, batch, adapters.project))
    adapters.model.train()
    assert not torch.allclose(quiet, solution_nats(adapters.model, batch, adapters.project))
    fresh = Adapters(base, settings(dropout=0.5), 7)  # whose B is zero
    fresh.model.train()
    torch.testing.assert_close(solution_nats(fresh.model, batch, fresh.project), solution_nats(base, batch))


@pytest.mark.parametrize(("layers", "width", "times"), [(2, 128, 1.0), (2, 32, 4.0), (8, 128, 0.5)])
def test_their_rate_is_that_of_hidden_matrices_of_the_same_shape(layers: int, width: int, times: float) -> None:
    spec = dataclasses.replace(SPEC, layers=layers, width=width)
    model = build_model(spec, 0)
    for scaling, expected in (("shape", times * 1e-3), ("none", 1e-3)):
        training = TrainingSettings(learning_rate=1e-3, rate_scaling=cast(Any, scaling))
        (group,) = Tuning(model, settings(learning_rate=1e-3), training, drawn(4), 0).optimizer.param_groups
        assert group["peak_rate"] == pytest.approx(expected)
        hidden = next(
            each for each in make_optimizer(copy.deepcopy(model), spec, training).param_groups if each["role"] == "hidden"
        )
        assert group["peak_rate"] == hidden["peak_rate"]
