"""What may be compared, rule by rule with its planted difference; volumes, coverage and differences by closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas import cost
from autonas.errors import StudyError
from autonas.evaluation.rates import wilson_interval
from autonas.objective import OBJECTIVES
from autonas.reporting.comparison import comparable, leaves, reasons_against, same_order
from autonas.reporting.duel import Draws, coverages, joint_draws, orders, union_box
from autonas.reporting.finals import finals, seed_noise
from autonas.reporting.front import build_report
from autonas.reporting.reproduction import reproductions
from autonas.reporting.side_by_side import SideBySide, compare, differences
from autonas.reporting.spending import spent_by, total_flops
from autonas.reporting.volume import hypervolume
from autonas.trial import StudyRecord
from tests.reporting.studies import make_study

LATENCY = {"runtime": "torch", "device": "cpu", "dtype": "auto", "threads": 1, "batch": 1, "context": 256, "table": None}
EVALUATION = {"validation_tokens": 262_144, "temperature": 0.7, "prompts_file": None}


def told(study: StudyRecord) -> StudyRecord:
    """The study with what a real ledger says beside: tokens of each job, settings, and on what it was measured."""
    trials = tuple(
        dataclasses.replace(
            trial,
            rungs=tuple(
                dataclasses.replace(outcome, new_tokens=outcome.tokens - (trial.rungs[i - 1].tokens if i else 0))
                for i, outcome in enumerate(trial.rungs)
            ),
        )
        for trial in study.trials
    )
    study = dataclasses.replace(study, trials=trials)
    study = with_recipe(study, latency=LATENCY, evaluation=EVALUATION)
    return with_attributes(study, environment={"device": "cpu", "threads": 1, "workers": 1})


def with_recipe(study: StudyRecord, **sections: Any) -> StudyRecord:
    known = study.recipe
    changed = {name: {**known.get(name, {}), **value} if isinstance(value, dict) else value for name, value in sections.items()}
    return dataclasses.replace(study, recipe={**study.recipe, **changed})


def with_attributes(study: StudyRecord, **values: Any) -> StudyRecord:
    changed = {
        name: {**study.attributes.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in values.items()
    }
    return dataclasses.replace(study, attributes={**study.attributes, **changed})


def with_documents(study: StudyRecord, change: Callable[[Any], Any]) -> StudyRecord:
    trials = tuple(
        dataclasses.replace(
            trial,
            rungs=tuple(
                o if o.documents is None else dataclasses.replace(o, documents=change(o.documents)) for o in trial.rungs
            ),
        )
        for trial in study.trials
    )
    return dataclasses.replace(study, trials=trials)


def with_scores(study: StudyRecord, name: str, change: Callable[[Any], Any]) -> StudyRecord:
    trials = tuple(
        dataclasses.replace(
            trial,
            rungs=tuple(
                dataclasses.replace(o, scores={**o.scores, name: change(o.scores[name])} if name in o.scores else o.scores)
                for o in trial.rungs
            ),
        )
        for trial in study.trials
    )
    return dataclasses.replace(study, trials=trials)


def renamed(study: StudyRecord, name: str) -> StudyRecord:
    return dataclasses.replace(study, name=name)


@pytest.fixture(scope="module")
def one() -> StudyRecord:
    return renamed(told(make_study(seed=0)), "one")


@pytest.fixture(scope="module")
def two(one: StudyRecord) -> StudyRecord:
    """Another search over the same data, by the same protocol, on the same documents."""
    other = renamed(with_recipe(told(make_study(seed=7)), budget={"seed": 1}), "two")
    documents = finals(one)[0].outcome.documents
    assert documents is not None
    sizes = {"tokens": documents.tokens, "bytes": documents.bytes}

    def same(own: Any) -> Any:
        scale = np.array(documents.tokens) / np.array(own.tokens)
        return dataclasses.replace(own, nats=tuple(np.array(own.nats) * scale), **sizes)

    return with_documents(other, same)


def names(found: SideBySide) -> list[str]:
    return [objective.name for objective in found.objectives]


# What may be compared


def test_studies_of_one_protocol_are_compared_in_all_that_they_share(one: StudyRecord, two: StudyRecord) -> None:
    found = comparable([one, two], ["one", "two"])
    assert [objective.name for objective in found.objectives] == ["val_loss", "params", "latency", "collapse_rate"]
    assert not [alarm for alarm in found.alarms if alarm.severity == "alarm"]


Change = Callable[[StudyRecord], StudyRecord]
LOSS, SHARE, TIME = "val_loss", "collapse_rate", "latency"
OTHER_DATA: Mapping[str, Any] = {"data": {"fingerprint": "0" * 12}}
PLANTED: dict[str, tuple[Change, set[str], str]] = {
    "the last rung": (lambda s: with_recipe(s, budget={"rungs": [262_144, 2_097_152]}), {LOSS, SHARE}, "last rungs are at"),
    "the cooldown": (lambda s: with_recipe(s, budget={"cooldown_share": 0.1}), {LOSS, SHARE}, "20 % and 10 %"),
    "the data": (lambda s: with_attributes(s, **OTHER_DATA), {SHARE}, "the data differ"),
    "the tokenizer": (
        lambda s: with_attributes(with_recipe(s, tokenizer={"vocab_size": 4096}), **OTHER_DATA),
        {LOSS, SHARE},
        "vocab_size 2048 and 4096",
    ),
    "the tokens of the same text": (
        lambda s: with_attributes(
            with_documents(s, lambda d: dataclasses.replace(d, tokens=tuple(n + 1 for n in d.tokens))), **OTHER_DATA
        ),
        {LOSS, SHARE},
        "a token is not the same",
    ),
    "the validation text": (
        lambda s: with_documents(s, lambda d: dataclasses.replace(d, bytes=tuple(n + 1 for n in d.bytes))),
        {LOSS},
        "validation texts differ",
    ),
    "text that no ledger holds": (
        lambda s: with_attributes(
            dataclasses.replace(
                s,
                trials=tuple(
                    dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, documents=None) for o in t.rungs))
                    for t in s.trials
                ),
            ),
            **OTHER_DATA,
        ),
        {LOSS, SHARE},
        "cannot be told",
    ),
    "a single document": (
        lambda s: with_attributes(
            with_documents(s, lambda d: dataclasses.replace(d, tokens=(9,), bytes=(9,), nats=(9.0,))), **OTHER_DATA
        ),
        {LOSS, SHARE},
        "",
    ),
    "the temperature": (lambda s: with_recipe(s, evaluation={"temperature": 1.0}), {SHARE}, "temperature 0.7 and 1.0"),
    "the suite": (
        lambda s: with_scores(s, SHARE, lambda score: dataclasses.replace(score, note="suite collapse-9; 4 samples")),
        {SHARE},
        "none and collapse-9",
    ),
    "threads": (lambda s: with_recipe(s, latency={"threads": 2}), {TIME}, "threads 1 and 2"),
    "the format": (lambda s: with_recipe(s, latency={"dtype": "float32"}), {TIME}, "dtype auto and float32"),
    "the processor": (lambda s: with_attributes(s, environment={"processor": "another"}), {TIME}, "and another"),
    "torch": (lambda s: with_attributes(s, environment={"packages": {"torch": "2.0"}}), {TIME}, "torch 2.13.0 and 2.0"),
}


@pytest.mark.parametrize("which", PLANTED)
def test_what_was_not_measured_alike_is_not_compared_and_all_else_is(one: StudyRecord, two: StudyRecord, which: str) -> None:
    change, refused, words = PLANTED[which]
    changed = change(two)
    found = comparable([one, changed], ["one", "two"])
    left = {objective.name for objective in found.objectives} - {"bits_per_byte"}
    assert left == {"val_loss", "params", "latency", "collapse_rate"} - refused
    alarms = [alarm for alarm in found.alarms if alarm.severity == "alarm"]
    assert len(alarms) == len(refused)
    assert all(alarm.text.startswith("Of one and two ") for alarm in alarms)
    assert words in " ".join(alarm.text for alarm in alarms)
    assert found.alarms == tuple(sorted(found.alarms, key=lambda alarm: alarm.severity != "alarm")), "alarms on top"


@pytest.mark.parametrize("which", PLANTED)
def test_a_rule_is_the_same_both_ways(one: StudyRecord, two: StudyRecord, which: str) -> None:
    changed = PLANTED[which][0](two)
    for objective in OBJECTIVES.values():
        ways = [bool(reasons_against(objective, *pair)) for pair in ((one, changed), (changed, one))]
        assert ways[0] == ways[1]
        assert not reasons_against(objective, changed, changed) or objective.name == "latency"


def test_bytes_are_compared_where_tokens_cannot_be(one: StudyRecord, two: StudyRecord) -> None:
    other = PLANTED["the tokenizer"][0](two)
    found = comparable([one, other], ["one", "two"])
    assert [objective.name for objective in found.objectives] == ["bits_per_byte", "params", "latency"]
    assert any(alarm.title.startswith("Bits per byte") for alarm in found.alarms)
    longer = with_documents(other, lambda d: dataclasses.replace(d, bytes=tuple(n + 1 for n in d.bytes)))
    assert [objective.name for objective in comparable([one, longer], ["one", "two"]).objectives] == ["params", "latency"]


def test_gpus_of_unknown_name_are_not_taken_for_the_same(one: StudyRecord, two: StudyRecord) -> None:
    both = [
        with_attributes(with_recipe(study, latency={"device": "auto"}), environment={"device": "cuda"}) for study in (one, two)
    ]
    assert "cannot be told" in reasons_against(OBJECTIVES["latency"], *both)[0]
    table = [with_recipe(study, latency={"table": "phone.json"}) for study in both]
    assert reasons_against(OBJECTIVES["latency"], *table) == []
    assert any("phone.json" in alarm.text for alarm in comparable(table, ["a", "b"]).alarms), "its content is not vouched for"


def test_an_objective_of_one_study_alone_is_a_note(one: StudyRecord, two: StudyRecord) -> None:
    fewer = with_recipe(two, objectives=["params", "val_loss"])
    found = comparable([one, fewer], ["one", "two"])
    assert [objective.name for objective in found.objectives] == ["val_loss", "params"]
    assert {alarm.severity for alarm in found.alarms} == {"note"}
    assert sum("It is no objective of two" in alarm.text for alarm in found.alarms) == 2


def test_a_third_study_must_agree_too(one: StudyRecord, two: StudyRecord) -> None:
    third = renamed(PLANTED["the last rung"][0](two), "three")
    found = compare([one, two, third])
    assert names(found) == ["params", "latency"]
    assert "Of one and three" in found.alarms[0].text and "one and two" not in found.alarms[0].text


# Volumes and coverage


def test_a_study_beside_itself_is_even(one: StudyRecord) -> None:
    found = compare([one, renamed(one, "again")])
    first, second = found.volumes
    assert [(point.flops, point.value) for point in first.points] == [(point.flops, point.value) for point in second.points]
    (duel,) = found.duels
    assert duel.gain == 0.0 and duel.low <= 0.0 <= duel.high
    assert duel.probability == pytest.approx(0.5, abs=0.12), "only the draws differ, of which there are hundreds"
    assert [coverage.value for coverage in found.coverages] == [0.0, 0.0], "equal points do not dominate each other"
    assert len(found.common) == len(finals(one))
    assert all(pair.difference == 0.0 and pair.agrees for each in found.common for pair in each.pairs)


def better(study: StudyRecord, by: float) -> StudyRecord:
    """The study with losses lower by so many nats, and every document's with them."""
    lower = with_scores(
        study, "val_loss", lambda s: dataclasses.replace(s, value=s.value - by, low=s.low - by, high=s.high - by)
    )
    return with_documents(
        lower, lambda d: dataclasses.replace(d, nats=tuple(n - by * t for n, t in zip(d.nats, d.tokens, strict=True)))
    )


