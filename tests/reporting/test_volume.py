"""The hypervolume: its fixed box, its interval, and what noise may not do to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas import pareto
from autonas.objective import OBJECTIVES
from autonas.reporting import volume
from autonas.reporting.finals import finals
from autonas.reporting.front import build_report, hypervolume_so_far
from autonas.reporting.history import values
from autonas.reporting.posterior import shrunk
from autonas.trial import StudyRecord
from tests.reporting.studies import OBJECTIVES as NAMES
from tests.reporting.studies import make_study, with_losses

JUDGED = tuple(OBJECTIVES[name] for name in NAMES)


def first_ended(study: StudyRecord, count: int) -> StudyRecord:
    """The study as it was when so many trials had ended."""
    told = study.timeline[:count]
    known = {number for number, _ in told}
    return dataclasses.replace(study, timeline=told, trials=tuple(trial for trial in study.trials if trial.number in known))


def noise_only(count: int, seed: int) -> StudyRecord:
    """Trials of one architecture whose losses differ by seed noise and nothing else, a quarter of them repeated."""
    study = make_study(
        trials=count,
        survivors=count,
        repeats=count // 4,
        infeasible=0,
        failures=0,
        documents=6,
        samples=8,
        objectives=("val_loss",),
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    spec = study.trials[0].spec
    trials = tuple(dataclasses.replace(trial, spec=spec) for trial in study.trials)
    losses = {trial.number: 4.0 + 0.07 * float(rng.standard_normal()) for trial in trials}
    return with_losses(dataclasses.replace(study, trials=trials), losses)


@pytest.mark.parametrize("seed", range(3))
def test_it_never_falls_and_lies_in_its_interval(seed: int) -> None:
    points = build_report(make_study(trials=20, survivors=15, seed=seed)).hypervolume
    assert len(points) == 15
    for name in ("value", "elapsed_s", "train_s", "tokens"):
        column = [getattr(point, name) for point in points]
        assert column == sorted(column), name
    assert all(0 <= point.low <= point.value <= point.high for point in points)
    assert points[-1].high > points[-1].low > 0


def test_without_noise_it_is_the_plain_hypervolume() -> None:
    report = build_report(make_study(trials=20, survivors=18, objectives=("params", "memory", "flops")))
    trials = [standing.trial for standing in report.standings]
    box = volume.spanned_box(report.study, trials, report.objectives)
    plain = pareto.hypervolume(box.place(values(trials, report.objectives)), box.corner) / box.volume
    last = report.hypervolume[-1]
    assert last.value == last.low == last.high == pytest.approx(plain) == report.hypervolume_measured


def test_noise_tried_often_does_not_raise_it() -> None:
    plain, ours = [], []
    for seed in range(4):
        report = build_report(noise_only(96, seed))
        trials = volume.in_order_of_ending(report.study, [standing.trial for standing in report.standings])
        box = volume.spanned_box(report.study, trials, report.objectives)
        measured = volume.growth(values(trials, report.objectives), box)
        plain.append(measured[-1] - measured[15])
        ours.append(report.hypervolume[-1].value - report.hypervolume[15].value)
    assert np.mean(plain) > 0.05, "eighty more tries of the same thing look like progress"
    assert np.mean(ours) < 0.3 * np.mean(plain)


@pytest.mark.parametrize(("count", "kind"), [(12, "noise"), (40, "noise"), (40, "normal"), (40, "edge")])
def test_it_is_nearer_to_the_truth_than_measured_values_and_its_interval_holds_it(count: int, kind: str) -> None:
    """On arrays: exact sizes, and losses that follow them but for a normal, behind a hard edge, or not at all."""
    box = volume.Box(
        objectives=(OBJECTIVES["val_loss"], OBJECTIVES["collapse_rate"]),
        best=(3.6, 0.0),
        worst=(4.6, 1.0),
        spanned_by=16,
        is_fixed=True,
    )
    rng = np.random.default_rng(count)
    ours, plain, covered = [], [], []
    for _ in range(16):
        size = rng.random(count)
        true = np.full(count, 4.2)
        if kind == "normal":
            true = 4.4 - 0.5 * size + 0.14 * rng.standard_normal(count)
        elif kind == "edge":
            true = 3.9 + 0.5 * (1 - size) ** 1.5 + 0.14 * rng.exponential(size=count)
        seen = true + 0.05 * rng.standard_normal(count)
        design = np.stack([np.ones(count), size - size.mean()], axis=1) if count >= 16 else np.ones((count, 1))
        found, exact = shrunk(seen, np.full(count, 0.05), design), shrunk(size, np.zeros(count), design)
        rows = np.stack([found.means, size], axis=1)
        draws, again = (
            np.stack(each, axis=-1)
            for each in (
                [found.draw(rng, 100), exact.draw(rng, 100)],
                [found.measured_again(rng, 100), exact.measured_again(rng, 100)],
            )
        )
        value = volume.growth(rows, box)
        low, high = volume.intervals(value, rows, draws, again, box)
        truth = volume.growth(np.stack([true, size], axis=1), box)[-1]
        ours.append(value[-1] - truth)
        plain.append(volume.growth(np.stack([seen, size], axis=1), box)[-1] - truth)
        covered.append(low[-1] <= truth <= high[-1])
    assert abs(np.mean(ours)) < (0.5 * np.mean(plain) if kind == "noise" else 0.025)
    assert np.mean(covered) >= 0.75


def test_the_box_stays_where_the_first_trials_put_it() -> None:
    whole = make_study(trials=60, survivors=60, repeats=3)
    boxes = []
    for count in (len(whole.timeline) - 30, len(whole.timeline) - 10, len(whole.timeline)):
        study = first_ended(whole, count)
        boxes.append(volume.spanned_box(study, finals(study), JUDGED))
    assert boxes[0] == boxes[1] == boxes[2] and boxes[0].is_fixed and boxes[0].spanned_by == volume.NUM_SPANNING


def test_until_enough_have_ended_the_box_says_that_it_may_move() -> None:
    report = build_report(make_study(survivors=6))
    assert not report.reference_is_fixed and "moves until 16 have ended" in report.hypervolume_rule
    report = build_report(make_study(trials=20, survivors=20))
    assert report.reference_is_fixed and "and stays" in report.hypervolume_rule
    assert set(report.reference) == set(NAMES)


def test_the_reference_is_beyond_the_worst_in_its_units() -> None:
    study = make_study(trials=20, survivors=16)
    report = build_report(study)
    for objective in report.objectives:
        seen = [standing.trial.runs[0].score(objective.name, 1) for standing in report.standings]
        assert report.reference[objective.name] > max(score.value for score in seen if score is not None)


def test_a_repeat_moves_neither_box_nor_reference() -> None:
    once = build_report(make_study(trials=20, survivors=18, repeats=0))
    more = build_report(make_study(trials=20, survivors=18, repeats=4))
    assert more.seed_noise.repeats == 4 and once.reference == more.reference


def test_a_single_trial_has_a_hypervolume() -> None:
    report = build_report(make_study(survivors=1, repeats=0))
    assert report.hypervolume[-1].value == pytest.approx(1.0)
    assert np.isfinite(list(report.reference.values())).all()


def test_a_study_without_a_timeline_goes_by_number() -> None:
    study = dataclasses.replace(make_study(trials=20, survivors=12), timeline=())
    points = build_report(study).hypervolume
    assert [point.trial for point in points] == sorted(point.trial for point in points)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_a_lattice_measures_volumes(columns: int, seed: int) -> None:
    corner = np.random.default_rng(seed).random(columns)
    points = volume.lattice(columns, 2048)
    assert ((points >= 0) & (points < 1)).all()
    assert np.mean(np.all(points >= corner, axis=1)) == pytest.approx(np.prod(1 - corner), abs=0.02)


def test_the_quick_way_gives_the_same() -> None:
    study = make_study(trials=20, survivors=15)
    quick = hypervolume_so_far(study)
    assert quick == pytest.approx(build_report(study).hypervolume[-1].value)
    assert hypervolume_so_far(dataclasses.replace(study, trials=())) is None


def test_a_long_study_is_measured_in_a_moment() -> None:
    study = make_study(trials=300, survivors=300, infeasible=0, documents=4, curve_points=4, samples=8)
    points = build_report(study).hypervolume
    assert len(points) == 300 and points[-1].low < points[-1].value < points[-1].high
