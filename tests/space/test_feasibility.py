from __future__ import annotations

from typing import Any

import pytest

from autonas.space.domains import Choice, Fixed, Int
from autonas.space.feasibility import dead_head_count, find_emptiness
from autonas.space.limits import Limits
from autonas.space.nearest import MOST_TRIED
from autonas.space.space import Space
from tests.space.small import make_space


def blame(space: Space) -> tuple[str, str]:
    emptiness = find_emptiness(space)
    assert emptiness is not None
    return emptiness.place, emptiness.message


def test_a_space_that_holds_something_is_not_blamed() -> None:
    assert find_emptiness(make_space()) is None
    assert find_emptiness(make_space(limits=Limits(params_max=60_000))) is None


def test_one_impossible_rule_is_named_alone() -> None:
    place, message = blame(make_space(rules=("width % heads == 0", "layers * 2 > 100")))
    assert place == "rules[1]"
    assert "`layers * 2 > 100` is impossible" in message


def test_rules_that_contradict_each_other_are_named_without_the_innocent() -> None:
    place, message = blame(make_space(rules=("layers > 2", "heads >= 2", "layers < 3", "width >= 32")))
    assert place == "space"
    assert "`layers < 3` and `layers > 2` together" in message
    assert "width" not in message


def test_head_counts_that_never_divide_are_named_by_the_core_s_rule() -> None:
    _, message = blame(make_space(width=Int(low=31, high=31 + 6, step=6), heads=Int(low=40, high=50)))
    assert "`width % heads == 0`" in message


def test_a_space_too_large_to_enumerate_is_drawn_from() -> None:
    wide: dict[str, Any] = {"layers": Int(low=1, high=1000), "width": Int(low=1, high=60_000), "heads": Int(low=1, high=1000)}
    _, message = blame(make_space(rules=("layers + heads > 1900", "width < 40", "layers * width > 70000"), **wide))
    assert "none of 20,000 architectures drawn" in message


def test_the_limit_that_nothing_meets_is_named_with_numbers() -> None:
    place, message = blame(make_space(limits=Limits(params_max=1000)))
    assert place == "limits.params.max"
    smallest = min(
        make_space().price(make_space().decode(params))["params"]
        for params in make_space().every()
        if make_space().legal(params)
    )
    assert f"is 1,000, but even the smallest architecture has params {smallest:,}" in message
    place, message = blame(make_space(limits=Limits(memory_min=10**9)))
    assert place == "limits.memory.min"
    assert "even the largest" in message


def test_limits_that_leave_nothing_between_them_are_named_together() -> None:
    place, message = blame(make_space(limits=Limits(params_max=30_000, flops_min=100_000)))
    assert place == "limits"
    assert "limits.params and limits.flops" in message


def test_the_only_legal_point_is_found_wherever_it_is() -> None:
    space = make_space()
    points = [params for params in space.every() if space.legal(params)]
    assert len(points) < MOST_TRIED
    for point in points[::9]:
        rules = tuple(f"{name} == {value!r}" for name, value in point.items() if value != "heads")
        assert find_emptiness(make_space(rules=rules)) is None


@pytest.mark.parametrize(
    ("domains", "dead"),
    [
        ({"heads": Choice(options=(2, 4, 7))}, ("heads", 7, "width")),
        ({"heads": Fixed(value=5)}, ("heads", 5, "width")),
        ({"kv_heads": Choice(options=(1, 5))}, ("kv_heads", 5, "heads")),
        ({"kv_heads": Choice(options=(1, 3))}, None),
        ({"heads": Int(low=1, high=31)}, None),
        ({}, None),
    ],
)
def test_written_head_counts_that_never_divide_are_found(domains: dict[str, Any], dead: object) -> None:
    assert dead_head_count(make_space(**domains)) == dead


def test_a_thin_space_is_found_by_building_it_up() -> None:
    wide: dict[str, Any] = {"layers": Int(low=1, high=1000), "width": Int(low=1, high=60_000), "heads": Int(low=1, high=1000)}
    space = make_space(rules=("layers * 64 == width", "heads * 64 == width", "kv_heads == heads"), **wide)
    assert find_emptiness(space) is None
    found = space.nearest_legal({})
    assert found is not None
    assert space.legal(found)