def test_a_study_that_is_better_everywhere_wins_for_certain_and_covers_the_other(one: StudyRecord) -> None:
    one = with_recipe(one, objectives=["val_loss", "params"])  # of timings and shares that are alike, chance tells who is ahead
    found = compare([renamed(better(one, 1.0), "better"), one])
    (duel,) = found.duels
    assert duel.probability > 0.99 and duel.low > 0
    forth, back = found.coverages
    assert (forth.by, forth.covered, forth.value, back.value) == (0, 1, 1.0, 0.0)
    assert forth.mean > 0.9 and back.mean == 0.0 and len(forth.members) == len(found.sides[1].front)
    turned = compare([one, renamed(better(one, 1.0), "better")]).duels[0]
    assert turned.gain == pytest.approx(-duel.gain)
    assert turned.probability < 0.01


def test_the_more_it_leads_the_likelier_it_is_ahead(one: StudyRecord) -> None:
    chances = [compare([renamed(better(one, by), "better"), one]).duels[0].probability for by in (0.0, 0.05, 0.1, 0.3)]
    assert chances == sorted(chances) and chances[-1] > 0.9 > chances[1]


def test_one_box_holds_every_final_trial_of_all_studies(one: StudyRecord, two: StudyRecord) -> None:
    found = compare([one, two])
    assert found.box is not None
    for side in found.sides:
        rows = np.array([[trial.runs[0].score(o.name, 1).value for o in found.objectives] for trial in side.trials])  # type: ignore[union-attr]
        logs = np.array([o.logarithmic for o in found.objectives])
        placed = found.box.place(np.where(logs, np.log(np.where(logs, rows, 1.0)), rows))
        assert placed.min() >= -1e-9 and placed.max() <= 1 + 1e-9
    assert compare([two, one]).box is not None
    assert compare([two, one]).box.best == found.box.best, "whoever is named first"  # type: ignore[union-attr]


