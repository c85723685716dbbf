"""What is said of a run before it begins: on real curves of decoders, on curves whose law is known, and beside what came."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from autonas.arch import ArchSpec
from autonas.policy.extrapolation import FLOOR, Curve
from autonas.policy.prediction import (
    LEVELS,
    Ending,
    Interval,
    Predicted,
    ReplicaEnd,
    check,
    coverage,
    predict_collapse,
    predict_loss,
)
from autonas.policy.replica import block_params
from autonas.trial import Score, from_json, to_json

TABLE = Path(__file__).parents[2] / "benchmarks"
NOISE = 0.03  # nats over seeds, as the table's 24 repeats have it
PLENTY = 10**12  # tokens of a corpus that nothing repeats


@functools.cache
def decoders() -> tuple[Curve, ...]:
    """The learning curves of our own table: 112 decoders and 24 repeats, each scored at six rungs from 30 K to 922 K tokens."""
    with (TABLE / "decoders.csv").open(newline="") as file:
        sizes = {row["trial"]: block_params(_spec(row)) for row in csv.DictReader(file)}
    points: dict[str, list[tuple[int, float]]] = {}
    with (TABLE / "decoders_curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            points.setdefault(row["trial"], []).append((int(row["tokens"]), float(row["val_loss"])))
    return tuple(_curve(sorted(found), sizes[trial]) for trial, found in points.items())


@functools.cache
def _trials() -> tuple[str, ...]:
    """Whose curves `decoders` are."""
    with (TABLE / "decoders_curves.csv").open(newline="") as file:
        return tuple(dict.fromkeys(row["trial"] for row in csv.DictReader(file)))


def _spec(row: dict[str, str]) -> ArchSpec:
    numbers = {name: int(row[name]) for name in ("layers", "width", "heads", "kv_heads")}
    words = {name: row[name] for name in ("norm", "activation", "position")}
    return ArchSpec.from_dict({**numbers, **words, "ffn_multiplier": float(row["ffn_multiplier"])})


def _curve(points: Sequence[tuple[int, float]], size: int) -> Curve:
    return Curve(tokens=tuple(t for t, _ in points), losses=tuple(v for _, v in points), block_params=size)


def until(curve: Curve, rung: int) -> Curve:
    return dataclasses.replace(curve, tokens=curve.tokens[: rung + 1], losses=curve.losses[: rung + 1])


def ending(tokens: int, *, unique: int = PLENTY, size: int = 100_000) -> Ending:
    return Ending(tokens=tokens, unique_tokens=unique, params=size)


def width(predicted: Predicted, place: int = 0) -> float:
    return predicted.intervals[place].high - predicted.intervals[place].low


# On real curves


@pytest.mark.parametrize(("seen", "asked", "widest"), [(3, 5, 0.3), (3, 4, 0.2), (4, 5, 0.2), (2, 5, 0.5)])
def test_real_curves_end_inside_their_intervals_as_often_as_said(seen: int, asked: int, widest: float) -> None:
    """Nothing of the later rungs is shown, of any curve; every fourth curve is asked about."""
    known = [until(curve, seen) for curve in decoders()]
    predictions, truths = [], []
    for own, whole in list(zip(known, decoders(), strict=True))[::4]:
        predictions.append(predict_loss(known, own, ending(whole.tokens[asked], size=own.block_params), noise=NOISE))
        truths.append(whole.losses[asked])
    found = coverage(predictions, truths)
    assert found[0.8] >= 0.7
    assert found[0.95] >= 0.88
    assert np.mean([width(each) for each in predictions]) < widest
    naive = np.array([own.losses[-1] for own in known[::4]])
    errors = np.array([each.value for each in predictions]) - truths
    assert np.sqrt(np.mean(errors**2)) < 0.35 * np.sqrt(np.mean((naive - truths) ** 2))


def sentinels() -> list[tuple[dict[str, str], Ending]]:
    """Runs of some of the table's decoders, ten times as long, on the table's corpus, which they read 3.4 times."""
    with (TABLE / "sentinels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row, ending(int(row["long_tokens"]), unique=2_724_576, size=int(row["params"]))) for row in rows]


def test_runs_ten_times_as_long_end_as_predicted() -> None:
    """As a promotion's run each, of which nothing was shown."""
    curves = dict(zip(_trials(), decoders(), strict=True))
    rows = [row for row, _ in sentinels()]
    predictions = [predict_loss(decoders(), curves[row["trial"]], run, noise=NOISE) for row, run in sentinels()]
    truths = [float(row["long_val_loss"]) for row in rows]
    found = coverage(predictions, truths)
    assert found[0.8] >= 0.75
    assert found[0.95] >= 0.9
    assert np.mean([width(each) for each in predictions]) < 0.45, "wide enough to hold anything"
    # They know better than the last rung does who will be best: sizes fall at paces of their own.
    by_rung = kendalltau([float(row["val_loss"]) for row in rows], truths).statistic
    assert kendalltau([each.value for each in predictions], truths).statistic > by_rung + 0.1


