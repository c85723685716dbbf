"""Who is best after a second look: closed forms, a world whose truth is known, and planted luck."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.promotion.evidence import SecondLook, second_look, updated
from autonas.promotion.retest import Retest, Retested
from autonas.promotion.select import Preference, choose_several
from autonas.reporting.front import build_report
from autonas.reporting.posterior import shrunk
from autonas.reporting.report import Report
from autonas.trial import Outcome, Score, StudyRecord
from tests.reporting.studies import make_study, with_losses

finite = st.floats(-5, 5, allow_nan=False)
positive = st.floats(0.01, 2, allow_nan=False)


@given(st.lists(st.tuples(finite, positive, finite, positive), min_size=1, max_size=4))
def test_without_luck_or_a_common_shift_it_is_the_normal_update(rows: Sequence[tuple[float, float, float, float]]) -> None:
    means, variances, seen, errors = (np.array(column) for column in zip(*rows, strict=True))
    found = updated(means, variances, seen, errors, common=0.0, centre=0.0, wide=1.0, luck=0.0)
    precision = 1 / variances + 1 / errors**2
    np.testing.assert_allclose(found.means[0], (means / variances + seen / errors**2) / precision, atol=1e-5)
    np.testing.assert_allclose(np.diag(found.covariances[0]), 1 / precision, rtol=1e-3, atol=1e-6)


@given(st.lists(st.tuples(finite, positive, finite), min_size=2, max_size=4), finite)
def test_what_moves_all_alike_tells_nothing_of_who_is_better(rows: Sequence[tuple[float, float, float]], shift: float) -> None:
    """With candidates known equally well."""
    means, _, seen = (np.array(column) for column in zip(*rows, strict=True))
    equal = np.full(len(means), 0.04)
    one, other = (
        updated(means, equal, seen + by, np.sqrt(equal), common=1e3, centre=0.0, wide=1.0, luck=0.0).means[0]
        for by in (0.0, shift)
    )
    np.testing.assert_allclose(np.subtract.outer(one, one), np.subtract.outer(other, other), atol=1e-4)


@pytest.mark.parametrize(("study", "least", "most"), [(3.70, 0.0, 0.05), (2.70, 0.99, 1.0)])
def test_a_score_is_void_only_where_new_trainings_contradict_it(study: float, least: float, most: float) -> None:
    means, seen, errors = np.array([study, 3.8, 3.9]), np.array([3.71, 3.8, 3.88]), np.full(3, 0.03)
    found = updated(means, np.full(3, 0.05**2), seen, errors, common=0.05, centre=4.0, wide=0.6)
    assert least <= found.luck[0] <= most
    assert found.luck[1] < 0.1 and found.luck[2] < 0.1
    assert found.chances @ found.means[:, 0] == pytest.approx(3.71, abs=0.05)


def test_draws_have_the_moments_of_the_mixture() -> None:
    rng = np.random.default_rng(0)
    found = updated(
        np.array([3.0, 3.5]),
        np.array([0.01, 0.01]),
        np.array([3.4, 3.5]),
        np.array([0.1, 0.1]),
        common=0.05,
        centre=4.0,
        wide=0.5,
    )
    drawn = found.draw(rng, 200_000)
    np.testing.assert_allclose(drawn.mean(axis=0), found.chances @ found.means, atol=3e-3)
    spread = np.einsum("m,mij->ij", found.chances, found.covariances)
    between = found.means - found.chances @ found.means
    np.testing.assert_allclose(np.cov(drawn.T), spread + (found.chances[:, None] * between).T @ between, atol=3e-3)


def worlds(count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Truths, posterior draws and study's scores of the three best as measured of 30 trials, in so many worlds."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(count):
        truth = 4.0 + 0.1 * rng.standard_normal(30)
        study = truth + 0.08 * rng.standard_normal(30)
        best = np.argsort(study)[:3]
        again = truth[best] + 0.06 * rng.standard_normal() + 0.08 / np.sqrt(2) * rng.standard_normal(3)
        known = shrunk(study, np.full(30, 0.08), np.ones((30, 1))).draw(rng, 500)[:, best]
        update = updated(
            known.mean(axis=0), known.var(axis=0), again, np.full(3, 0.08 / np.sqrt(2)), common=0.06, centre=4.0, wide=0.26
        )
        found.append((truth[best], update.draw(rng, 500), study[best]))
    return found


def test_the_winners_curse_is_gone_and_probabilities_are_kept() -> None:
    """Over many worlds: the best as measured is too good by far, after the second look by nothing; and a pick that is said to
    be best with a probability of p is so in a share p of them."""
    seen = worlds(600)
    flattered = np.mean([study[0] - truth[0] for truth, _, study in seen])
    corrected = np.mean([drawn[:, 0].mean() - truth[0] for truth, drawn, _ in seen])
    assert flattered < -0.05
    assert abs(corrected) < 0.012
    told, came, measured = [], [], []
    for truth, drawn, _ in seen:
        chances = np.bincount(drawn.argmin(axis=1), minlength=3) / len(drawn)
        told.append(chances.max())
        came.append(chances.argmax() == truth.argmin())
        measured.append(truth.argmin() == 0)
    assert np.mean(came) == pytest.approx(np.mean(told), abs=0.05)
    assert np.mean(came) > np.mean(measured) + 0.05, "it picks better than the study's scores alone"


# Whole second looks, on a study with plausible numbers


@pytest.fixture(scope="module")
def study() -> StudyRecord:
    return make_study(survivors=7, repeats=2)


@pytest.fixture(scope="module")
def report(study: StudyRecord) -> Report:
    return build_report(study)


def retest_of(report: Report, preference: Preference, seeds: int = 2) -> Retest:
    return Retest(
        candidates=choose_several(report, preference, 3),
        seeds=seeds,
        tokens=1_258_291,
        seconds=None,
        succession=True,
        reach=None,
        apart=None,
    )


def trained_again(report: Report, number: int, losses: Sequence[float]) -> Retested:
    """New trainings of a trial with these losses on every document, and its own collapse rate."""
    trial = next(standing.trial for standing in report.standings if standing.number == number)
    documents = trial.outcome.documents
    assert documents is not None
    outcomes: list[Outcome] = []
    for loss in losses:
        score = Score(value=loss, low=loss - 0.1, high=loss + 0.1, unit="nats/token", n=len(documents.tokens))
        nats = tuple(tokens * loss for tokens in documents.tokens)
        outcomes.append(
            dataclasses.replace(
                trial.outcome,
                scores={**trial.outcome.scores, "val_loss": score},
                documents=dataclasses.replace(documents, nats=nats),
            )
        )
    return Retested(trial=number, outcomes=tuple(outcomes))


def as_measured(report: Report, number: int) -> float:
    return next(s.trial.scores["val_loss"].value for s in report.standings if s.number == number)


def look(report: Report, preference: Preference, changed: dict[int, Sequence[float]] | None = None) -> SecondLook:
    """A second look in which candidates come out as measured, but for those of `changed`."""
    retest = retest_of(report, preference)
    retested = [
        trained_again(report, pick.trial, (changed or {}).get(pick.trial, (as_measured(report, pick.trial),) * 2))
        for pick in retest.candidates
    ]
    return second_look(report, retest, retested, preference)


LOSS = Preference(select="val_loss")


def test_probabilities_are_shares_of_the_candidates_and_the_same_every_time(report: Report) -> None:
    for preference in (Preference(), LOSS, Preference(weights={"params": 3.0}), Preference(limits={"collapse_rate": 0.2})):
        found = look(report, preference)
        assert sum(judged.probability for judged in found.candidates) == pytest.approx(1.0)
        assert sum(judged.by_study for judged in found.candidates) == pytest.approx(1.0)
        assert found == look(report, preference)
        chances = [judged.probability for judged in found.candidates]
        assert chances == sorted(chances, reverse=True) or max(chances) - chances[0] < 0.02


def test_new_trainings_that_agree_make_the_first_surer(report: Report) -> None:
    found = look(report, LOSS)
    first = choose_several(report, LOSS, 1)[0].trial
    assert found.order[0] == first
    assert found.candidates[0].probability > found.candidates[0].by_study
    assert found.candidates[0].luck < 0.05
    assert f"trial {first} is the best by val_loss with a probability of" in found.reason


@settings(deadline=None, max_examples=5)
@given(st.floats(0.5, 1.5))
def test_a_score_that_was_luck_is_exposed_and_another_is_picked(luck: float) -> None:
    """The planted fault: one trial's loss in the ledger is far lower than it ever trains to."""
    study = make_study(survivors=7, repeats=0)
    honest = build_report(study)
    lucky = choose_several(honest, LOSS, 3)[1].trial
    true = as_measured(honest, lucky)
    planted = build_report(with_losses(study, {lucky: as_measured(honest, choose_several(honest, LOSS, 1)[0].trial) - luck}))
    assert choose_several(planted, LOSS, 1)[0].trial == lucky
    found = look(planted, LOSS, {lucky: (true + 0.02, true - 0.01)})
    assert found.order[0] != lucky
    judged = next(each for each in found.candidates if each.trial == lucky)
    assert judged.luck > 0.9
    assert judged.by_study > 0.5 > judged.probability
    assert judged.scores["val_loss"].together.value == pytest.approx(true, abs=0.1)
    assert f"of trial {lucky}, " in found.reason and "was no measure of it" in found.reason