def test_in_a_box_of_its_own_the_volume_is_that_of_the_studys_report(one: StudyRecord) -> None:
    """The same estimate: only the box is another."""
    found = compare([one, renamed(one, "again")])
    trials, noise = finals(one), seed_noise(finals(one))
    assert found.box == dataclasses.replace(union_box([trials, trials], found.objectives), spanned_by=2 * len(trials))
    own = hypervolume(one, trials, found.objectives, noise)
    assert len(own) == len(found.volumes[0].points)
    assert found.volumes[0].end.value == pytest.approx(own[-1].value, rel=1e-6), "its first sixteen are all that there are"
    report = build_report(one)
    assert {trial.number for trial in found.sides[0].members} == {standing.number for standing in report.front}


def test_compute_is_counted_as_it_was_spent(one: StudyRecord) -> None:
    expected = sum(
        cost.training_flops_per_token(trial.spec) * trial.rungs[-1].tokens for trial in one.trials if trial.spec and trial.rungs
    )
    assert total_flops(one) == pytest.approx(expected)
    spent = spent_by(one)
    assert list(spent.values())[-1].flops == pytest.approx(expected)
    assert all(a.flops <= b.flops and a.seconds <= b.seconds for a, b in itertools.pairwise(spent.values()))


def test_at_equal_compute_only_what_had_ended_by_then_counts(one: StudyRecord, two: StudyRecord) -> None:
    found = compare([one, two])
    assert found.budget_flops == min(total_flops(one), total_flops(two))
    for volumes in found.volumes:
        assert volumes.at_flops is not None and volumes.at_flops.flops <= found.budget_flops * (1 + 1e-9)
        later = [point for point in volumes.points if point.flops > found.budget_flops * (1 + 1e-9)]
        assert all(point.value >= volumes.at_flops.value for point in later)
    tiny = dataclasses.replace(two, trials=two.trials[:1], timeline=two.timeline[:1])
    assert compare([one, tiny]).volumes == (), "a study without a final trial has no volume"