def test_collapse_rates_of_runs_ten_times_as_long_are_as_predicted() -> None:
    with (TABLE / "decoders.csv").open(newline="") as file:
        table = {row["trial"]: row for row in csv.DictReader(file)}
    predictions, truths = [], []
    for row, run in sentinels():
        value, low, high = (float(table[row["trial"]][f"collapse_rate{end}"]) for end in ("", "_low", "_high"))
        score = Score(value=value, low=low, high=high, unit="share", n=256)
        predictions.append(predict_collapse(score, int(row["tokens"]), run))
        truths.append(float(row["long_collapse_rate"]))
    found = coverage(predictions, truths)
    assert found[0.8] >= 0.75
    assert found[0.95] >= 0.9
    assert np.mean([width(each) for each in predictions]) < 0.2, "wide enough to hold anything"


def test_few_curves_are_enough_to_be_honest() -> None:
    rng = np.random.default_rng(0)
    predictions, truths = [], []
    for _ in range(40):
        chosen = [decoders()[int(i)] for i in rng.choice(len(decoders()), 6, replace=False)]
        known = [until(curve, 3) for curve in chosen]
        run = ending(chosen[0].tokens[5], size=chosen[0].block_params)
        predictions.append(predict_loss(known, known[0], run, noise=NOISE))
        truths.append(chosen[0].losses[5])
    assert coverage(predictions, truths)[0.95] >= 0.88


# On curves whose law is known


def power_curves(power: float, count: int = 12, *, rungs: int = 4, noise: float = 0.0, seed: int = 0) -> list[Curve]:
    """a + b t^-c, with the same c and levels that differ."""
    rng = np.random.default_rng(seed)
    tokens = np.array([100_000 * 2**k for k in range(rungs)])
    found = []
    for number in range(count):
        level, scale = 2.0 + 0.05 * rng.standard_normal(), 2.0 + 0.05 * rng.standard_normal()
        losses = level + scale * (tokens / 1e5) ** -power + noise * rng.standard_normal(rungs)
        found.append(_curve(list(zip(tokens.tolist(), losses.tolist(), strict=True)), 100_000 + number))
    return found


@pytest.mark.parametrize("power", [0.15, 0.3, 0.5])
def test_a_power_law_is_found_and_carried_on(power: float) -> None:
    curves = power_curves(power, rungs=7)
    known = [until(curve, 4) for curve in curves]
    for own, whole in list(zip(known, curves, strict=True))[:3]:
        found = predict_loss(known, own, ending(whole.tokens[-1]), noise=0.005)
        last = found.intervals[0]
        assert last.low <= whole.losses[-1] <= last.high
        fallen = own.losses[-1] - whole.losses[-1]
        assert abs(found.value - whole.losses[-1]) < 0.25 * fallen


def test_what_size_does_to_a_curve_is_found_and_carried_on() -> None:
    """a + b t^-c, with a larger b and a smaller c the larger the model is: from drops that differ to ends that do."""
    tokens = np.array([100_000 * 2**k for k in range(8)])
    rng = np.random.default_rng(0)
    curves = []
    for number in range(24):
        larger = (number - 11.5) / 8
        power, scale = 0.3 - 0.05 * larger, 2.0 * (1 + 0.05 * larger)
        losses = 2.0 + scale * (tokens / 1e5) ** -power + 0.005 * rng.standard_normal(len(tokens))
        curves.append(_curve(list(zip(tokens.tolist(), losses.tolist(), strict=True)), round(1e5 * math.exp(larger))))
    known = [until(curve, 5) for curve in curves]
    predicted = [predict_loss(known, own, ending(curves[0].tokens[-1], size=own.block_params), noise=0.005) for own in known]
    errors = np.array([each.value - curve.losses[-1] for each, curve in zip(predicted, curves, strict=True)])
    sizes = np.log([curve.block_params for curve in curves])
    assert abs(np.polyfit(sizes, errors, 1)[0]) < 0.01, "nats for an e-fold of size"
    alone = [predict_loss(known[:1], known[0], ending(curves[0].tokens[-1], size=1), noise=0.005)]
    assert width(alone[0]) > width(predicted[0]), "what sizes do is not known from one curve"


