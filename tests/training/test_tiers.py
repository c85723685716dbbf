from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas import cost
from autonas.training.tiers import CompileCosts, compiles, pays, remember_compiled, use_shared_caches, was_compiled
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_spec

COSTS = CompileCosts(speed_up=2.0, fresh_s=10.0, cached_s=2.0, flops_per_s=1e9)


@given(training_s=st.floats(0.0, 1e6), speed_up=st.floats(1.0, 10.0), compile_s=st.floats(0.0, 1e3))
def test_compiling_pays_where_both_together_are_shorter(training_s: float, speed_up: float, compile_s: float) -> None:
    gained = training_s - (training_s / speed_up + compile_s)
    if abs(gained) > 1e-6 * (1.0 + training_s):
        assert pays(training_s, speed_up, compile_s) == (gained > 0.0)


def test_a_long_training_is_compiled_and_a_short_one_is_not(make_state: StateMaker) -> None:
    state = make_state()
    tokens_per_s = COSTS.flops_per_s / cost.training_flops_per_token(state.model.spec)
    assert not compiles(state, cached=True, costs=COSTS), "nobody said how long it is to be"
    state.planned_tokens = int(21 * tokens_per_s)
    assert compiles(state, cached=False, costs=COSTS)
    state.planned_tokens = int(19 * tokens_per_s)
    assert not compiles(state, cached=False, costs=COSTS)
    assert compiles(state, cached=True, costs=COSTS)
    state.tokens = int(16 * tokens_per_s)
    assert not compiles(state, cached=True, costs=COSTS), "what is left counts"


def test_what_was_compiled_is_known_by_the_shape_of_a_block(
    make_state: StateMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path))
    assert not was_compiled(make_state())
    remember_compiled(make_state())
    assert was_compiled(make_state(seed=9))
    assert was_compiled(make_state(spec=tiny_spec(layers=5)))
    assert not was_compiled(make_state(spec=tiny_spec(width=32)))
    fewer = make_state()
    fewer.micro_windows = STEP_TOKENS // 64
    assert not was_compiled(fewer)


def test_compilers_keep_their_work_in_the_cache_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    use_shared_caches()
    assert os.environ["TRITON_CACHE_DIR"] == "/somewhere"
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor")
