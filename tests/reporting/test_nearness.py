"""Off the front by noise, or surely: against the definition, pair by pair."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autonas import pareto
from autonas.objective import OBJECTIVES
from autonas.reporting.finals import Z95, finals, seed_noise
from autonas.reporting.front import build_report, front_json
from autonas.reporting.history import values
from autonas.reporting.nearness import within_noise
from autonas.reporting.quantities import half_width
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.reporting.uncertainty import difference
from tests.reporting.studies import make_study
from tests.reporting.test_uncertainty import shifted, single

LOSS, SIZE = OBJECTIVES["val_loss"], OBJECTIVES["params"]


def ahead(one: FinalTrial, other: FinalTrial, name: str, noise: SeedNoise) -> bool:
    """Whether `one` is better than `other` by a standard error of the difference, or no worse where there is none."""
    gap = other.scores[name].value - one.scores[name].value
    if name == "params" or (name == "latency" and one.spec.inference_fingerprint == other.spec.inference_fingerprint):
        return gap >= 0
    if name == "val_loss":
        paired = difference(one, other, noise)
        assert paired is not None
        return gap >= paired.error
    return gap >= float(np.hypot(half_width(one.scores[name]), half_width(other.scores[name]))) / Z95


@pytest.mark.parametrize("names", [("val_loss", "params"), ("val_loss", "latency", "collapse_rate")])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_pairwise_comparison_says(seed: int, names: tuple[str, ...]) -> None:
    trials = finals(make_study(trials=20, survivors=20, repeats=3, seed=seed))
    noise, judged = seed_noise(trials), [OBJECTIVES[name] for name in names]
    surely = [
        any(one is not other and all(ahead(one, other, name, noise) for name in names) for one in trials) for other in trials
    ]
    expected = ~pareto.non_dominated(values(trials, judged)) & ~np.array(surely)
    assert within_noise(trials, judged, noise).tolist() == expected.tolist()


def test_a_loss_within_one_standard_error_is_within_noise_and_one_beyond_is_not() -> None:
    first = single()
    noise = seed_noise([first])
    error = noise.between_trials * np.sqrt(2)
    for share, near in ((0.9, True), (1.1, False)):
        second = shifted(first, share * error)
        assert within_noise([first, second], [LOSS, SIZE], noise).tolist() == [False, near]


def test_nothing_is_within_noise_of_exact_objectives() -> None:
    trials = finals(make_study(trials=20, survivors=20))
    assert not within_noise(trials, [SIZE, OBJECTIVES["memory"]], seed_noise(trials)).any()


def test_more_noise_brings_more_of_them_near() -> None:
    trials = finals(make_study(trials=30, survivors=30))
    noise = seed_noise(trials)
    counts = [
        within_noise(trials, [LOSS, SIZE], dataclasses.replace(noise, between_trials=deviation)).sum()
        for deviation in (1e-6, 0.05, 0.5)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_the_front_is_not_widened_and_its_json_names_who_is_close() -> None:
    report = build_report(make_study(trials=30, survivors=30, repeats=0))
    assert report.near and not any(standing.on_front for standing in report.near)
    entries = front_json(report.study)
    assert [entry["trial"] for entry in entries] == [standing.number for standing in report.front]
    named = {number for entry in entries for number in entry["within_noise"]}
    assert named <= {standing.number for standing in report.near}
    assert named, "whoever is dominated is dominated by somebody on the front"
    assert named == {standing.number for standing in report.near}


def test_none_of_nothing() -> None:
    assert within_noise([], [LOSS], seed_noise([])).tolist() == []