@settings(deadline=None, max_examples=15)
@given(power=st.floats(0.05, 0.8), times=st.floats(1.0, 300.0), rungs=st.integers(1, 6))
def test_intervals_lie_in_each_other_and_no_loss_is_below_the_floor(power: float, times: float, rungs: int) -> None:
    curves = power_curves(power, rungs=rungs, noise=0.02)
    found = predict_loss(curves, curves[0], ending(round(times * curves[0].tokens[-1])), noise=0.03)
    (inner, outer) = found.intervals
    assert (inner.level, outer.level) == LEVELS
    assert outer.low <= inner.low <= found.value <= inner.high <= outer.high
    assert outer.low > FLOOR - 0.2
    assert all(map(math.isfinite, (outer.low, outer.high)))


def test_what_is_further_away_is_less_certain() -> None:
    curves = power_curves(0.3, noise=0.01)
    widths = [width(predict_loss(curves, curves[0], ending(800_000 * times), noise=0.01)) for times in (1, 4, 16, 64)]
    assert widths == sorted(widths)
    assert widths[-1] > 2 * widths[0]


def test_a_louder_seed_widens_every_interval() -> None:
    curves = power_curves(0.3)
    quiet, loud = (predict_loss(curves, curves[0], ending(3_200_000), noise=noise) for noise in (0.01, 0.1))
    assert width(loud, 1) > 1.5 * width(quiet, 1)
    assert width(loud) > 2 * 1.28 * 0.1


def test_the_same_history_gives_the_same_prediction() -> None:
    curves = power_curves(0.3, noise=0.02)
    again = [predict_loss(curves, curves[0], ending(10_000_000, unique=1_000_000), noise=0.02) for _ in range(2)]
    assert again[0] == again[1]


def test_a_curve_that_ended_at_an_earlier_rung_is_carried_on_from_there() -> None:
    curves = power_curves(0.3)
    stopped = until(curves[0], 2)
    short = predict_loss([stopped, *curves[1:]], stopped, ending(curves[0].tokens[-1]), noise=0.01)
    assert short.intervals[0].low <= curves[0].losses[-1] <= short.intervals[0].high
    assert width(short) > width(predict_loss(curves, curves[0], ending(curves[0].tokens[-1]), noise=0.01))


# Repeated data, and replicas


def test_repeated_tokens_are_worth_less_than_fresh_ones() -> None:
    curves = power_curves(0.3, noise=0.01)
    fresh, repeated, scarce = (
        predict_loss(curves, curves[0], ending(20_000_000, unique=unique), noise=0.01)
        for unique in (PLENTY, 4_000_000, 500_000)
    )
    assert fresh.value < repeated.value < scarce.value
    assert width(fresh) < width(repeated) < width(scarce)
    once = predict_loss(curves, curves[0], ending(20_000_000, unique=20_000_000), noise=0.01)
    assert once.value == pytest.approx(fresh.value, abs=1e-9)


