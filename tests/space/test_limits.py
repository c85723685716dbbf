from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.errors import InfeasibleArch
from autonas.space.limits import Limits

LIMITS = Limits(params_min=10, params_max=100, memory_max=1000, latency_max_ms=8.0)
SCORES = st.fixed_dictionaries(
    {},
    optional={
        "params": st.integers(1, 200),
        "memory": st.integers(1, 2000),
        "flops": st.integers(1, 10),
        "latency": st.floats(0.1, 16),
        "val_loss": st.floats(0, 10),
    },
)


@given(SCORES)
def test_screening_and_excess_agree(scores: dict[str, float]) -> None:
    if LIMITS.excess(scores) == 0:
        LIMITS.screen(scores)
        return
    with pytest.raises(InfeasibleArch) as caught:
        LIMITS.screen(scores)
    assert caught.value.rule in str(caught.value)


def test_bounds_are_included() -> None:
    LIMITS.screen({"params": 10, "latency": 8.0})
    LIMITS.screen({"params": 100})
    with pytest.raises(InfeasibleArch, match=r"latency is 8.1, above limits\.latency\.max = 8"):
        LIMITS.screen({"latency": 8.1})
    with pytest.raises(InfeasibleArch, match=r"params is 9, below limits\.params\.min = 10"):
        LIMITS.screen({"params": 9})


def test_only_bounded_arithmetic_needs_a_price() -> None:
    assert LIMITS.arithmetic == ("params", "memory")
    assert Limits(latency_max_ms=1.0).arithmetic == ()
