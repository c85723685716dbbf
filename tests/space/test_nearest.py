from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from autonas.space.domains import Choice, Domain, Float, Int, Value
from autonas.space.nearest import MOST_TRIED, by_distance, construct, distance, nearest, pull_back, smallest

DOMAINS: dict[str, Domain] = {
    "a": Int(low=0, high=6),
    "b": Choice(options=("x", "y", "z")),
    "c": Choice(options=(1, 2, 4, 8)),
    "d": Float(low=0.0, high=1.0),
}
STARTS = st.fixed_dictionaries(
    {"a": st.integers(0, 6), "b": st.sampled_from("xyz"), "c": st.sampled_from([1, 2, 4, 8]), "d": st.floats(0, 1)}
)
NAMES = ("a", "b", "c")


@given(STARTS)
def test_points_come_nearest_first_and_each_once(start: dict[str, Value]) -> None:
    points = list(by_distance(DOMAINS, start, NAMES))
    distances = [distance(DOMAINS, start, point) for point in points]
    assert points[0] == start
    assert distances == sorted(distances) or all(a <= b + 1e-9 for a, b in itertools.pairwise(distances))
    assert len({tuple(point.values()) for point in points}) == len(points) == 7 * 3 * 4
    assert all(point["d"] == start["d"] for point in points)


@given(STARTS, st.integers(0, 83))
def test_nearest_is_the_first_legal_point(start: dict[str, Value], index: int) -> None:
    points = list(by_distance(DOMAINS, start, NAMES))
    wanted = points[index]
    assert nearest(DOMAINS, start, NAMES, lambda point: point == wanted) == wanted
    assert nearest(DOMAINS, start, NAMES, lambda point: False) is None


def test_the_number_of_points_tried_is_bounded() -> None:
    wide = {name: Int(low=0, high=10**9) for name in "abcdef"}
    tried = 0

    def never(point: dict[str, Value]) -> bool:
        nonlocal tried
        tried += 1
        return False

    assert nearest(wide, dict.fromkeys("abcdef", 5), "abcdef", never) is None
    assert tried == MOST_TRIED


@given(STARTS, STARTS)
def test_pulling_back_stays_legal_and_goes_no_farther(start: dict[str, Value], far: dict[str, Value]) -> None:
    def legal(point: dict[str, Value]) -> bool:
        return point == far or float(point["a"]) >= float(far["a"])

    point = pull_back(DOMAINS, start, far, NAMES, legal)
    assert legal(point)
    assert distance(DOMAINS, start, point) <= distance(DOMAINS, start, far)


@given(STARTS)
def test_the_smallest_point_is_found_from_everywhere(start: dict[str, Value]) -> None:
    def cost(point: dict[str, Value]) -> float | None:
        return None if point["b"] == "x" else float(point["a"]) * float(point["c"]) + float(point["d"])

    found = smallest(DOMAINS, start, tuple(DOMAINS), cost)
    assert cost(found) == 0.0


@given(STARTS, st.integers(0, 83))
def test_a_constructed_point_holds_whatever_is_asked(start: dict[str, Value], index: int) -> None:
    wanted = list(by_distance(DOMAINS, start, NAMES))[index]

    def holds(partial: dict[str, Value], name: str) -> bool:
        return partial[name] == wanted[name]

    assert construct(DOMAINS, start, NAMES, holds, most_checks=100) == wanted
    assert construct(DOMAINS, start, NAMES, lambda partial, name: True, most_checks=100) == start
    assert construct(DOMAINS, start, NAMES, lambda partial, name: False, most_checks=100) is None
    assert construct(DOMAINS, start, NAMES, lambda partial, name: False, most_checks=2) is None
