from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.errors import InfeasibleArch
from autonas.space.domains import Choice, Fixed, Float, Int
from autonas.space.limits import Limits
from autonas.space.space import Space
from tests.space.small import make_space, price

SMALL = make_space(rules=("width % heads == 0", "layers * width <= 128"), limits=Limits(params_max=60_000, params_min=20_000))
LEGAL = [params for params in SMALL.every() if SMALL.legal(params)]


def test_heads_in_kv_heads_is_as_many_as_heads() -> None:
    params = {"layers": 1, "width": 64, "heads": 4, "kv_heads": "heads", "position": "rope"}
    assert SMALL.decode(params).kv_heads == 4


def test_left_out_dimensions_have_the_stated_defaults() -> None:
    space = Space(
        name="s",
        domains={"layers": Int(low=1, high=2), "width": Fixed(value=64), "heads": Fixed(value=4)},
        vocab_size=300,
        context_length=32,
    )
    expected = ArchSpec(layers=2, width=64, heads=4, kv_heads=4, vocab_size=300, context_length=32)
    assert space.decode({"layers": 2}) == expected


def test_horizon_bound_dimensions_are_held_unless_sampled() -> None:
    domains: dict[str, Any] = {
        "attention_dropout": Float(low=0.0, high=0.2),
        "learning_rate": Float(low=1e-4, high=1e-2, log=True),
    }
    held = make_space(**domains)
    assert held.horizon_bound == ("attention_dropout", "learning_rate")
    assert not set(held.searched) & set(held.horizon_bound)
    params: dict[str, Any] = {"layers": 1, "width": 64, "heads": 4, "kv_heads": 1, "position": "rope"}
    assert (held.decode(params).attention_dropout, held.decode(params).learning_rate) == (0.0, None)
    assert held.decode(params | {"attention_dropout": 0.1}).attention_dropout == 0.1
    sampled = Space(
        name="s",
        domains=held.domains,
        vocab_size=300,
        context_length=32,
        sample_horizon_bound=True,
        defaults={"attention_dropout": 0.1},
    )
    assert set(sampled.horizon_bound) < set(sampled.searched)
    assert sampled.size() is None


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"heads": 3}, "width % heads == 0"),
        ({"layers": 3}, "layers * width <= 128"),
        ({"kv_heads": 7}, "kv_heads"),
        ({"layers": True}, "layers"),
        ({"depth": 3}, "unknown name"),
    ],
)
def test_decode_names_the_rule_that_is_broken(change: dict[str, Any], rule: str) -> None:
    params = {"layers": 1, "width": 64, "heads": 4, "kv_heads": 1, "position": "rope"} | change
    with pytest.raises(InfeasibleArch) as caught:
        SMALL.decode(params)
    assert caught.value.rule == rule


def test_decode_needs_every_searched_dimension() -> None:
    with pytest.raises(InfeasibleArch, match="lack 'width'"):
        SMALL.decode({"layers": 1, "heads": 2, "kv_heads": 1, "position": "rope"})


def test_the_core_s_own_rules_hold_without_being_listed() -> None:
    space = make_space()
    with pytest.raises(InfeasibleArch) as caught:
        space.decode({"layers": 1, "width": 64, "heads": 3, "kv_heads": 1, "position": "rope"})
    assert caught.value.rule == "width % heads == 0"


def test_screen_names_the_limit_and_the_numbers() -> None:
    spec = ArchSpec(layers=3, width=64, heads=4, kv_heads=4, vocab_size=300, context_length=32)
    with pytest.raises(InfeasibleArch, match=r"params is 1.*, above limits\.params\.max = 60,000") as caught:
        SMALL.screen(spec)
    assert caught.value.rule == "limits.params.max"


