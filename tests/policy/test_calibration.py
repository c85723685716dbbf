"""The learning-rate sweep: its points, and the rate that follows from them."""

from __future__ import annotations

import pytest

from autonas import cost
from autonas.errors import InfeasibleArch
from autonas.policy import calibration, forecast
from autonas.policy.calibration import Point
from autonas.policy.settings import CalibrationSettings
from autonas.recipe import load_recipe

RATES = (1e-3, 2e-3, 4e-3)


def measured(small: list[float | None], large: list[float | None]) -> list[tuple[Point, float | None]]:
    shapes = calibration.calibration_shapes(load_recipe("quickstart.yaml").space, 0)
    points = calibration.points(shapes, CalibrationSettings(rates=RATES))
    return list(zip(points, [*small, *large], strict=True))


def test_two_shapes_of_different_size_are_swept_over_every_rate() -> None:
    shapes = calibration.calibration_shapes(load_recipe("quickstart.yaml").space, 0)
    assert len(shapes) == 2
    assert cost.count_params(shapes[0]) < cost.count_params(shapes[1])
    points = calibration.points(shapes, CalibrationSettings(rates=RATES[::-1]))
    assert [point.rate for point in points] == [*RATES, *RATES]


def test_the_rate_with_the_least_mean_regret_is_chosen() -> None:
    choice = calibration.choose(measured([5.0, 5.1, 5.4], [4.6, 4.3, 4.31]))
    assert choice.rate == 2e-3
    assert sorted(choice.regret.values()) == pytest.approx([0.0, 0.1])
    assert not choice.at_edge


def test_a_rate_at_the_edge_of_the_sweep_is_said_to_be() -> None:
    choice = calibration.choose(measured([5.0, 5.1, 5.4], [4.2, 4.3, 4.5]))
    assert choice.rate == 1e-3
    assert choice.at_edge
    assert "edge" in choice.note


def test_a_rate_at_which_a_shape_diverges_is_out() -> None:
    assert calibration.choose(measured([5.0, 4.9, None], [4.6, 4.3, 4.0])).rate == 2e-3
    with pytest.raises(InfeasibleArch, match="lower rates"):
        calibration.choose(measured([None, None, None], [4.0, 4.0, 4.0]))


def test_a_forecast_recovers_the_times_it_was_fitted_on() -> None:
    shapes = calibration.calibration_shapes(load_recipe("quickstart.yaml").space, 0)
    truth = forecast.Forecast(per_token=2e-6, per_flop=3e-11)
    seen = [
        forecast.Observation(spec=spec, tokens=tokens, seconds=truth.seconds(spec, tokens))
        for spec in shapes
        for tokens in (1_000, 50_000)
    ]
    found = forecast.fit(seen)
    assert found is not None
    assert found.seconds(shapes[0], 7_000) == pytest.approx(truth.seconds(shapes[0], 7_000))
    assert forecast.fit([]) is None


def test_a_forecast_never_runs_backwards() -> None:
    shapes = calibration.calibration_shapes(load_recipe("quickstart.yaml").space, 0)
    # The larger shape was quicker, as noise has it: no part of the forecast may turn negative.
    seen = [forecast.Observation(spec=spec, tokens=1_000, seconds=s) for spec, s in zip(shapes, (2.0, 1.0), strict=True)]
    found = forecast.fit(seen)
    assert found is not None
    assert min(found.per_token, found.per_flop) >= 0
    assert found.seconds(shapes[1], 10) > 0