def test_a_candidate_whose_training_failed_is_out_with_its_reason(report: Report) -> None:
    retest = retest_of(report, LOSS)
    first, *others = [pick.trial for pick in retest.candidates]
    retested = [
        Retested(trial=first, outcomes=(), failure="diverged: the loss rose"),
        *(trained_again(report, number, (as_measured(report, number),) * 2) for number in others),
    ]
    found = second_look(report, retest, retested, LOSS)
    assert found.order == tuple(others)
    assert found.candidates[-1].out == "diverged: the loss rose" and found.candidates[-1].probability == 0.0
    assert f"Trial {first} is out: diverged: the loss rose." in found.reason
    nobody = second_look(report, retest, [dataclasses.replace(each, failure="nan: x", outcomes=()) for each in retested], LOSS)
    assert nobody.order == () and nobody.reason.startswith("No candidate is left")


def test_a_trial_that_was_named_stays_though_a_rival_is_better(report: Report) -> None:
    rival, named = (pick.trial for pick in choose_several(report, Preference(), 2))
    preference = Preference(trial=named)
    found = look(report, preference, {named: (as_measured(report, named) + 0.6,) * 2})
    assert found.order[0] == named
    assert found.candidates[0].probability < 0.5
    assert f"Warning: trial {named} was asked for and stays, but trial" in found.reason and str(rival) in found.reason


def test_candidates_beyond_a_limit_in_truth_lose_by_it(report: Report) -> None:
    """A limit on what training decides holds for what is likely true, not for what was measured."""
    free, bound = Preference(select="val_loss"), Preference(select="val_loss", limits={"val_loss": 10.0})
    assert [j.probability for j in look(report, free).candidates] == [j.probability for j in look(report, bound).candidates]


def test_without_new_trainings_the_order_is_as_measured(report: Report) -> None:
    preference = Preference(select="params")
    retest = retest_of(report, preference, seeds=0)
    found = second_look(report, retest, [Retested(trial=pick.trial, outcomes=()) for pick in retest.candidates], preference)
    assert found.order == tuple(pick.trial for pick in retest.candidates)
    assert found.candidates[0].probability == 1.0, "sizes are exact"