def test_ledgers_that_do_not_say_what_jobs_trained_have_no_equal_compute() -> None:
    found = compare([renamed(make_study(seed=0), "a"), renamed(make_study(seed=0), "b")])
    assert found.budget_flops is None and found.duels == ()
    assert any("cannot be told" in cell for row in found.overview for cell in row.values)
    assert found.budget_s is not None


def test_seconds_of_unlike_machines_are_not_compared(one: StudyRecord, two: StudyRecord) -> None:
    assert compare([one, two]).budget_s is not None
    other = with_attributes(two, environment={"processor": "another", "workers": 8})
    found = compare([one, other])
    assert found.budget_s is None and "workers 1 and 8" in found.no_seconds
    assert found.budget_flops is not None and all(volumes.at_s is None for volumes in found.volumes)


def test_coverage_by_hand() -> None:
    """Ours (1, 1) dominates (2, 2) and (1, 3) and not (0, 9)."""
    ours, theirs = np.array([[1.0, 1.0], [5.0, 5.0]]), np.array([[2.0, 2.0], [1.0, 3.0], [0.0, 9.0]])
    draws = [Draws(true=np.repeat(rows[None], 8, axis=0), again=np.repeat(rows[None], 8, axis=0)) for rows in (ours, theirs)]
    forth, back = coverages([ours, theirs], [[0, 1], [0, 1, 2]], draws)
    assert (forth.value, forth.mean, forth.low, forth.high) == pytest.approx((2 / 3,) * 4)
    assert forth.members == (1.0, 1.0, 0.0)
    assert back.value == 0.5, "their (2, 2) dominates our (5, 5)"


