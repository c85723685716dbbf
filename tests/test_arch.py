from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings

from autonas.arch import HORIZON_BOUND, STRUCTURAL, ArchSpec
from autonas.errors import InfeasibleArch
from tests.model.strategies import specs

SPEC = ArchSpec(layers=2, width=64, heads=4, kv_heads=2)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(specs(dropout=True))
def test_a_spec_survives_json(spec: ArchSpec) -> None:
    again = ArchSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.fingerprint == spec.fingerprint


OTHER: dict[str, Any] = {
    "layers": 3,
    "width": 128,
    "heads": 2,
    "kv_heads": 1,
    "ffn_multiplier": 2.5,
    "norm": "layernorm",
    "activation": "swiglu",
    "position": "alibi",
    "tied_embeddings": False,
    "vocab_size": 512,
    "context_length": 64,
    "attention_dropout": 0.1,
    "residual_dropout": 0.1,
    "label_smoothing": 0.1,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch_tokens": 1024,
}


def test_every_field_is_varied_below() -> None:
    assert set(OTHER) == {field.name for field in dataclasses.fields(ArchSpec)}
    assert set(OTHER) == {*STRUCTURAL, *HORIZON_BOUND, "vocab_size", "context_length"}


@pytest.mark.parametrize("name", OTHER)
def test_every_field_is_part_of_the_identity(name: str) -> None:
    assert dataclasses.replace(SPEC, **{name: OTHER[name]}).fingerprint != SPEC.fingerprint


@pytest.mark.parametrize("name", OTHER)
def test_only_what_touches_inference_is_in_the_inference_identity(name: str) -> None:
    same = dataclasses.replace(SPEC, **{name: OTHER[name]}).inference_fingerprint == SPEC.inference_fingerprint
    assert same == (name in HORIZON_BOUND)


def test_four_and_four_point_zero_are_the_same_architecture() -> None:
    assert dataclasses.replace(SPEC, ffn_multiplier=4).fingerprint == dataclasses.replace(SPEC, ffn_multiplier=4.0).fingerprint


def test_fingerprints_stay_what_they_were() -> None:
    # Folders, caches and ledgers are named by them: a change here orphans every one.
    assert SPEC.fingerprint == "9eaa5209bfc1"
    assert SPEC.inference_fingerprint == "9b6ecafbb24c"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"layers": 0}, "layers"),
        ({"layers": 2.0}, "layers"),
        ({"layers": True}, "layers"),
        ({"width": 66}, "width % heads == 0"),
        ({"kv_heads": 3}, "heads % kv_heads == 0"),
        ({"kv_heads": 8}, "heads % kv_heads == 0"),
        ({"width": 60, "position": "rope"}, "rope needs an even head width"),
        ({"ffn_multiplier": 0.001}, "ffn_multiplier"),
        ({"ffn_multiplier": float("nan")}, "ffn_multiplier"),
        ({"ffn_multiplier": float("inf")}, "ffn_multiplier"),
        ({"norm": "batchnorm"}, "norm"),
        ({"activation": "relu"}, "activation"),
        ({"position": "none"}, "position"),
        ({"tied_embeddings": 1}, "tied_embeddings"),
        ({"attention_dropout": 1.0}, "attention_dropout"),
        ({"residual_dropout": -0.1}, "residual_dropout"),
        ({"label_smoothing": "0.1"}, "label_smoothing"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_what_cannot_be_is_refused_with_its_rule(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InfeasibleArch) as caught:
        dataclasses.replace(SPEC, **change)
    assert caught.value.rule == rule
    assert len(str(caught.value)) > len(rule)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"layers": 1, "width": 8, "heads": 2, "depth": 3}, "unknown name"),
        ({"layers": 1, "width": 8}, "missing name"),
    ],
)
def test_a_mapping_with_wrong_names_is_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(InfeasibleArch) as caught:
        ArchSpec.from_dict(values)
    assert caught.value.rule == rule


def test_kv_heads_left_out_are_the_heads() -> None:
    assert ArchSpec.from_dict({"layers": 1, "width": 8, "heads": 2}).kv_heads == 2
