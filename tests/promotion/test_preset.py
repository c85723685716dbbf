"""search_spaces/strong_regularisation.yaml is the prior system's 50,000-step run: its size, its optimiser, its schedule."""

from __future__ import annotations

import pytest

from autonas import cost
from autonas.arch import ArchSpec
from autonas.model.transformer import Transformer
from autonas.recipe import Recipe, load_recipe
from autonas.run_folder import run_budget, step_tokens
from autonas.training.optimizers import make_optimizer
from autonas.training.schedule import Schedule

STEPS = 50_000


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("strong_regularisation")


@pytest.fixture(scope="module")
def spec(recipe: Recipe) -> ArchSpec:
    return recipe.space.decode({})


def test_the_space_holds_exactly_the_29_million_architecture(recipe: Recipe, spec: ArchSpec) -> None:
    assert not recipe.space.searched
    assert cost.count_params(spec) == 29_180_928
    assert spec == ArchSpec(
        layers=8,
        width=512,
        heads=8,
        kv_heads=8,
        ffn_multiplier=3.0,
        norm="layernorm",
        activation="gelu",
        position="rope",
        tied_embeddings=False,
        attention_dropout=0.2,
        residual_dropout=0.2,
        label_smoothing=0.1,
        vocab_size=8000,
        context_length=256,
    )


def test_every_weight_has_the_one_rate_and_the_one_decay(recipe: Recipe, spec: ArchSpec) -> None:
    # A model of the same roles is enough: the groups depend on names and dimensions only.
    small = ArchSpec.from_dict({**spec.to_dict(), "layers": 1, "width": 16, "heads": 2, "kv_heads": 2, "vocab_size": 300})
    model = Transformer(small)
    optimizer = make_optimizer(model, small, recipe.training)
    assert {group["peak_rate"] for group in optimizer.param_groups} == {3e-4}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.05}
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.95)}
    assert set(optimizer.flat.places) == {name for name, _ in model.named_parameters()}
    assert {group["role"] for group in optimizer.param_groups} == {"embedding", "head", "hidden", "gain"}


def test_the_rate_warms_up_over_2000_steps_and_falls_by_a_cosine_to_1e_5(recipe: Recipe, spec: ArchSpec) -> None:
    training = recipe.training
    each = step_tokens(spec, training)
    assert each == 8192
    budget = run_budget(spec, training, STEPS, recipe.search.cooldown_share)
    assert (budget.tokens, budget.cooldown_tokens) == (409_600_000, 0)
    schedule = Schedule(
        warmup_tokens=training.warmup_tokens,
        final_share=training.final_rate_share,
        kind=training.schedule,
        total_tokens=budget.tokens,
    )

    def rate(step: int) -> float:
        return training.learning_rate * schedule.multiplier(step * each)

    assert rate(0) == 0.0
    assert rate(1_000) == pytest.approx(1.5e-4)
    assert rate(2_000) == pytest.approx(3e-4)
    assert rate(26_000) == pytest.approx((3e-4 + 1e-5) / 2), "half-way of the cosine"
    assert rate(50_000) == pytest.approx(1e-5)


def test_clipping_and_data_are_the_prior_ones(recipe: Recipe) -> None:
    assert recipe.training.clip_norm == 1.0
    assert recipe.training.precision == "auto"
    assert recipe.tokenizer.vocab_size == 8000
    assert recipe.corpus.sources == ("python-stdlib", "site-packages")
