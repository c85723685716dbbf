"""Whether probabilities and differences mean what they say."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autonas import pareto
from autonas.objective import OBJECTIVES
from autonas.reporting.finals import finals, seed_noise
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.reporting.uncertainty import difference, document_nats, draw_scores, front_probabilities
from autonas.trial import DocumentLosses, Score
from tests.reporting.studies import make_study

QUIET = SeedNoise(
    deviation=1e-9,
    degrees_of_freedom=9,
    repeats=7,
    prior_deviation=0.07,
    prior_degrees_of_freedom=2,
    between_trials=1e-9,
    shifts=(),
)


def shifted(trial: FinalTrial, nats_per_token: float, *, jitter: float = 0.0, number: int = 99) -> FinalTrial:
    """A trial whose loss is higher by so much on every document, give or take `jitter` a document."""
    documents = trial.outcome.documents
    assert documents is not None
    tokens = np.array(documents.tokens)
    extra = nats_per_token + jitter * np.random.default_rng(5).standard_normal(len(tokens))
    nats = np.array(documents.nats) + tokens * extra
    outcome = dataclasses.replace(trial.outcome, documents=dataclasses.replace(documents, nats=tuple(map(float, nats))))
    value = float(nats.sum() / tokens.sum())
    score = dataclasses.replace(trial.scores["val_loss"], value=value, low=value - 0.2, high=value + 0.2)
    outcome = dataclasses.replace(outcome, scores={**outcome.scores, "val_loss": score})
    run = dataclasses.replace(trial.runs[0], number=number, rungs=(*trial.runs[0].rungs[:-1], outcome))
    return dataclasses.replace(trial, number=number, outcome=outcome, runs=(run,), scores={**trial.scores, "val_loss": score})


def single(seed: int = 0) -> FinalTrial:
    return finals(make_study(repeats=0, seed=seed))[0]


@settings(max_examples=60, deadline=None)
@given(
    arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4).map(float))
)
def test_probability_is_the_share_of_draws_in_which_a_trial_is_non_dominated(draws: np.ndarray) -> None:
    expected = np.mean([pareto.non_dominated(draw) for draw in draws], axis=0)
    np.testing.assert_allclose(front_probabilities(draws), expected)


def test_on_one_objective_the_probability_is_that_of_the_paired_difference() -> None:
    first = single()
    second = shifted(first, 0.05)
    noise = dataclasses.replace(QUIET, between_trials=0.06)
    draws = draw_scores([first, second], [OBJECTIVES["val_loss"]], noise, 20_000)
    paired = difference(second, first, noise)
    assert paired is not None
    expected = 0.5 * (1 + math.erf(paired.value / paired.error / math.sqrt(2)))
    assert front_probabilities(draws)[0] == pytest.approx(expected, abs=0.02)


def test_documents_are_resampled_jointly_so_a_common_difficulty_does_not_blur_a_comparison() -> None:
    first = single()
    draws = draw_scores([first, shifted(first, 0.01)], [OBJECTIVES["val_loss"]], QUIET, 500)[:, :, 0]
    assert np.std(draws[:, 0]) > 0.03  # alone, the loss is uncertain …
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 0.01, atol=1e-6)  # … but not which is better


def test_trials_scored_on_other_documents_are_not_paired() -> None:
    first = single()
    documents = first.outcome.documents
    assert documents is not None
    other = shifted(first, 0.0)
    tokens = (documents.tokens[0] + 1, *documents.tokens[1:])
    others = DocumentLosses(nats=documents.nats, tokens=tokens, bytes=documents.bytes)
    run = dataclasses.replace(
        other.runs[0], rungs=(other.runs[0].rungs[0], dataclasses.replace(other.outcome, documents=others))
    )
    other = dataclasses.replace(other, outcome=run.rungs[-1], runs=(run,))
    assert document_nats([first, other]) is None
    unpaired, paired = difference(other, first, QUIET), difference(shifted(first, 0.0, jitter=0.01), first, QUIET)
    assert unpaired is not None and paired is not None
    assert not unpaired.paired and paired.paired and unpaired.error > 3 * paired.error


def test_the_paired_error_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    base, covered = single(), 0
    documents = base.outcome.documents
    assert documents is not None
    tokens = np.array(documents.tokens)
    for _ in range(300):
        extra = 0.1 + 0.3 * rng.standard_normal(len(tokens))
        other = shifted(base, 0.0)
        nats = tuple(map(float, np.array(documents.nats) + tokens * extra))
        outcome = dataclasses.replace(other.outcome, documents=dataclasses.replace(documents, nats=nats))
        value = sum(nats) / tokens.sum()
        scores = {**other.scores, "val_loss": Score(value=value, low=value, high=value, unit="nats/token")}
        run = dataclasses.replace(other.runs[0], rungs=(other.runs[0].rungs[0], outcome))
        found = difference(dataclasses.replace(other, outcome=outcome, runs=(run,), scores=scores), base, QUIET)
        assert found is not None
        covered += abs(found.value - 0.1) < 1.96 * found.error
    assert 0.88 <= covered / 300 <= 0.98


def test_the_best_differs_from_itself_by_nothing() -> None:
    found = difference(single(), single(), QUIET)
    assert found is not None and (found.value, found.error) == (0.0, 0.0)


def test_zero_collapsed_samples_are_not_taken_for_a_rate_of_zero() -> None:
    trial = single()
    none = Score(value=0.0, low=0.0, high=0.06, unit="share", n=64)
    trial = dataclasses.replace(trial, scores={**trial.scores, "collapse_rate": none})
    draws = draw_scores([trial], [OBJECTIVES["collapse_rate"]], QUIET, 4000)[:, 0, 0]
    assert draws.min() >= 0 and draws.max() <= 1 and draws.mean() == pytest.approx(0.03, abs=0.003)
    assert np.mean(draws > 0.001) > 0.9


def test_architectures_that_infer_alike_share_the_error_of_their_one_timing() -> None:
    trial = single()
    twin = dataclasses.replace(trial, number=98, spec=dataclasses.replace(trial.spec, residual_dropout=0.1))
    draws = draw_scores([trial, twin], [OBJECTIVES["latency"]], QUIET, 200)[:, :, 0]
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    assert np.std(draws[:, 0]) > 0


def test_exact_scores_are_drawn_exactly() -> None:
    trials = finals(make_study())
    draws = draw_scores(trials, [OBJECTIVES["params"]], seed_noise(trials), 50)
    np.testing.assert_allclose(draws[:, :, 0], np.tile([t.scores["params"].value for t in trials], (50, 1)), rtol=1e-12)
    assert (draws == draws[0]).all()


def test_the_same_trials_get_the_same_draws() -> None:
    trials = finals(make_study())
    objectives = [OBJECTIVES[name] for name in ("val_loss", "bits_per_byte", "latency", "collapse_rate")]
    first, second = (draw_scores(trials, objectives, seed_noise(trials), 300) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
