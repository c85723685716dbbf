"""NaN and infinity planted in every kind of place: the message names it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from autonas.errors import TrialFailure
from autonas.training.loop import train
from autonas.training.nonfinite import first_nonfinite
from autonas.training.state import TrainState
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.faults import PATHS, Faulty, Plant, spoil, step_by

AT = 20 * STEP_TOKENS


def message(state: TrainState) -> str:
    """What the failure says of a training that may not go back."""
    with pytest.raises(TrialFailure) as caught:
        list(train(state, until_tokens=2 * AT))
    assert caught.value.kind == "nan"
    assert f"after {AT + STEP_TOKENS:,} tokens" in str(caught.value)
    return str(caught.value)


def training(make_state: StateMaker, path: str, plant: Plant, *, tied: bool = True, rollbacks: int = 0) -> TrainState:
    state = make_state(spec=tiny_spec(tied_embeddings=tied), settings=tiny_settings(rollbacks=rollbacks))
    state.step = Faulty(step_by(path), plant, AT, always=True)
    return state


def overflow(name: str) -> Plant:
    def plant(state: TrainState) -> None:
        dict(state.model.named_parameters())[name].fill_(3e38)

    return plant


def used_row(state: TrainState) -> None:
    """In the embedding of a token that the next step reads."""
    first = (state.tokens + state.step_tokens) // state.model.spec.context_length
    token = int(state.windows.take(first, 1)[0, 0])
    state.model.embedding.weight[token, 2] = math.inf


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("path", ["eager", "native"])
@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (
            spoil("blocks.1.feed_forward.down.weight"),
            r"the output of blocks\.1\.feed_forward\.down \(\d+ of 1,024 values\), from finite inputs, in the step from 1,280 "
            r"tokens; weights already non-finite: blocks\.1\.feed_forward\.down\.weight \(1 of 512 values\)",
        ),
        (spoil("blocks.0.attention.qkv.weight", math.inf), r"the output of blocks\.0\.attention\.qkv \(.*qkv\.weight \(1 of"),
        (
            overflow("blocks.0.attention_norm.weight"),
            r"the output of blocks\.0\.attention_norm \(.*\), from finite inputs.*already non-finite: none",
        ),
        (used_row, r"the output of embedding \(.*already non-finite: embedding\.weight \(1 of 1,024 values\)"),
    ],
)
def test_a_weight_or_an_overflow_is_named(make_state: StateMaker, path: str, tied: bool, plant: Plant, words: str) -> None:
    assert re.search(f"the first non-finite values are in {words}", message(training(make_state, path, plant, tied=tied)))


@pytest.mark.parametrize("path", PATHS)
def test_so_it_is_when_the_update_has_spoilt_all_weights(make_state: StateMaker, path: str) -> None:
    """As on an accelerator; the steps since the last good state are taken again."""
    state = training(make_state, path, spoil("blocks.0.feed_forward.up.weight"), rollbacks=1)
    with pytest.raises(TrialFailure, match="rolled back before: 1: the loss is nan") as caught:
        list(train(state, until_tokens=2 * AT))
    assert str(caught.value).count("weights already non-finite: blocks.0.feed_forward.up.weight (1 of 512 values)") == 2
    assert str(caught.value).count("the output of blocks.0.feed_forward.up ") == 2


def test_moments_are_named(make_state: StateMaker) -> None:
    def plant(state: TrainState) -> None:
        (weights,) = next(group for group in state.optimizer.param_groups if group["role"] == "hidden")["params"]
        state.optimizer.state[weights]["exp_avg"][0] = math.nan

    state = training(make_state, "eager", plant)
    with pytest.raises(TrialFailure) as caught:
        list(train(state, until_tokens=2 * AT))
    assert re.search(r"moments already non-finite: blocks\.0\.\S+\.exp_avg \(1 of", str(caught.value))
    assert re.search(r"weights already non-finite: blocks\.0\.", str(caught.value))


def _when(state: TrainState, change: Any) -> Any:
    """`change` of a value in the step behind `AT`, and none before."""
    return lambda value: change(value) if state.tokens >= AT else value


def _one_bad(value: Tensor) -> Tensor:
    changed = value.clone()
    changed.view(-1)[3] = math.nan
    return changed


@pytest.mark.parametrize("tied", [True, False])
def test_an_activation_is_named(make_state: StateMaker, tied: bool) -> None:
    state = training(make_state, "eager", lambda state: None, tied=tied)
    change = _when(state, _one_bad)
    state.model.get_submodule("blocks.1.attention.out").register_forward_hook(lambda module, inputs, output: change(output))
    found = message(state)
    assert "the output of blocks.1.attention.out (1 of 1,024 values), from finite inputs" in found
    assert "weights already non-finite: none" in found


@pytest.mark.parametrize("name", ["blocks.0.attention.out.weight", "embedding.weight", "final_norm.weight"])
def test_a_gradient_is_named(make_state: StateMaker, name: str) -> None:
    state = training(make_state, "eager", lambda state: None)
    dict(state.model.named_parameters())[name].register_hook(_when(state, _one_bad))  # type: ignore[no-untyped-call]
    found = message(state)
    assert f"the gradient norm is nan after {AT + STEP_TOKENS:,} tokens" in found
    assert f"the first non-finite values are in the gradient of {name} (1 of" in found


def test_a_gradient_on_its_way_is_named_where_it_began(make_state: StateMaker) -> None:
    state = training(make_state, "eager", lambda state: None)
    change = _when(state, lambda gradient: gradient * math.inf)

    def watch(module: object, inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(change)  # type: ignore[no-untyped-call]

    state.model.get_submodule("blocks.1.feed_forward.up").register_forward_hook(watch)
    assert "in the gradient of the output of blocks.1.feed_forward.up (" in message(state)


def test_what_only_the_fast_path_does_is_said_to_be_its_own(make_state: StateMaker) -> None:
    class Broken(Faulty):
        def __call__(self, state: TrainState) -> Tensor:
            measured = super().__call__(state)
            return measured * math.nan if state.tokens >= AT else measured

    state = training(make_state, "native", lambda state: None)
    state.step = Broken(step_by("native"), lambda state: None)
    assert "it is of the path 'native float32'" in message(state)


def test_what_does_not_come_again_is_said_to_be_passing(make_state: StateMaker) -> None:
    class Once(Faulty):
        left = 1

        def __call__(self, state: TrainState) -> Tensor:
            measured = super().__call__(state)
            if state.tokens == AT and self.left:
                self.left = 0
                return measured * math.nan
            return measured

    state = make_state()
    state.step = Once(step_by("eager"), lambda state: None)
    list(train(state, until_tokens=2 * AT))
    (back,) = state.rollbacks
    assert "a passing fault, of memory or of the device" in back.reason


def test_nothing_is_found_where_all_is_finite_and_nothing_changed(make_state: StateMaker) -> None:
    state = make_state(spec=tiny_spec(residual_dropout=0.2, label_smoothing=0.1))
    list(train(state, until_tokens=5 * STEP_TOKENS))
    before, random = state.optimizer.flat.weights.clone(), torch.get_rng_state()
    assert first_nonfinite(state) == ""
    assert torch.equal(state.optimizer.flat.weights, before)
    assert torch.equal(torch.get_rng_state(), random)
    assert not state.optimizer.flat.gradients.any()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in state.model.modules())