@given(st.integers(0, 2**32 - 1))
def test_drawn_params_are_as_broken_as_decode_says(seed: int) -> None:
    params = SMALL.draw(np.random.default_rng(seed))
    broken = SMALL.broken(params)
    if not broken:
        SMALL.decode(params)
        return
    with pytest.raises(InfeasibleArch) as caught:
        SMALL.decode(params)
    assert caught.value.rule == broken[0]


def test_every_yields_each_combination_once() -> None:
    seen = {tuple(params.values()) for params in SMALL.every()}
    assert len(seen) == SMALL.size() == 3 * 3 * 3 * 3 * 2


def test_the_legal_share_is_counted_or_estimated() -> None:
    exact = len(LEGAL) / 162
    assert SMALL.legal_share() == exact
    assert SMALL.legal_share(samples=161) == pytest.approx(exact, abs=0.15)
    assert SMALL.legal_share(samples=100, seed=3) == SMALL.legal_share(samples=100, seed=3)


@pytest.mark.parametrize("params", list(SMALL.every())[::5])
def test_nearest_legal_is_what_brute_force_finds(params: dict[str, Any]) -> None:
    found = SMALL.nearest_legal(params)
    assert found is not None
    assert SMALL.legal(found)
    assert SMALL.distance(params, found) == pytest.approx(min(SMALL.distance(params, legal) for legal in LEGAL))
    assert SMALL.nearest_legal(params) == found


def test_what_is_legal_is_its_own_nearest() -> None:
    for params in LEGAL[::7]:
        assert SMALL.nearest_legal(params) == params


def test_nearest_legal_mends_params_from_elsewhere() -> None:
    found = SMALL.nearest_legal({"layers": 99, "width": "wide", "heads": None, "unknown": 1})
    assert found is not None
    assert SMALL.legal(found)
    assert set(found) == set(SMALL.searched)


def test_nearest_legal_finds_what_is_far_away() -> None:
    wide: dict[str, Any] = {"layers": Int(low=1, high=64), "width": Int(low=16, high=512)}
    start = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "position": "rope"}
    for space in (
        make_space(limits=Limits(params_min=5_000_000), **wide),
        make_space(limits=Limits(params_min=5_000_000, params_max=5_100_000), **wide),
        make_space(rules=("layers * 7 == width", "width > 300"), **wide),
    ):
        found = space.nearest_legal(start)
        assert found is not None
        assert space.legal(found)


def test_nothing_legal_has_no_nearest() -> None:
    assert make_space(rules=("layers > 9",)).nearest_legal({}) is None


def test_nearest_legal_leaves_alone_what_cannot_matter() -> None:
    space = Space(
        name="s",
        domains={**SMALL.domains, "weight_decay": Float(low=0.0, high=1.0)},
        rules=SMALL.rules,
        vocab_size=300,
        context_length=32,
        sample_horizon_bound=True,
    )
    found = space.nearest_legal(
        {"layers": 3, "width": 64, "heads": 3, "kv_heads": 2, "position": "rope", "weight_decay": 0.123}
    )
    assert found is not None
    assert found["weight_decay"] == 0.123


def test_the_extremes_are_those_of_the_whole_space() -> None:
    extremes = SMALL.extremes()
    assert extremes is not None
    sizes = [price(SMALL.decode(params))["params"] for params in LEGAL]
    assert [price(spec)["params"] for spec in extremes] == [min(sizes), max(sizes)]


def test_an_empty_space_has_no_extremes() -> None:
    assert make_space(rules=("layers > 9",)).extremes() is None


def test_a_space_without_required_dimensions_cannot_be_built() -> None:
    with pytest.raises(AssertionError):
        Space(name="s", domains={"layers": Int(low=1, high=2)}, vocab_size=300, context_length=32)


def test_a_choice_of_norms_reaches_the_spec() -> None:
    space = make_space(norm=Choice(options=("layernorm", "rmsnorm")))
    params = {"layers": 1, "width": 64, "heads": 4, "kv_heads": 1, "position": "rope", "norm": "layernorm"}
    assert space.decode(params).norm == "layernorm"
