"""Which values are tried, whether a budget can tell them apart, and what trained arms tell: decided, refused, confirmed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import HORIZON_BOUND
from autonas.policy.arms import Arm, Dimension, PairNoise, arms_of, dimensions, identifiable
from autonas.policy.verdicts import Trained, choose_arms, confirm, paired_differences
from autonas.recipe import price
from autonas.space.loading import read_space
from autonas.space.node import from_values
from autonas.space.space import Space
from autonas.trial import DocumentLosses, TrainingSettings

SIZES = tuple(int(n) for n in np.random.default_rng(1).integers(200, 9000, 20))
NONE = Arm(changes={})
DROPOUT = Dimension(name="residual_dropout", default=0.0, values=(0.1, 0.2))


def space(**dimensions: object) -> Space:
    values = {"layers": 1, "width": {"choice": [16, 32]}, "heads": 2, **dimensions}
    root = from_values({"space": values}, "a test").section(("space", "rules", "limits"))
    return read_space(root, name="s", vocab_size=300, context_length=32, sample_horizon_bound=False, price=price)


def documents(loss: float, rng: np.random.Generator, spread: float = 0.02) -> DocumentLosses:
    """Of documents that are as hard as each other but for `spread` nats, with a mean of about `loss`."""
    nats = tuple(float(n * (loss + spread * rng.standard_normal())) for n in SIZES)
    return DocumentLosses(nats=nats, tokens=SIZES, bytes=SIZES)


def training(
    losses: Mapping[str, float], *, name: str = "residual_dropout", seeds: int = 2, noise: float = 0.0, seed: int = 0
) -> list[Trained]:
    """Arms of one dimension that end at these losses (by value, as a text; "" is the default), each seed off by `noise`."""
    rng = np.random.default_rng(seed)
    arms = {"": NONE, **{value: Arm(changes={name: float(value)}) for value in losses if value}}
    return [
        Trained(arm=arms[value], seed=s, documents=documents(loss + noise * rng.standard_normal(), rng))
        for s, (value, loss) in itertools.product(range(seeds), losses.items())
    ]


# What is tried


def test_of_a_range_values_are_spread_and_of_options_the_next_are_taken() -> None:
    found = dimensions(
        space(
            residual_dropout={"float": [0.0, 0.2]},
            attention_dropout={"float": [0.0, 0.3], "default": 0.1},
            weight_decay={"choice": [0.0, 0.01, 0.1, 0.2, 0.5, 1.0]},
            learning_rate={"float": [1e-4, 1e-2], "log": True},
            label_smoothing=0.1,
        ),
        space().decode({"width": 16}),
        TrainingSettings(learning_rate=1e-3, weight_decay=0.1),
    )
    by_name = {d.name: (d.default, d.values) for d in found}
    assert by_name["residual_dropout"] == (0.0, (0.1, 0.2))
    assert by_name["weight_decay"] == (0.1, (0.0, 0.01, 0.2)), "the study's own decay is the default"
    assert by_name["learning_rate"][0] == 1e-3
    assert by_name["learning_rate"][1] == pytest.approx((1e-4, 1e-2)), "the middle is the default"
    assert "label_smoothing" not in by_name, "it does not vary"


def test_a_default_of_the_space_is_the_default_of_its_arms() -> None:
    held = space(attention_dropout={"float": [0.0, 0.3], "default": 0.1})
    (found,) = dimensions(held, held.decode({"width": 16}), TrainingSettings())
    assert (found.default, found.values) == (0.1, (0.0, 0.15, 0.3))


@given(st.lists(st.builds(Dimension, name=st.sampled_from(HORIZON_BOUND), default=st.just(0.0), values=st.just((0.1, 0.2)))))
def test_every_arm_changes_one_dimension_and_one_arm_none(found: list[Dimension]) -> None:
    first, *others = arms_of(found)
    assert first.changes == {} and first.name == "defaults"
    assert all(len(arm.changes) == 1 for arm in others)
    assert len(others) == sum(len(d.values) for d in found)


# Whether it can be told


@pytest.mark.parametrize("name", [n for n in HORIZON_BOUND if n != "batch_tokens"])
def test_no_truncated_run_may_rank_a_dimension(name: str) -> None:
    quiet = PairNoise(over_documents=1e-4, over_seeds=1e-4)
    for epochs in (0.1, 1.0, 3.6, 11.0, 13.0):
        found = identifiable(name, epochs=epochs, full_epochs=13.6, seeds=9, noise=quiet)
        assert not found.possible, "what the reference shows of dropout is wrong up to the eleventh epoch and beyond"
        assert f"{epochs:.2g} of the full run's 13.6 epochs cannot rank it" in found.reason
    assert identifiable(name, epochs=13.6, full_epochs=13.6, seeds=9, noise=quiet).possible


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("residual_dropout", False),
        ("attention_dropout", False),
        ("weight_decay", False),
        ("label_smoothing", True),
        ("learning_rate", True),
        ("batch_tokens", False),
    ],
)
def test_what_keeps_from_learning_by_heart_needs_repetition(name: str, possible: bool) -> None:
    found = identifiable(name, epochs=1.5, full_epochs=1.5, seeds=4)
    assert found.possible == possible
    assert found.reason.startswith(name)
    if name == "label_smoothing":
        assert "unsmoothed loss, miscalibration and all" in found.reason


def test_noise_that_hides_even_large_effects_is_refused_with_what_would_do() -> None:
    loud = PairNoise(over_documents=0.01, over_seeds=0.1)
    found = identifiable("label_smoothing", epochs=9, full_epochs=9, seeds=2, noise=loud)
    assert not found.possible
    assert "hides even effects of 0.1" in found.reason
    needed = int(found.reason.rpartition("; ")[2].split()[0])
    assert identifiable("label_smoothing", epochs=9, full_epochs=9, seeds=needed, noise=loud).possible
    assert not identifiable("label_smoothing", epochs=9, full_epochs=9, seeds=needed - 1, noise=loud).possible
    blind = PairNoise(over_documents=0.05, over_seeds=0.01)
    assert "more validation documents" in identifiable("label_smoothing", epochs=9, full_epochs=9, seeds=99, noise=blind).reason


def test_the_expected_error_is_the_one_that_arms_are_found_to_have() -> None:
    noise = PairNoise(over_documents=0.03 / math.sqrt(len(SIZES)), over_seeds=0.04, freedom=1e9)
    expected = identifiable("residual_dropout", epochs=9, full_epochs=9, seeds=3, noise=noise).error
    found = [
        paired_differences(training({"": 4.0, "0.1": 4.0}, seeds=3, seed=seed), prior=noise)[0].error for seed in range(200)
    ]
    assert np.median(found) == pytest.approx(expected, rel=0.1)


# What the arms tell


def test_a_value_that_is_better_beyond_doubt_is_chosen_and_the_lowest_of_them() -> None:
    (verdict,) = choose_arms([DROPOUT], training({"": 4.5, "0.1": 4.3, "0.2": 4.1}))
    assert (verdict.chosen, verdict.identified) == (0.2, True)
    assert verdict.reason.startswith("residual_dropout 0.2 instead of 0: -0.39")
    assert [found.changes["residual_dropout"] for found in verdict.differences] == [0.1, 0.2]


def test_a_default_that_nothing_beats_is_identified() -> None:
    (verdict,) = choose_arms([DROPOUT], training({"": 4.0, "0.1": 4.3, "0.2": 4.5}))
    assert (verdict.chosen, verdict.identified) == (0.0, True)
    assert "0, its default: 0.1 differs by +0.3" in verdict.reason


@pytest.mark.parametrize("losses", [{"": 4.5, "1": 4.1}, {"": 4.0, "1": 4.6}])
def test_a_verdict_on_weight_decay_says_how_far_it_can_be_trusted(losses: Mapping[str, float]) -> None:
    decay = Dimension(name="weight_decay", default=0.1, values=(1.0,))
    (verdict,) = choose_arms([decay], training(losses, name="weight_decay"))
    assert verdict.identified
    assert "agreed with full runs in 2 of 5 cases" in verdict.reason
    assert "2 of 5 cases" in identifiable("weight_decay", epochs=9, full_epochs=9, seeds=2).reason
    (verdict,) = choose_arms([DROPOUT], training({"": 4.5, "0.1": 4.1, "0.2": 4.1}))
    assert "agreed" not in verdict.reason


def test_what_the_noise_hides_keeps_its_default_and_says_so() -> None:
    (verdict,) = choose_arms([DROPOUT], training({"": 4.0, "0.1": 3.97, "0.2": 4.3}, noise=0.05, seed=3))
    assert (verdict.chosen, verdict.identified) == (0.0, False)
    assert "not identified by this budget" in verdict.reason
    assert "its default 0 is kept" in verdict.reason


def test_an_arm_that_failed_identifies_no_default() -> None:
    arms = [t for t in training({"": 4.0, "0.1": 4.3}) if t.arm.changes or t.documents is not None]
    failed = [Trained(arm=Arm(changes={"residual_dropout": 0.2}), seed=s, documents=None, failure="diverged") for s in (0, 1)]
    (verdict,) = choose_arms([DROPOUT], [*arms, *failed])
    assert not verdict.identified
    none = [Trained(arm=NONE, seed=0, documents=None, failure="nan"), *failed]
    (verdict,) = choose_arms([DROPOUT], none)
    assert (verdict.chosen, verdict.identified, verdict.differences) == (0.0, False, ())
    assert "no pair could be trained" in verdict.reason


def trials(effect: float, count: int, *, seeds: int = 2, seed_noise: float = 0.03) -> Sequence[list[Trained]]:
    return [
        training({"": 4.0, "0.1": 4.0 + effect, "0.2": 4.0 + effect}, seeds=seeds, noise=seed_noise, seed=seed)
        for seed in range(count)
    ]


def test_values_that_are_worth_nothing_are_seldom_chosen() -> None:
    """Two values are each given a one-sided 2.5 %; seeds differ by as much as the prior says and by less."""
    for seed_noise in (0.0, 0.03 / math.sqrt(2)):
        wrong = sum(choose_arms([DROPOUT], trained)[0].chosen != 0.0 for trained in trials(0.0, 400, seed_noise=seed_noise))
        assert wrong <= 0.06 * 400


def test_more_seeds_find_smaller_effects() -> None:
    def found(seeds: int) -> float:
        return float(np.mean([choose_arms([DROPOUT], t)[0].chosen != 0.0 for t in trials(-0.05, 200, seeds=seeds)]))

    assert found(1) <= found(3) < found(8)
    assert found(8) > 0.8


def test_seed_noise_that_the_arms_show_takes_the_priors_place() -> None:
    prior = PairNoise(over_documents=0.0, over_seeds=0.03)
    (quiet, *_), (loud, *_) = (
        paired_differences(training({"": 4.0, "0.1": 4.1, "0.2": 4.0}, seeds=12, noise=noise), prior=prior)
        for noise in (0.0, 0.2)
    )
    assert quiet.error < 0.015
    assert loud.error == pytest.approx(0.2 * math.sqrt(2 / 12), rel=0.5)


def test_seeds_that_are_not_in_a_pair_are_left_out() -> None:
    trained = [t for t in training({"": 4.0, "0.1": 3.0}, seeds=4) if t.arm.changes or t.seed in (1, 2)]
    (found,) = paired_differences(trained)
    assert found.seeds == 2


# Confirmation


def pair(difference: float, seeds: int = 2) -> list[Trained]:
    both = Arm(changes={"residual_dropout": 0.2, "label_smoothing": 0.1})
    rng = np.random.default_rng(0)
    return [
        Trained(arm=arm, seed=s, documents=documents(loss, rng))
        for s in range(seeds)
        for arm, loss in ((NONE, 4.0), (both, 4.0 + difference))
    ]


@pytest.mark.parametrize(
    ("difference", "confirmed"), [(-0.3, True), (-0.06, True), (-0.005, False), (0.0, False), (0.2, False)]
)
def test_new_seeds_confirm_by_a_standard_error(difference: float, confirmed: bool) -> None:
    found = confirm(pair(difference))
    assert found.confirmed == confirmed
    assert found.reason.startswith("confirmed by 2 pairs" if confirmed else "not confirmed by 2 pairs")


def test_a_pair_that_failed_confirms_nothing() -> None:
    trained = [Trained(arm=NONE, seed=0, documents=None, failure="diverged: at step 3")]
    found = confirm(trained)
    assert not found.confirmed
    assert "diverged" in found.reason