def test_studies_of_one_order_are_moved_alike_and_others_are_not(one: StudyRecord, two: StudyRecord) -> None:
    assert same_order(one, one) and not same_order(one, two)
    assert orders([one, two, renamed(one, "three")]) == (0, 1, 0)
    trials, noise = finals(one), seed_noise(finals(one))
    loss = (OBJECTIVES["val_loss"],)
    own, same, other = (
        joint_draws(trials, loss, noise, side=side, order=order).true[:, :, 0].mean(axis=1)
        for side, order in ((0, 0), (1, 0), (2, 1))
    )
    assert np.corrcoef(own, same)[0, 1] > 0.5 > abs(np.corrcoef(own, other)[0, 1]) + 0.2


# Architectures in common, differences


def test_a_difference_that_seeds_explain_agrees_and_one_they_do_not_does_not(one: StudyRecord) -> None:
    for by, agreeing in ((0.02, True), (2.0, False)):
        found = compare([one, with_recipe(renamed(better(one, by), "other"), budget={"seed": 5})])
        rows = {row.objective.name: row for row in reproductions(found.common)}
        assert rows["val_loss"].mean == pytest.approx(-by) and rows["val_loss"].deviation == pytest.approx(by)
        assert (rows["val_loss"].agreeing == rows["val_loss"].count) is agreeing
        assert rows["params"].agreeing == rows["params"].count == len(finals(one))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_a_thing_does_not_differ_from_itself_and_nothing_of_it_is_left_out(value: Any) -> None:
    whole = {"root": value}
    assert not [each for each in differences([whole, whole]) if each.differs]
    flat = leaves(whole)
    assert len(differences([whole, {}])) == len(flat)
    assert all(each.values[1] == "not there" for each in differences([whole, {}]))


