from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas import cost
from autonas.errors import RequestError
from autonas.model.blocks import Block
from autonas.training.loop import train
from autonas.training.paths import choose_step
from autonas.training.state import TrainState
from autonas.training.steps import EagerStep
from autonas.training.tiers import CompileCosts, compiles, pays, remember_compiled, use_shared_caches, was_compiled
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_spec


@pytest.fixture(autouse=True)
def as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTONAS_COMPILE", raising=False)


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


def test_with_dropout_blocks_are_compiled_twice_and_have_to_pay_for_both(make_state: StateMaker) -> None:
    state = make_state(spec=tiny_spec(residual_dropout=0.1))
    tokens_per_s = COSTS.flops_per_s / cost.training_flops_per_token(state.model.spec)
    state.planned_tokens = int(39 * tokens_per_s)
    assert not compiles(state, cached=False, costs=COSTS)
    state.planned_tokens = int(41 * tokens_per_s)
    assert compiles(state, cached=False, costs=COSTS)


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize(
    ("taken", "path"),
    [
        ([], None),
        (["native float32"], None),  # on a processor
        (["graph"], "graph"),
        (["graph+compile"], "graph+compile"),
        (["graph+compile", "graph"], "graph"),
        (["graph without triton"], "graph without triton"),
        (["graph", "graph+nondeterministic"], "graph+nondeterministic"),
        (["graph", "eager"], "eager"),
    ],
)
def test_a_training_that_goes_on_takes_the_way_that_it_took(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken: list[str], path: str | None, pays: bool
) -> None:
    for name in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(TrainState, "device", property(lambda state: torch.device("cuda")))
    monkeypatch.setattr("autonas.training.paths.compiles", lambda state, cached: pays)
    monkeypatch.setattr("autonas.training.paths.was_compiled", lambda state: False)
    state = make_state()
    state.paths.update(taken)
    assert choose_step(state).path == (path or ("graph+compile" if pays else "graph"))
    assert bool(state.slower_because) == (path not in (None, "graph", "graph+compile", "graph without triton"))


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


def test_what_the_environment_says_of_compiling_holds(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state()
    state.planned_tokens = 10**15
    assert compiles(state, cached=True)
    monkeypatch.setenv("AUTONAS_COMPILE", "never")
    assert not compiles(state, cached=True)
    monkeypatch.setenv("AUTONAS_COMPILE", "always")
    state.planned_tokens = None
    assert compiles(state, cached=False)
    monkeypatch.setenv("AUTONAS_COMPILE", "yes")
    with pytest.raises(RequestError, match="AUTONAS_COMPILE is 'yes'; set it to auto, always or never"):
        compiles(state, cached=True)
    with pytest.raises(RequestError, match="AUTONAS_COMPILE"):
        choose_step(state)


def test_a_processor_whose_compiling_failed_goes_on_as_it_came_down_and_keeps_the_reason(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, **named: Any) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setenv("AUTONAS_COMPILE", "always")
    monkeypatch.setattr(Block, "compile", refuse)
    state = make_state()
    with pytest.warns(RuntimeWarning, match="no compiled blocks: RuntimeError: no C"):
        list(train(state, until_tokens=2 * STEP_TOKENS))
    state.step = None
    list(train(state, until_tokens=4 * STEP_TOKENS))
    assert set(state.paths) == {"program"} and "no C++ compiler" in state.slower_because


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_processor_compiles_where_it_is_asked_to_and_learns_the_same(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    spec = tiny_spec(residual_dropout=dropout)
    plain = make_state(spec=spec)
    plain.step = EagerStep()
    expected = [found.loss for found in train(plain, until_tokens=20 * STEP_TOKENS)]
    state = make_state(spec=spec)
    monkeypatch.setenv("AUTONAS_COMPILE", "always")
    found = [found.loss for found in train(state, until_tokens=10 * STEP_TOKENS)]
    assert set(state.paths) == {"program+compile"} and not state.slower_because
    monkeypatch.delenv("AUTONAS_COMPILE")
    state.step = None
    found += [found.loss for found in train(state, until_tokens=20 * STEP_TOKENS)]
    assert set(state.paths) == {"program+compile"}, "it goes on as it began"
    if dropout:  # whose masks a compiler draws in a way of its own
        assert sum(found) == pytest.approx(sum(expected), rel=0.1)
    else:
        assert found == pytest.approx(expected, rel=1e-3)
