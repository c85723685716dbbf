"""The scale model of a full run: what it keeps, what it approximates and says so, and which one is chosen."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autonas import cost
from autonas.arch import ArchSpec
from autonas.policy.replica import (
    FEWEST_STEPS,
    FEWEST_WINDOWS,
    FullRun,
    Replica,
    block_params,
    choose_replica,
    distortion,
    replica_of,
    shapes,
    training_flops,
)
from autonas.run_folder import run_budget
from autonas.trial import TrainingSettings

PRIOR = ArchSpec(layers=8, width=512, heads=8, kv_heads=8, ffn_multiplier=3.0, norm="layernorm", tied_embeddings=False)


def full_run(
    spec: ArchSpec = PRIOR, steps: int = 50_000, batch_windows: int = 32, corpus_tokens: int = 30_200_000, cooldown: float = 0.2
) -> FullRun:
    """By default the prior system's run of 50,000 steps: 13.6 epochs over 30.2 M tokens."""
    each = batch_windows * spec.context_length
    training = TrainingSettings(batch_tokens=each, warmup_tokens=steps * each // 25, learning_rate=1e-3, weight_decay=0.05)
    budget = run_budget(spec, training, steps, cooldown)
    return FullRun(spec=spec, training=training, budget=budget, corpus_tokens=corpus_tokens)


SPECS = st.builds(
    lambda layers, heads, group, half, **kinds: ArchSpec(
        layers=layers, heads=heads * group, kv_heads=heads, width=heads * group * half * 2, context_length=32, **kinds
    ),
    layers=st.integers(1, 12),
    heads=st.integers(1, 4),
    group=st.integers(1, 3),
    half=st.integers(4, 40),
    ffn_multiplier=st.sampled_from([2.0, 2.5, 4.0]),
    activation=st.sampled_from(["gelu", "swiglu"]),
    position=st.sampled_from(["rope", "learned"]),
    tied_embeddings=st.booleans(),
    vocab_size=st.integers(300, 9000),
)
RUNS = st.builds(
    full_run,
    spec=SPECS,
    steps=st.integers(200, 100_000),
    batch_windows=st.integers(1, 64),
    corpus_tokens=st.integers(20_000, 50_000_000),
    cooldown=st.floats(0.05, 0.5),
)


def test_the_runs_of_the_reference_have_the_figures_that_are_quoted() -> None:
    full = full_run()
    assert full.epochs == pytest.approx(13.6, abs=0.05)
    assert cost.count_params(PRIOR) == 29_180_928
    assert 30.2e6 / cost.count_params(PRIOR) == pytest.approx(1.03, abs=0.01)
    assert full.steps == 50_000
    ratio, _ = replica_of(full, PRIOR).ratios()["unique_tokens_per_parameter"]  # type: ignore[union-attr]
    assert ratio == pytest.approx(1.03, abs=0.01)


@given(run=RUNS, share=st.floats(1e-4, 1.0))
def test_a_replica_ends_as_the_full_run_ends(run: FullRun, share: float) -> None:
    """The ratios that are kept, each to the rounding that whole windows and whole steps ask for."""
    replica = choose_replica(run, most=share * training_flops(run))
    assume(replica is not None)
    assert replica is not None
    own, each = replica.run, replica.run.batch_windows * replica.run.spec.context_length
    ratios = replica.ratios()
    assert own.tokens == own.steps * each
    assert ratios["epochs"][1] == pytest.approx(ratios["epochs"][0], abs=1.01 * own.batch_windows / own.num_windows)
    full_ratio, own_ratio = ratios["unique_tokens_per_parameter"]
    assert own_ratio == pytest.approx(full_ratio, rel=1.01 * 0.5 / own.num_windows)
    assert ratios["cooldown_share"][1] == pytest.approx(ratios["cooldown_share"][0], abs=1.01 / own.steps)
    assert ratios["warmup_share"][1] == pytest.approx(ratios["warmup_share"][0], abs=1.0 / own.tokens)
    assert replica.unique_tokens <= run.corpus_tokens
    assert (replica.unique_tokens - 1) % own.spec.context_length == 0, "whole windows, and the last target"
    if own.batch_windows > 1:  # the batch could be scaled, so that an epoch has as many steps, but for its rounding
        assert ratios["steps"][1] / ratios["steps"][0] == pytest.approx(1.0, abs=0.51 / (own.batch_windows - 0.5) + 0.01)


@given(run=RUNS, share=st.floats(1e-4, 1.0))
def test_a_replica_is_of_the_same_family_and_no_larger(run: FullRun, share: float) -> None:
    replica = choose_replica(run, most=share * training_flops(run))
    assume(replica is not None)
    assert replica is not None
    own, full = replica.run.spec, run.spec
    same = ("ffn_multiplier", "norm", "activation", "position", "tied_embeddings", "vocab_size", "context_length")
    assert {name: getattr(own, name) for name in same} == {name: getattr(full, name) for name in same}
    assert own.layers <= full.layers and own.width <= full.width and own.heads <= full.heads
    assert own.head_width <= full.head_width
    assert full.head_width < 16 or own.head_width >= 8
    assert training_flops(replica.run) <= share * training_flops(run)
    assert replica.run.num_windows >= min(FEWEST_WINDOWS, run.num_windows)
    assert replica.run.steps >= min(FEWEST_STEPS, run.steps)


@given(run=RUNS, shares=st.tuples(st.floats(1e-4, 1.0), st.floats(1e-4, 1.0)))
def test_more_compute_buys_no_worse_a_replica(run: FullRun, shares: tuple[float, float]) -> None:
    less, more = (choose_replica(run, most=share * training_flops(run)) for share in sorted(shares))
    assume(less is not None)
    assert less is not None and more is not None

    def worth(replica: Replica) -> float:
        return math.log2(block_params(replica.run.spec)) - distortion(run.spec, replica.run.spec)

    assert worth(more) >= worth(less) - 1e-9


def test_the_whole_run_is_its_own_replica_where_it_may_cost_as_much() -> None:
    full = full_run()
    replica = choose_replica(full, most=training_flops(full))
    assert replica is not None
    assert replica.run.spec == full.spec
    assert replica.run.budget == full.budget
    assert replica.run.training == full.training
    assert replica.scale == replica.rate_factor == 1.0


def test_nothing_is_chosen_where_everything_costs_too_much_or_is_too_short() -> None:
    full = full_run()
    assert choose_replica(full, most=1e-9 * training_flops(full)) is None
    short = full_run(steps=200, batch_windows=1, corpus_tokens=20 * 256 + 1)
    small = dataclasses.replace(PRIOR, layers=1, width=64, heads=1, kv_heads=1)
    assert replica_of(short, small) is None, "a corpus of less than sixteen windows"


def test_any_price_may_be_asked() -> None:
    full = full_run()

    def steps(run: FullRun) -> float:
        return float(run.steps)

    assert choose_replica(full, most=10, price=steps) is None
    found = choose_replica(full, most=48_000, price=steps)
    assert found is not None and found.run.steps <= 48_000


def test_where_the_batch_is_smaller_the_rate_is_lower_and_forgetting_in_an_epoch_the_same() -> None:
    full = full_run()
    small = dataclasses.replace(PRIOR, layers=2, width=128, heads=2, kv_heads=2)
    replica = replica_of(full, small)
    assert replica is not None
    assert (full.batch_windows, replica.run.batch_windows) == (32, 3)
    own = replica.run.training
    assert own.learning_rate == pytest.approx(full.training.learning_rate / math.sqrt(32 / 3))
    product = full.training.learning_rate * full.training.weight_decay
    assert own.learning_rate * own.weight_decay == pytest.approx(product)
    named = replica.spec_with({"learning_rate": 2e-3, "weight_decay": 0.1, "residual_dropout": 0.2})
    assert named.learning_rate == pytest.approx(2e-3 * replica.rate_factor)
    assert named.weight_decay == pytest.approx(0.1 / replica.rate_factor)
    assert named.residual_dropout == 0.2
    assert (named.layers, named.width) == (2, 128)


def test_what_the_full_runs_spec_names_is_scaled_as_what_its_training_has() -> None:
    named = dataclasses.replace(PRIOR, learning_rate=1e-3, weight_decay=0.05, batch_tokens=8192)
    plain, own = choose_replica(full_run(), most=1e16), choose_replica(full_run(spec=named), most=1e16)
    assert plain is not None and own is not None
    assert own.run.spec.batch_tokens == plain.run.training.batch_tokens
    assert own.run.spec.learning_rate == plain.run.training.learning_rate
    assert own.run.spec.weight_decay == plain.run.training.weight_decay


@given(spec=SPECS)
def test_every_shape_can_be_built_and_the_full_one_is_among_them(spec: ArchSpec) -> None:
    found = list(shapes(spec))
    assert spec in found
    assert len(set(found)) == len(found)
    assert all(distortion(spec, each) >= 0 for each in found)
    assert min(distortion(spec, each) for each in found) == 0