def test_what_differs_in_recipe_data_and_machine_is_listed_with_both_values(one: StudyRecord, two: StudyRecord) -> None:
    other = with_attributes(
        with_recipe(two, training={"learning_rate": 3e-3}, rules=["width % heads == 0"], fresh=1), environment={"cores": 64}
    )
    found = compare([one, other])
    recipe = {each.place: each.values for each in found.recipe}
    assert recipe["training.learning_rate"] == ("0.0015", "0.003")
    assert recipe["budget.seed"] == ("0", "1")
    assert recipe["fresh"] == ("not there", "1")
    assert set(recipe) == {"training.learning_rate", "budget.seed", "fresh", "rules"}
    assert {each.place: each.values for each in found.environment if each.differs} == {"cores": ("2", "64")}
    assert {each.place for each in found.data if each.place.startswith("tokens")} == {
        "tokens.train",
        "tokens.validation",
        "tokens.test",
    }


def test_one_study_or_the_same_twice_is_no_comparison(one: StudyRecord) -> None:
    with pytest.raises(StudyError, match="two studies"):
        compare([one])
    with pytest.raises(StudyError, match="named twice"):
        compare([one, one])


def test_the_same_ledgers_give_the_same_comparison(one: StudyRecord, two: StudyRecord) -> None:
    first, second = compare([one, two]), compare([one, two])
    assert first.duels == second.duels and first.coverages == second.coverages and first.common == second.common
    assert all(math.isfinite(x) for duel in first.duels for x in (duel.gain, duel.low, duel.high, duel.probability))


def measured_anew(study: StudyRecord, name: str, seed: int, rng: np.random.Generator) -> StudyRecord:
    """The same truth again: losses moved by .05 nats each and .05 all alike, timings by 1 %, shares of 64 samples."""
    alike = rng.normal(0, 0.05)
    trials = []
    for trial in study.trials:
        by, ratio = alike + rng.normal(0, 0.05), math.exp(rng.normal(0, 0.01))
        rungs = []
        for outcome in trial.rungs:
            scores = dict(outcome.scores)
            loss = scores["val_loss"]
            scores["val_loss"] = dataclasses.replace(loss, value=loss.value + by, low=loss.low + by, high=loss.high + by)
            if (share := scores.get("collapse_rate")) is not None:
                again = rng.binomial(64, min(max(share.value, 0.01), 0.9)) / 64
                low, high = wilson_interval(again, 64)
                scores["collapse_rate"] = dataclasses.replace(share, value=again, low=low, high=high, n=64)
            documents = outcome.documents
            assert documents is not None
            nats = tuple(n + by * t for n, t in zip(documents.nats, documents.tokens, strict=True))
            rungs.append(dataclasses.replace(outcome, scores=scores, documents=dataclasses.replace(documents, nats=nats)))
        known = dict(trial.scores)
        if (timing := known.get("latency")) is not None:
            value = timing.value * ratio
            known["latency"] = dataclasses.replace(timing, value=value, low=0.98 * value, high=1.02 * value)
        trials.append(dataclasses.replace(trial, rungs=tuple(rungs), scores=known))
    return renamed(with_recipe(dataclasses.replace(study, trials=tuple(trials)), budget={"seed": seed}), name)


def test_two_measurements_of_one_truth_are_rarely_told_apart() -> None:
    """Of 200 such pairs, 7 % had a chance beyond 5 and 95 %, and 5.5 % an interval without zero; of 20 here, few may."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(20):
        truth = told(make_study(seed=number, trials=30, survivors=14, curve_points=4))
        found.append(compare([measured_anew(truth, "a", 1, rng), measured_anew(truth, "b", 2, rng)]))
    told_apart = [each.duels[0] for each in found if not 0.05 <= each.duels[0].probability <= 0.95]
    assert len(told_apart) <= 5
    assert sum(each.duels[0].low <= 0.0 <= each.duels[0].high for each in found) >= 16
    rows = [row for each in found for row in reproductions(each.common) if row.objective.known != "arithmetic"]
    assert sum(row.agreeing for row in rows) / sum(row.count for row in rows) > 0.9
