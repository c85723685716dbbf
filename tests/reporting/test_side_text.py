"""What a comparison says in words: who is ahead and in what, and nobody where nothing is compared that training changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from autonas.reporting.side_by_side import compare
from autonas.reporting.side_text import duel_grid, verdicts
from autonas.trial import Score, StudyRecord
from tests.reporting.studies import make_study
from tests.reporting.test_comparison import PLANTED, better, renamed, told, with_recipe


@pytest.fixture(scope="module")
def one() -> StudyRecord:
    return renamed(told(make_study(seed=0)), "one")


@pytest.fixture(scope="module")
def two(one: StudyRecord) -> StudyRecord:
    return renamed(with_recipe(better(one, 0.5), budget={"seed": 1}), "two")


def quicker(study: StudyRecord) -> StudyRecord:
    """The study with models of half the size and time."""

    def halved(scores: Mapping[str, Score]) -> dict[str, Score]:
        own = {name: scores[name] for name in ("params", "latency") if name in scores}
        return {n: dataclasses.replace(s, value=s.value / 2, low=s.low / 2, high=s.high / 2) for n, s in own.items()}

    trials = tuple(dataclasses.replace(trial, scores={**trial.scores, **halved(trial.scores)}) for trial in study.trials)
    return dataclasses.replace(study, trials=trials)


def test_a_verdict_names_every_objective_that_it_rests_on(one: StudyRecord, two: StudyRecord) -> None:
    (line,) = verdicts(compare([one, two]))
    assert line.startswith("In validation loss, parameters, latency per token and collapse rate, with ")
    assert "two is ahead with a chance of" in line
    fewer = [with_recipe(study, objectives=["params", "val_loss"]) for study in (one, two)]
    (line,) = verdicts(compare(fewer))
    assert line.startswith("In parameters and validation loss, with ") and "latency" not in line


@pytest.mark.parametrize("which", ["the last rung", "the cooldown"])
def test_nobody_is_ahead_by_size_and_speed_alone(one: StudyRecord, two: StudyRecord, which: str) -> None:
    found = compare([one, quicker(PLANTED[which][0](two))])
    assert {objective.name for objective in found.objectives} == {"params", "latency"}
    assert found.duels[0].probability < 0.01, "its volume is larger for certain, of models that are smaller and quicker"
    (line,) = verdicts(found)
    assert line.startswith("Nothing of what the models can do may be compared; in parameters and latency per token, with ")
    assert "ahead with" not in line and "chance" not in line and "Nobody is ahead" in line
    assert all(f"{side.name} {each.at_flops.value:.3f}" in line for side, each in zip(found.sides, found.volumes, strict=True))  # type: ignore[union-attr]
    assert duel_grid(found).caption.startswith("Volumes in parameters and latency per token ")
    assert found.box_rule.startswith("One box for all, in parameters and latency per token: ")


def test_without_known_compute_nothing_trained_is_not_claimed_either(one: StudyRecord) -> None:
    bare = [renamed(with_recipe(make_study(seed=0), objectives=["params"]), name) for name in "ab"]
    found = compare(bare)
    assert found.budget_flops is None
    (line,) = verdicts(found)
    assert line.startswith("Nothing of what the models can do may be compared; in parameters ") and "without saying" in line


def test_three_studies_of_sizes_alone_are_told_in_one_line(one: StudyRecord, two: StudyRecord) -> None:
    studies = [with_recipe(study, objectives=["params"]) for study in (one, two, renamed(two, "three"))]
    found = compare(studies)
    (line,) = verdicts(found)
    told_of = [
        line.index(f"{name} {each.end.value:.3f} (") for name, each in zip(["one", "two", "three"], found.volumes, strict=True)
    ]
    assert told_of == sorted(told_of)


def test_alarms_are_sentences(one: StudyRecord, two: StudyRecord) -> None:
    for which, (change, _, _) in PLANTED.items():
        for alarm in compare([one, change(two)]).alarms:
            assert alarm.text[0].isupper() or alarm.text.startswith(("one", "two")), (which, alarm.text)
            assert alarm.text.endswith("."), (which, alarm.text)
