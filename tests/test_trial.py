"""Records to JSON and back: nothing is lost, and what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.errors import FAILURE_KINDS
from autonas.trial import DocumentLosses, Failure, Outcome, Score, TrialRecord, from_json, to_json

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(2**31), 2**31).map(float)
counts = st.integers(0, 2**31)
scores = st.builds(lambda v, n: Score(value=v, low=v - 1.0, high=v + 1.0, unit="nats", n=n), numbers, st.none() | counts)
documents = st.lists(st.tuples(numbers, counts, counts), max_size=4).map(
    lambda rows: DocumentLosses(
        nats=tuple(row[0] for row in rows), tokens=tuple(row[1] for row in rows), bytes=tuple(row[2] for row in rows)
    )
)
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(["train", "latency", "run"]),
    trial=counts,
    attempt=counts,
    rung=counts,
    seconds=numbers,
    failure=st.none() | st.builds(Failure, kind=st.sampled_from(FAILURE_KINDS), message=st.text()),
    scores=st.dictionaries(st.text(), scores, max_size=3),
    documents=st.none() | documents,
    baselines=st.dictionaries(st.text(), numbers, max_size=3),
    curve=st.lists(st.tuples(counts, numbers), max_size=5).map(tuple),
    checks=st.dictionaries(st.text(), st.text(), max_size=2),
)


@given(outcomes)
def test_a_record_survives_json(outcome: Outcome) -> None:
    again = from_json(Outcome, json.loads(json.dumps(to_json(outcome))))
    assert again == outcome
    assert all(type(tokens) is int and type(loss) is float for tokens, loss in again.curve)


def test_a_number_without_a_point_is_a_float_where_one_belongs() -> None:
    read = from_json(Outcome, {**PLAIN, "seconds": 3, "curve": [[10, 4], [20, 3.5]], "baselines": {"unigram": 7}})
    assert [type(value) for value in (read.seconds, read.curve[0][1], read.baselines["unigram"])] == [float, float, float]
    losses = from_json(DocumentLosses, {"nats": [1, 2.5], "tokens": [3, 4], "bytes": [5, 6]})
    assert losses.nats == (1.0, 2.5) and {type(value) for value in losses.nats} == {float}


PLAIN: Mapping[str, Any] = {"kind": "train", "trial": 1, "attempt": 1, "rung": 0, "seconds": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": "1"}, "Outcome.seconds is '1', not float"),
        ({"seconds": True}, "Outcome.seconds is True, not float"),
        ({"trial": 1.5}, "Outcome.trial is 1.5, not int"),
        ({"trial": True}, "Outcome.trial is True, not int"),
        ({"kind": "other"}, "Outcome.kind is 'other', not one of 'train', 'latency', 'run'"),
        ({"curve": 3}, "Outcome.curve is 3, not a list"),
        ({"curve": [[1, 2.0], 3]}, "Outcome.curve[1] is 3, not a list"),
        ({"curve": [[1, 2.0], [2, None]]}, "Outcome.curve[1][1] is None, not float"),
        ({"curve": [[1, 2.0, 3.0]]}, "Outcome.curve[0] is [1, 2.0, 3.0], not a list of 2"),
        ({"scores": []}, "Outcome.scores is [], not an object"),
        ({"scores": {"val_loss": {"value": 1.0}}}, "Outcome.scores.val_loss lacks 'low'"),
        ({"baselines": {"unigram": "7"}}, "Outcome.baselines.unigram is '7', not float"),
        ({"documents": {"nats": [1.0], "tokens": [1.5], "bytes": [1]}}, "Outcome.documents.tokens[0] is 1.5, not int"),
        ({"failure": {"kind": "nan", "message": None}}, "Outcome.failure.message is None, not str"),
        ({"colour": 1}, "Outcome has no field 'colour'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        from_json(Outcome, {**PLAIN, **changes})


def test_a_field_that_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="Outcome lacks 'rung'"):
        from_json(Outcome, {name: value for name, value in PLAIN.items() if name != "rung"})
    with pytest.raises(ValueError, match="Outcome is 3, not an object"):
        from_json(Outcome, 3)


def test_a_trial_keeps_its_architecture_and_what_a_sampler_left() -> None:
    spec = ArchSpec(layers=2, width=32, heads=2, kv_heads=1, weight_decay=0.5)
    trial = TrialRecord(
        number=3, state="live", params={"layers": 2, "tied": True}, spec=spec, sampler_state={"a": [1, {"b": 2}]}
    )
    assert from_json(TrialRecord, json.loads(json.dumps(to_json(trial)))) == trial
    assert to_json(dataclasses.replace(trial, spec=None))["spec"] is None
