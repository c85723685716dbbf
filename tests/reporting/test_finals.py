"""Which trials are final, how repeats are merged, and what goes into a loss's interval."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.evaluation.intervals import t_quantile
from autonas.reporting.finals import (
    PRIOR_BETWEEN,
    PRIOR_DEGREES_OF_FREEDOM,
    PRIOR_DEVIATION,
    clustered_error,
    finals,
    pooled_noise,
    rung_tokens,
    seed_noise,
)
from autonas.trial import StudyRecord, TrialRecord
from tests.reporting.studies import make_study, with_losses


def with_trials(study: StudyRecord, *trials: TrialRecord) -> StudyRecord:
    """The study with these trials in place of those of the same numbers."""
    replaced = {trial.number: trial for trial in trials}
    return dataclasses.replace(study, trials=tuple(replaced.get(trial.number, trial) for trial in study.trials))


def test_only_trials_completed_at_the_last_rung_are_final() -> None:
    study = make_study(repeats=0)
    complete = {trial.number for trial in study.trials if trial.state == "complete"}
    assert {trial.number for trial in finals(study)} == complete
    assert all(trial.outcome.rung == 1 for trial in finals(study))


@pytest.mark.parametrize("state", ["stopped", "infeasible", "failed", "live"])
def test_a_trial_that_did_not_complete_is_not_final_even_with_every_rung_scored(state: str) -> None:
    study = make_study(repeats=0)
    gone = next(trial for trial in study.trials if trial.state == "complete")
    changed = with_trials(study, dataclasses.replace(gone, state=state))  # type: ignore[arg-type]
    assert gone.number not in {trial.number for trial in finals(changed)}


def test_a_trial_that_completed_at_an_earlier_rung_is_not_compared_with_others() -> None:
    study = make_study(repeats=0)
    short = next(trial for trial in study.trials if trial.state == "complete")
    changed = with_trials(study, dataclasses.replace(short, rungs=short.rungs[:1]))
    assert short.number not in {trial.number for trial in finals(changed)}


def test_repeats_are_merged_into_their_original_by_the_mean_without_what_moves_all_repeats_alike() -> None:
    study = make_study(repeats=2)
    merged = {trial.number: trial for trial in finals(study)}
    repeats = [trial for trial in study.trials if trial.repeat_of is not None]
    assert len(repeats) == 2 and not any(repeat.number in merged for repeat in repeats)
    for repeat in repeats:
        assert repeat.repeat_of is not None
        trial = merged[repeat.repeat_of]
        runs = [study.trials[repeat.repeat_of], repeat]
        (shift,) = seed_noise(finals(study)).shifts
        for name, alike in (("val_loss", shift), ("collapse_rate", 0.0)):
            mean = np.mean([run.rungs[1].scores[name].value for run in runs])
            assert trial.scores[name].value == pytest.approx(mean - alike / 2)
        assert trial.seeds == 2


def test_a_repeat_of_something_that_did_not_complete_stands_for_nothing() -> None:
    study = make_study(repeats=1)
    repeat = study.trials[-1]
    assert repeat.repeat_of is not None
    original = dataclasses.replace(study.trials[repeat.repeat_of], state="failed")
    assert {repeat.number, original.number}.isdisjoint(trial.number for trial in finals(with_trials(study, original)))


def test_a_timing_is_not_averaged_over_seeds() -> None:
    study = make_study(repeats=2)
    trial = next(trial for trial in finals(study) if trial.seeds == 2)
    assert trial.scores["latency"] == study.trials[trial.number].scores["latency"]


def test_seed_noise_widens_a_loss_interval_and_more_seeds_narrow_it() -> None:
    once, twice = make_study(repeats=0), make_study(repeats=2)
    number = next(trial.number for trial in finals(twice) if trial.seeds == 2)
    one = next(trial for trial in finals(once) if trial.number == number)
    documents = one.outcome.documents
    assert documents is not None
    evaluation = clustered_error(np.array(documents.nats), np.array(documents.tokens, dtype=float))
    both = math.hypot(evaluation, PRIOR_DEVIATION)
    freedom = both**4 / (evaluation**4 / (len(documents.tokens) - 1) + PRIOR_DEVIATION**4 / PRIOR_DEGREES_OF_FREEDOM)
    score = one.scores["val_loss"]
    assert score.high - score.value == pytest.approx(t_quantile(freedom) * both)
    two = next(trial for trial in finals(twice) if trial.number == number)
    nats = np.mean([run.rungs[1].documents.nats for run in two.runs if run.rungs[1].documents], axis=0)
    evaluation = clustered_error(nats, np.array(documents.tokens, dtype=float))
    noise = seed_noise(finals(twice))
    seeds = noise.deviation / math.sqrt(2)
    both = math.hypot(evaluation, seeds)
    freedom = both**4 / (evaluation**4 / (len(documents.tokens) - 1) + seeds**4 / noise.degrees_of_freedom)
    assert two.scores["val_loss"].high - two.scores["val_loss"].value == pytest.approx(t_quantile(freedom) * both)


def test_bits_per_byte_has_the_seed_noise_of_the_loss_in_its_own_unit() -> None:
    trial = finals(make_study(repeats=0))[0]
    loss, per_byte = trial.scores["val_loss"], trial.scores["bits_per_byte"]
    assert (per_byte.high - per_byte.low) / per_byte.value == pytest.approx((loss.high - loss.low) / loss.value, rel=0.2)


def test_without_repeats_the_noise_is_the_prior() -> None:
    noise = pooled_noise([[3.1], [2.9], []])
    assert (noise.deviation, noise.degrees_of_freedom, noise.repeats) == (PRIOR_DEVIATION, PRIOR_DEGREES_OF_FREEDOM, 0)


@given(st.lists(st.lists(st.floats(1, 9), min_size=1, max_size=4), max_size=6), st.floats(-3, 3))
def test_noise_does_not_depend_on_how_good_the_architectures_are(groups: list[list[float]], shift: float) -> None:
    moved = [[loss + shift * i for loss in group] for i, group in enumerate(groups)]
    assert pooled_noise(moved).deviation == pytest.approx(pooled_noise(groups).deviation, abs=1e-6)


def test_many_repeats_outvote_the_prior() -> None:
    rng = np.random.default_rng(1)
    groups = [list(4 + 0.02 * rng.standard_normal(2)) for _ in range(200)]
    assert pooled_noise(groups).deviation == pytest.approx(0.02, rel=0.25)
    assert pooled_noise(groups[:2]).deviation > 0.04


def test_clustered_error_is_the_spread_of_the_mean_over_new_documents() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(50, 900, size=(4000, 60)).astype(float)
    nats = sizes * (3 + 0.4 * rng.standard_normal(sizes.shape))
    truth = np.std(nats.sum(axis=1) / sizes.sum(axis=1))
    estimated = np.mean([clustered_error(n, s) for n, s in zip(nats[:300], sizes[:300], strict=True)])
    assert estimated == pytest.approx(truth, rel=0.05)


def test_a_full_fidelity_study_scores_at_its_last_rung_only() -> None:
    study = make_study()
    full = {**study.recipe, "budget": {**study.recipe["budget"], "scheduler": "full"}}
    assert rung_tokens(dataclasses.replace(study, recipe=full)) == (1_048_576,)


@pytest.mark.parametrize("shift", [-0.05, 0.0, 0.3])
def test_an_order_that_moves_all_alike_is_no_noise_between_trials(shift: float) -> None:
    rng = np.random.default_rng(7)
    first = 4 + 0.3 * rng.standard_normal(24)
    again = first + shift + 0.01 * rng.standard_normal(24)
    noise = pooled_noise([list(pair) for pair in zip(first, again, strict=True)])
    assert noise.between_trials == pytest.approx(0.01 / math.sqrt(2), rel=0.4)
    assert list(noise.shifts) == pytest.approx([shift], abs=0.01)
    assert noise.deviation > 0.9 * abs(shift) / math.sqrt(2)


def test_one_repeat_does_not_tell_a_shift_from_noise() -> None:
    noise = pooled_noise([[4.0, 4.1], [3.9]])
    assert noise.between_trials == pytest.approx(PRIOR_BETWEEN)
    assert list(noise.shifts) == pytest.approx([0.05]), "half of it"
    assert pooled_noise([[4.0], [3.9]]).shifts == ()


def test_repeated_and_other_trials_are_compared_on_one_footing() -> None:
    """Twelve trials are equal; the order of the repeats makes every loss higher by 0.2."""
    study = make_study(trials=12, survivors=12, repeats=6, infeasible=0, failures=0)
    losses = {trial.number: 4.0 if trial.repeat_of is None else 4.2 for trial in study.trials}
    merged = finals(with_losses(study, losses))
    values = [trial.scores["val_loss"].value for trial in merged]
    assert sorted({trial.seeds for trial in merged}) == [1, 2]
    np.testing.assert_allclose(values, 4.0, atol=0.005)


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=12), st.floats(-1, 1))
def test_noise_between_trials_does_not_depend_on_the_shift(gaps: list[float], shift: float) -> None:
    one = pooled_noise([[4.0, 4.0 + gap] for gap in gaps])
    other = pooled_noise([[4.0, 4.0 + gap + shift] for gap in gaps])
    assert other.between_trials == pytest.approx(one.between_trials, rel=1e-6)
    assert math.isfinite(one.between_trials) and one.between_trials > 0
