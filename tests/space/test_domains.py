from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.space.domains import Choice, Domain, Fixed, Float, Int


@st.composite
def ints(draw: st.DrawFn) -> Int:
    low, steps, step = draw(st.integers(1, 50)), draw(st.integers(0, 60)), draw(st.integers(1, 5))
    log = step == 1 and draw(st.booleans())
    return Int(low=low, high=low + steps * step, step=step, log=log)


floats = st.builds(
    lambda low, width, log: Float(low=low, high=low + width, log=log), st.floats(0.001, 10), st.floats(0.001, 10), st.booleans()
)
choices = st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["heads", "gelu"])), min_size=1, max_size=5, unique=True).map(
    lambda options: Choice(options=tuple(options))
)
domains: st.SearchStrategy[Domain] = st.one_of(ints(), floats, choices, st.builds(Fixed, value=st.integers(1, 9)))


@given(domains, st.integers(0, 2**32 - 1))
def test_draws_lie_in_the_domain_and_are_plain_python(domain: Domain, seed: int) -> None:
    value = domain.draw(np.random.default_rng(seed))
    assert domain.contains(value)
    assert type(value) in (bool, int, float, str)
    assert domain.convert(value) == value


@given(domains)
def test_values_lie_in_the_domain_and_are_all_of_a_small_one(domain: Domain) -> None:
    values = domain.values(1000)
    assert all(map(domain.contains, values))
    assert domain.size is None or len(set(values)) == domain.size


@given(ints(), st.integers(2, 20))
def test_few_values_of_a_wide_range_keep_its_ends(domain: Int, most: int) -> None:
    values = domain.values(most)
    assert len(values) <= max(most, 1) or domain.size <= most
    assert (values[0], values[-1]) == (domain.low, domain.high)


@given(domains, st.integers(0, 2**32 - 1))
def test_distance_is_a_normalised_metric(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (domain.draw(rng) for _ in range(3))
    assert domain.distance(a, a) == 0.0
    assert 0.0 <= domain.distance(a, b) <= 1.0
    assert (domain.distance(a, b) > 0.0) == (a != b)
    assert domain.distance(a, b) == domain.distance(b, a)
    assert domain.distance(a, c) <= domain.distance(a, b) + domain.distance(b, c) + 1e-12


@given(domains, st.integers(0, 2**32 - 1))
def test_neighbours_are_other_values_of_the_domain(domain: Domain, seed: int) -> None:
    value = domain.draw(np.random.default_rng(seed))
    near = domain.neighbours(value)
    assert value not in near
    assert all(map(domain.contains, near))


@given(domains, st.one_of(st.integers(-100, 1000), st.floats(allow_nan=True), st.text(max_size=3), st.booleans()))
def test_clipping_gives_a_value_of_the_domain_and_keeps_those_that_are(domain: Domain, value: int | float | str | bool) -> None:
    clipped = domain.clip(value)
    assert domain.contains(clipped)
    if domain.contains(value):
        assert clipped == value


@given(domains, st.integers(0, 2**32 - 1))
def test_outwards_yields_each_value_once_from_the_start_on(domain: Domain, seed: int) -> None:
    start = domain.draw(np.random.default_rng(seed))
    values = list(domain.outwards(start))
    assert values[0] == start
    assert len(set(values)) == len(values)
    assert all(map(domain.contains, values))
    assert domain.size is None or len(values) == domain.size
    distances = [domain.distance(start, value) for value in values]
    assert distances == sorted(distances) or getattr(domain, "log", False)


def test_true_is_not_one() -> None:
    assert not Choice(options=(1, 2)).contains(True)
    assert not Int(low=0, high=3).contains(True)
    assert not Choice(options=(True, False)).contains(1)
    assert Choice(options=(2.0, 2.5)).contains(2)


def test_a_logarithmic_range_draws_small_values_as_often_as_large_ones() -> None:
    rng = np.random.default_rng(0)
    draws = [Int(low=1, high=1024, log=True).draw(rng) for _ in range(2000)]
    assert 0.4 < np.mean([draw <= 32 for draw in draws]) < 0.6


def test_wrong_domains_cannot_be_built() -> None:
    with pytest.raises(AssertionError):
        Int(low=3, high=2)
    with pytest.raises(AssertionError):
        Int(low=1, high=4, step=2)
    with pytest.raises(AssertionError):
        Choice(options=(1, 1))
