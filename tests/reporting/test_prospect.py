"""What more training would buy: forecasts against what came of searches in closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autonas import pareto
from autonas.reporting.front import build_report
from autonas.reporting.prospect import LEAST_TRIALS, predicted_gains, prospect
from autonas.reporting.report import HypervolumePoint
from tests.reporting.studies import make_study

BOX = np.array([1.1, 1.1])


def scores(params: np.ndarray) -> np.ndarray:
    """Loss and size of params (n, 3): the loss falls with size, and quality adds to it."""
    size, quality = params[:, 0], params[:, 1:]
    return np.stack([0.7 * (1 - size) ** 1.5 + 0.5 * ((quality - 0.4) ** 2).sum(axis=1), size], axis=1)


def random_search(rng: np.random.Generator, count: int) -> np.ndarray:
    return scores(rng.random((count, 3)))


def evolution(rng: np.random.Generator, count: int) -> np.ndarray:
    """Ten random trials, then small changes of what is on the front."""
    params = rng.random((10, 3))
    for _ in range(count - 10):
        parents = params[pareto.non_dominated(scores(params))]
        child = np.clip(parents[rng.integers(len(parents))] + 0.1 * rng.standard_normal(3), 0, 1)
        params = np.concatenate([params, child[None]])
    return scores(params)


def shrinking(rng: np.random.Generator, count: int) -> np.ndarray:
    """Not a search: a single objective that approaches its end by a power of the trials, now and then by a step."""
    steps = (rng.random(count) < 0.3) * rng.exponential(size=count) * np.arange(1, count + 1) ** -1.3
    height = np.cumsum(steps)
    return np.stack([1.0 - 0.9 * height / max(height[-1], 1.0), np.zeros(count)], axis=1)


def volumes(points: np.ndarray) -> np.ndarray:
    front = pareto.Front(BOX)
    return np.cumsum([front.add(point) for point in points])


def points_of(values: np.ndarray, each_s: float = 60.0) -> list[HypervolumePoint]:
    points = []
    for i, value in enumerate(map(float, values)):
        spent = (i + 1) * each_s
        points.append(
            HypervolumePoint(
                trial=i, elapsed_s=spent, train_s=spent, search_s=spent, tokens=0, value=value, low=value, high=value
            )
        )
    return points


@pytest.mark.parametrize("search", [random_search, evolution, shrinking])
@pytest.mark.parametrize("count", [12, 24, 60])
def test_nine_in_ten_hold_at_least_four_times_of_five(search: object, count: int) -> None:
    assert callable(search)
    held = told = 0
    for seed in range(24):
        values = volumes(search(np.random.default_rng(seed), 2 * count))
        for end in (count * 3 // 2, 2 * count):
            spent = np.arange(1.0, count + 1)
            draws = predicted_gains(list(spent), list(values[:count]), float(count), float(end - count))
            if draws is None:
                continue
            low, high = np.quantile(draws, (0.05, 0.95))
            told += 1
            held += low - 1e-12 <= values[end - 1] - values[count - 1] <= high
    assert told >= 30
    assert held / told >= 0.8


@pytest.mark.parametrize("search", [random_search, evolution])
def test_forecasts_tell_a_search_that_gains_from_one_that_has_settled(search: object) -> None:
    assert callable(search)
    early: list[float] = []
    late: list[float] = []
    for seed in range(10):
        values = volumes(search(np.random.default_rng(seed), 120))
        for count, into in ((20, early), (120, late)):
            draws = predicted_gains(list(np.arange(1.0, count + 1)), list(values[:count]), float(count), 10.0)
            assert draws is not None
            into.append(float(np.median(draws)))
    assert np.median(late) < 0.4 * np.median(early)


def test_more_training_never_buys_less() -> None:
    values = volumes(random_search(np.random.default_rng(0), 40))
    spent = list(np.arange(1.0, 41))
    medians = []
    for ahead in (1.0, 5.0, 20.0, 40.0):
        draws = predicted_gains(spent, list(values), 40.0, ahead)
        assert draws is not None and draws.min() >= 0
        medians.append(np.median(draws))
    assert medians == sorted(medians)


def test_the_unit_of_training_does_not_matter() -> None:
    values = list(volumes(random_search(np.random.default_rng(1), 30)))
    one = predicted_gains(list(np.arange(1.0, 31)), values, 30.0, 10.0)
    other = predicted_gains(list(60 * np.arange(1.0, 31)), values, 1800.0, 600.0)
    assert one is not None and other is not None
    np.testing.assert_allclose(one, other)


def test_an_hour_is_asked_about_or_as_much_again_when_less_was_spent() -> None:
    values = volumes(random_search(np.random.default_rng(2), 30))
    short, long = prospect(points_of(values, 10.0), 300.0), prospect(points_of(values, 600.0), 18_000.0)
    assert short is not None and long is not None
    assert (short.ahead_s, long.ahead_s) == (300.0, 3600.0)
    assert short.low <= short.gain <= short.high and long.gain < short.gain


def test_the_past_forecast_sees_nothing_of_what_came() -> None:
    values = volumes(random_search(np.random.default_rng(3), 30))
    whole = prospect(points_of(values), 1800.0)
    changed = values.copy()
    changed[20:] += 0.2
    other = prospect(points_of(changed), 1800.0)
    assert whole is not None and other is not None and whole.came is not None and other.came is not None
    assert (whole.foretold_low, whole.foretold_high) == (other.foretold_low, other.foretold_high)
    assert whole.came == pytest.approx(values[-1] - values[19]) and other.came == pytest.approx(whole.came + 0.2)


@pytest.mark.parametrize(
    ("values", "spent"),
    [
        ([0.1 * i for i in range(LEAST_TRIALS - 1)], None),
        ([0.5] * 20, None),
        ([0.1 * i for i in range(12)], [0.0] * 12),
        ([], None),
    ],
)
def test_it_says_when_nothing_can_be_told(values: list[float], spent: list[float] | None) -> None:
    at = spent if spent is not None else [float(i + 1) for i in range(len(values))]
    assert predicted_gains(at, values, at[-1] if at else 0.0, 5.0) is None


def test_a_study_has_a_forecast_when_enough_has_finished() -> None:
    report = build_report(make_study(trials=40, survivors=40))
    assert report.prospect is not None and report.prospect.value == report.hypervolume[-1].value
    searching = sum(o.seconds for t in report.study.trials if t.repeat_of is None for o in t.rungs)
    assert searching < report.train_seconds and report.prospect.ahead_s == pytest.approx(min(searching, 3600.0))
    assert build_report(make_study(survivors=5)).prospect is None
    assert build_report(dataclasses.replace(make_study(), trials=())).prospect is None


def test_gains_without_training_between_them_tell_nothing() -> None:
    """As where all jobs were over before the first of the trials was told to have ended."""
    values = list(np.linspace(0.1, 1.0, 20))
    assert predicted_gains([1.0] * 3 + [10.0] * 17, values, 10.0, 5.0) is None
    assert predicted_gains([10.0] * 20, values, 10.0, 5.0) is None
    some = predicted_gains(list(np.linspace(5.0, 10.0, 20)), values, 10.0, 5.0)
    assert some is not None and np.isfinite(some).all()