def replica(loss: float, *, collapse: Score | None = None) -> ReplicaEnd:
    """A quarter of `FULL`."""
    quarter = ending(FULL.tokens // 4, unique=FULL.unique_tokens // 4, size=FULL.params // 4)
    return ReplicaEnd(ending=quarter, loss=loss, seeds=4, collapse_rate=collapse)


FULL = ending(20_000_000, unique=1_500_000, size=400_000)


def sized_curves() -> list[Curve]:
    """Larger ones are lower by 0.1 nats for each e-fold of parameters."""
    curves = power_curves(0.3, count=20, noise=0.01)
    sizes = np.geomspace(50_000, 800_000, 20).astype(int)
    return [
        dataclasses.replace(
            curve, losses=tuple(v - 0.1 * math.log(size / 400_000) for v in curve.losses), block_params=int(size)
        )
        for curve, size in zip(curves, sizes, strict=True)
    ]


def test_a_replica_that_overfits_says_that_the_run_will() -> None:
    curves = sized_curves()
    own = min(curves, key=lambda curve: abs(curve.block_params - FULL.params))
    alone = predict_loss(curves, own, FULL, noise=0.02)
    well, ill = (predict_loss(curves, own, FULL, noise=0.02, replica=replica(loss)) for loss in (3.0, 3.6))
    assert ill.value > well.value + 0.3
    assert width(well, 1) < width(alone, 1), "overfitting need not be guessed any more"
    assert "a replica's end after 13.3 epochs" in well.basis


def test_a_replica_that_nothing_explains_is_taken_with_reserve() -> None:
    curves = sized_curves()
    found = predict_loss(curves, curves[10], FULL, noise=0.02, replica=replica(30.0))
    assert math.isfinite(found.value)
    assert found.value < 30.0


# Collapse


def share(value: float, n: int = 256) -> Score:
    reach = 1.96 * math.sqrt(value * (1 - value) / n + 1e-4)
    return Score(value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0), unit="share", n=n)


@given(value=st.floats(0.0, 1.0), n=st.integers(1, 5000), times=st.floats(1.0, 1000.0))
@settings(deadline=None, max_examples=30)
def test_a_collapse_rate_is_a_share_with_nested_intervals(value: float, n: int, times: float) -> None:
    found = predict_collapse(share(value, n), 100_000, ending(round(100_000 * times)))
    inner, outer = found.intervals
    assert 0.0 <= outer.low <= inner.low <= inner.high <= outer.high <= 1.0


def test_a_collapse_rate_measured_again_is_inside_as_often_as_said() -> None:
    """The same model, sampled twice, with nothing trained between."""
    rng = np.random.default_rng(0)
    rates = np.exp(rng.normal(-2.5, 0.8, 150))
    samples = 250
    predictions = [
        predict_collapse(share(rng.binomial(samples, rate) / samples, samples), 10**6, ending(10**6)) for rate in rates
    ]
    found = coverage(predictions, [rng.binomial(samples, rate) / samples for rate in rates])
    assert found[0.8] >= 0.75
    assert found[0.95] >= 0.9


def test_a_replica_draws_a_collapse_rate_towards_its_own() -> None:
    alone = predict_collapse(share(0.05), 10**6, ending(10**8))
    with_one = predict_collapse(share(0.05), 10**6, ending(10**8), replica(3.0, collapse=share(0.3)))
    assert alone.value < with_one.value < 0.3
    assert alone.intervals[1].high > 0.1, "much may come of a long training"


def test_none_of_a_few_samples_does_not_say_never() -> None:
    assert predict_collapse(share(0.0, 100), 10**6, ending(10**7)).intervals[1].high > 0.02


# Beside what came


def predicted(low: float, high: float, far_low: float, far_high: float) -> Predicted:
    intervals = (Interval(level=0.8, low=low, high=high), Interval(level=0.95, low=far_low, high=far_high))
    return Predicted(value=(low + high) / 2, intervals=intervals, unit="nats/token", basis="a test")


def test_coverage_is_the_share_inside() -> None:
    each = predicted(1.0, 2.0, 0.0, 3.0)
    assert coverage([each] * 4, [1.5, 2.0, 2.5, 9.0]) == {0.8: 0.5, 0.95: 0.75}


@pytest.mark.parametrize(
    ("measured", "within", "words"),
    [
        (1.5, 0.8, "inside the 80% interval"),
        (2.5, 0.95, "inside the 95% interval"),
        (9.0, None, "outside of every interval"),
    ],
)
def test_a_check_says_which_interval_holds_what_came(measured: float, within: float | None, words: str) -> None:
    score = Score.exact(measured, "nats/token")
    found = check({"val_loss": predicted(1.0, 2.0, 0.0, 3.0), "absent": predicted(1, 2, 0, 3)}, {"val_loss": score})
    assert list(found) == ["val_loss"]
    assert found["val_loss"].within == within
    assert words in found["val_loss"].text


def test_a_prediction_goes_to_json_and_back() -> None:
    found = predict_loss(power_curves(0.3), power_curves(0.3)[0], ending(10**7), noise=0.02)
    assert from_json(Predicted, json.loads(json.dumps(to_json(found)))) == found
