from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.evaluation.coding.passk import best_of_n, mean_over_tasks, pass_at_k, pass_rate


@pytest.mark.parametrize("n", range(1, 8))
def test_it_is_the_share_of_all_choices_of_k_samples_that_hold_a_passing_one(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        choices = list(itertools.combinations(range(n), k))
        held = sum(any(place < c for place in choice) for choice in choices)
        assert pass_at_k(n, c, k) == pytest.approx(held / len(choices), abs=1e-12)


@given(st.integers(1, 400), st.data())
def test_it_is_one_minus_the_ratio_of_binomials_where_these_are_huge(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)  # whole numbers of any size
    assert pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-9)
    assert 0.0 <= pass_at_k(n, c, k) <= 1.0


def test_its_mean_over_samples_is_the_chance_itself() -> None:
    # 5 samples that each pass with 0.3: averaged over all outcomes, pass@2 is 1 − 0.7².
    mean = sum(math.comb(5, c) * 0.3**c * 0.7 ** (5 - c) * pass_at_k(5, c, 2) for c in range(6))
    assert mean == pytest.approx(1 - 0.7**2)
    biased = sum(math.comb(5, c) * 0.3**c * 0.7 ** (5 - c) * (1 - (1 - c / 5) ** 2) for c in range(6))
    assert biased < mean - 0.02


def test_best_of_n_counts_the_chosen_sample_and_neither_the_worst_nor_any() -> None:
    passed = [[False, True, False], [True, True, False], [False, False, False], [True, False, False]]
    assert best_of_n(passed, [1, 2, 0, 0], "a rule").value == 2 / 4
    assert pass_rate(passed, 3).value == 3 / 4, "what a chooser that knows the tests would reach"
    assert pass_rate(passed, 1).value == pytest.approx(4 / 12), "what a chooser that knows nothing reaches"
    worst = [row.index(min(row)) for row in passed]
    assert best_of_n(passed, worst, "the worst").value == 0.0
    assert "a rule" in best_of_n(passed, [1, 2, 0, 0], "a rule").note


def test_none_of_twenty_is_not_known_to_be_none() -> None:
    none = pass_rate([[False] * 10] * 20, 1)
    assert (none.value, none.low) == (0.0, 0.0) and none.high == pytest.approx(0.161, abs=0.001)
    every = pass_rate([[True] * 10] * 20, 5)
    assert (every.value, every.high) == (1.0, 1.0) and every.low == pytest.approx(0.839, abs=0.001)
    assert pass_rate([[True, False]], 1).value == 0.5, "one task"


def test_more_samples_of_the_same_tasks_do_not_narrow_an_interval() -> None:
    few = pass_rate([[True] * 2] * 5 + [[False] * 2] * 15, 1)
    many = pass_rate([[True] * 200] * 5 + [[False] * 200] * 15, 1)
    assert (few.low, few.high) == (many.low, many.high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_holds_its_mean_and_lies_between_none_and_all(each: list[float]) -> None:
    score = mean_over_tasks(np.array(each), "of anything")
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert mean_over_tasks(np.array(each), "of anything") == score


@pytest.mark.parametrize(
    ("tasks", "a", "b"), [(20, 0.1, 1.9), (20, 0.3, 0.7), (20, 3.0, 0.3), (40, 0.05, 0.95), (164, 0.5, 9.5)]
)
def test_the_interval_covers_nine_times_in_ten(tasks: int, a: float, b: float) -> None:
    generator = np.random.default_rng(0)
    covered, repeats = 0, 250
    for _ in range(repeats):
        each = generator.binomial(10, generator.beta(a, b, tasks)) / 10
        score = mean_over_tasks(each, "of a simulation")
        covered += score.low <= a / (a + b) <= score.high
    assert covered / repeats >= 0.89
