"""Dominance, hypervolume and the order of survivors."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas import pareto

grids = st.integers(2, 4).flatmap(
    lambda d: st.lists(st.tuples(*[st.integers(0, 5)] * d), min_size=1, max_size=12).map(lambda p: np.array(p, dtype=float))
)


@given(grids)
def test_the_front_is_what_pairwise_comparison_says(points: np.ndarray) -> None:
    def dominated(a: np.ndarray) -> bool:
        return any(bool((b <= a).all() and (b < a).any()) for b in points)

    assert pareto.non_dominated(points).tolist() == [not dominated(a) for a in points]


@given(grids)
@settings(max_examples=60, deadline=None)
def test_hypervolume_counts_the_unit_cells_below_the_reference(points: np.ndarray) -> None:
    d = points.shape[1]
    cells = itertools.product(range(6), repeat=d)
    covered = sum(any(bool((p <= np.array(cell)).all()) for p in points) for cell in cells)
    assert pareto.hypervolume(points, [6.0] * d) == pytest.approx(covered)


@given(grids)
@settings(max_examples=60, deadline=None)
def test_a_front_grown_point_by_point_is_that_of_all_points(points: np.ndarray) -> None:
    reference = [5.0] * points.shape[1]  # some points lie beyond it
    front = pareto.Front(reference)
    before = 0.0
    for count, point in enumerate(points, 1):
        promised = front.gain(point)
        gain = front.add(point)
        whole = pareto.hypervolume(points[:count], reference)
        assert gain == promised == pytest.approx(whole - before)
        assert front.volume == pytest.approx(whole)
        before = whole
    expected = points[pareto.non_dominated(points)]
    assert sorted(map(tuple, front.points)) == sorted(map(tuple, expected)), "duplicates included"


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_front_of_hundreds_has_the_volume_of_all_at_once(columns: int) -> None:
    points = _on_a_sphere(150, columns)
    reference = np.full(columns, 1.05)
    front = pareto.Front(reference)
    gains = [front.add(point) for point in points]
    assert sum(gains) == pytest.approx(pareto.hypervolume(points, reference), rel=1e-9)


def test_volumes_of_many_columns_agree_with_inclusion_and_exclusion() -> None:
    points = np.random.default_rng(1).random((7, 5))
    expected = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            expected -= (-1) ** size * float(np.prod(1.2 - np.max(some, axis=0)))
    assert pareto.hypervolume(points, np.full(5, 1.2)) == pytest.approx(expected)


@pytest.mark.parametrize("points", [np.random.default_rng(0).random((10_000, 3)), None], ids=["random", "all on the front"])
def test_ten_thousand_points_in_three_columns_take_seconds(points: np.ndarray | None) -> None:
    begun = time.process_time()
    front = pareto.Front(np.full(3, 1.1))
    for point in _on_a_sphere(10_000, 3) if points is None else points:
        front.add(point)
    assert time.process_time() - begun < 30, "measured: 5 s at worst"


def test_a_front_refuses_what_is_no_point_of_it() -> None:
    front = pareto.Front([1.0, 1.0])
    for wrong in ([0.5], [0.5, np.nan], [[0.5, 0.5]]):
        with pytest.raises(AssertionError):
            front.add(wrong)
    assert front.volume == 0.0 and front.points.shape == (0, 2)


def test_a_point_dominated_by_one_of_the_same_rounded_sum_is_not_on_the_front() -> None:
    tiny = 1e-20  # too small for the sum to tell
    assert pareto.non_dominated([[1.0, tiny], [1.0, 0.0], [0.0, np.inf]]).tolist() == [False, True, True]
    assert pareto.non_dominated([[-np.inf, np.inf], [np.inf, np.inf]]).tolist() == [True, False]


def _on_a_sphere(count: int, columns: int) -> np.ndarray:
    """Points of which none dominates another."""
    directions = np.abs(np.random.default_rng(2).standard_normal((count, columns)))
    points: np.ndarray = 1 - directions / np.linalg.norm(directions, axis=1)[:, None]
    return points


@given(grids, st.randoms())
@settings(deadline=None)
def test_hypervolume_is_blind_to_order_and_to_dominated_points(points: np.ndarray, random: object) -> None:
    reference = [7.0] * points.shape[1]
    whole = pareto.hypervolume(points, reference)
    assert pareto.hypervolume(points[::-1], reference) == pytest.approx(whole)
    assert pareto.hypervolume(points[pareto.non_dominated(points)], reference) == pytest.approx(whole)


def test_points_outside_the_reference_add_nothing() -> None:
    assert pareto.hypervolume([[1.0, 1.0], [0.0, 9.0]], [2.0, 2.0]) == pytest.approx(1.0)
    assert pareto.hypervolume([[3.0, 3.0]], [2.0, 2.0]) == 0.0
    assert pareto.hypervolume(np.empty((0, 2)), [2.0, 2.0]) == 0.0


@given(grids)
def test_ranks_peel_fronts(points: np.ndarray) -> None:
    rank = pareto.ranks(points)
    assert set(rank.tolist()) == set(range(int(rank.max()) + 1))
    for level in range(int(rank.max()) + 1):
        rest = points[rank >= level]
        assert pareto.non_dominated(rest).tolist() == (rank[rank >= level] == level).tolist()


@given(grids)
@settings(deadline=None)
def test_survivors_go_rank_by_rank_and_begin_with_the_best_first_column(points: np.ndarray) -> None:
    order = pareto.epsilon_net_order(points)
    assert sorted(order.tolist()) == list(range(len(points)))
    assert (np.diff(pareto.ranks(points)[order]) >= 0).all()
    assert points[order[0], 0] == points[pareto.non_dominated(points), 0].min()


@given(grids)
@settings(deadline=None)
def test_the_best_of_each_column_come_first(points: np.ndarray) -> None:
    first = points[pareto.epsilon_net_order(points)[: points.shape[1]]]
    # A point that is best in two columns leaves its place to others, so that the ends are there and no more is promised.
    assert (first.min(axis=0) == points.min(axis=0)).all()


def test_survivors_are_spread_over_the_front() -> None:
    line = np.array([[i, 10 - i] for i in range(11)], dtype=float)
    assert set(pareto.epsilon_net_order(line)[:3].tolist()) == {0, 10, 5}


def test_the_knee_is_on_the_front_and_bends() -> None:
    points = np.array([[0, 10], [1, 1], [10, 0], [5, 5]], dtype=float)
    assert pareto.knee(points) == 1
    with pytest.raises(ValueError, match="no knee"):
        pareto.knee(np.empty((0, 2)))
