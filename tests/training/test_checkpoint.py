from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonas.errors import CheckpointError, TrialFailure
from autonas.training.checkpoint import load, load_model, save, save_model
from autonas.training.loop import train
from autonas.training.seal import read_sealed, write_sealed
from autonas.training.state import fork_cooldown
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.test_loop import assert_same, losses

DROPPING = tiny_spec(attention_dropout=0.1, residual_dropout=0.2, label_smoothing=0.1)
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(stops=st.lists(st.integers(0, 9), max_size=3).map(sorted), dropping=st.booleans(), tied=st.booleans())
@quick
def test_a_resumed_training_is_bitwise_the_one_that_never_stopped(
    make_state: StateMaker, tmp_path_factory: pytest.TempPathFactory, stops: list[int], dropping: bool, tied: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "resumed.safetensors"
    drop = 0.2 if dropping else 0.0
    spec = tiny_spec(tied_embeddings=tied, attention_dropout=drop, residual_dropout=drop, position="learned", norm="layernorm")
    plain, state = make_state(spec=spec), make_state(spec=spec)
    expected = losses(plain, 10 * STEP_TOKENS)
    curve: list[float] = []
    for stop in stops:
        curve += losses(state, stop * STEP_TOKENS)
        save(path, state)
        torch.rand(7)
        state = make_state(spec=spec)  # as a new process would
        load(path, state)
    curve += losses(state, 10 * STEP_TOKENS)
    assert curve == expected
    assert_same(state, plain)


def test_a_resumed_fork_goes_on_cooling(make_state: StateMaker, tmp_path: Path) -> None:
    trunk = make_state(spec=DROPPING)
    list(train(trunk, until_tokens=5 * STEP_TOKENS))
    plain, stopped = fork_cooldown(trunk, 6 * STEP_TOKENS), fork_cooldown(trunk, 6 * STEP_TOKENS)
    expected = losses(plain)
    curve = losses(stopped, 8 * STEP_TOKENS)
    save(tmp_path / "fork", stopped)
    resumed = make_state(spec=DROPPING)
    load(tmp_path / "fork", resumed)
    assert curve + losses(resumed) == expected
    assert_same(resumed, plain)


def test_saving_changes_nothing(make_state: StateMaker, tmp_path: Path) -> None:
    plain, saved = make_state(spec=DROPPING), make_state(spec=DROPPING)
    expected = losses(plain, 6 * STEP_TOKENS)
    curve = []
    for progress in train(saved, until_tokens=6 * STEP_TOKENS):
        save(tmp_path / "file", saved)
        curve.append(progress.loss)
    assert curve == expected
    assert_same(saved, plain)


def test_a_training_that_would_diverge_diverges_at_the_same_token_when_resumed(make_state: StateMaker, tmp_path: Path) -> None:
    wild = tiny_settings(learning_rate=300.0, warmup_tokens=20 * STEP_TOKENS)
    whole, part = make_state(settings=wild), make_state(settings=wild)
    with pytest.raises(TrialFailure):
        list(train(whole, until_tokens=10**6))
    list(train(part, until_tokens=whole.tokens // 2))
    save(tmp_path / "file", part)
    resumed = make_state(settings=wild)
    load(tmp_path / "file", resumed)
    with pytest.raises(TrialFailure):
        list(train(resumed, until_tokens=10**6))
    assert resumed.tokens == whole.tokens


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": tiny_spec(layers=3)}, "another architecture: layers is 2 there and 3 here"),
        ({"spec": tiny_spec(residual_dropout=0.1)}, "another architecture: residual_dropout"),
        ({"settings": tiny_settings(learning_rate=0.1)}, "other training settings: learning_rate is 0.002 there and 0.1 here"),
        ({"seed": 2}, "another training: seed is 1 there and 2 here"),
        ({"data_seed": 3}, "another training: data_order"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_changes_nothing(
    make_state: StateMaker, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    first = make_state()
    list(train(first, until_tokens=2 * STEP_TOKENS))
    save(tmp_path / "file", first)
    other, untouched = make_state(**changes), make_state(**changes)
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path / "file", other)
    assert_same(other, untouched)


def test_a_damaged_checkpoint_changes_nothing(make_state: StateMaker, tmp_path: Path) -> None:
    path = tmp_path / "file"
    first = make_state()
    list(train(first, until_tokens=2 * STEP_TOKENS))
    save(path, first)
    data = bytearray(path.read_bytes())
    data[-5] ^= 4  # in the last tensor
    path.write_bytes(data)
    state = make_state()
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, state)
    assert_same(state, make_state())


def test_a_model_alone_is_saved_and_loaded(make_state: StateMaker, tmp_path: Path) -> None:
    for tied in (True, False):
        model = make_state(spec=tiny_spec(tied_embeddings=tied)).model
        save_model(tmp_path / "model", model, {"trial": 7})
        loaded, note = load_model(tmp_path / "model")
        assert (loaded.spec, note) == (model.spec, {"trial": 7})
        inputs = torch.arange(12)[None]
        assert torch.equal(loaded(inputs), model(inputs))


def test_the_model_in_a_training_checkpoint_can_be_loaded_alone(make_state: StateMaker, tmp_path: Path) -> None:
    state = make_state()
    list(train(state, until_tokens=STEP_TOKENS))
    save(tmp_path / "file", state)
    loaded, _ = load_model(tmp_path / "file")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), state.model.parameters(), strict=True))


def test_a_model_alone_cannot_be_continued(make_state: StateMaker, tmp_path: Path) -> None:
    state = make_state()
    save_model(tmp_path / "model", state.model)
    with pytest.raises(CheckpointError, match="holds a model, not a training"):
        load(tmp_path / "model", state)


def test_what_is_loaded_shares_no_memory_with_a_later_step(make_state: StateMaker, tmp_path: Path) -> None:
    first = make_state()
    list(train(first, until_tokens=STEP_TOKENS))
    save(tmp_path / "file", first)
    one, other = make_state(), make_state()
    load(tmp_path / "file", one)
    load(tmp_path / "file", other)
    list(train(one, until_tokens=3 * STEP_TOKENS))
    assert_same(other, first)


def test_a_checkpoint_from_before_a_setting_existed_stands_at_its_default(make_state: StateMaker, tmp_path: Path) -> None:
    state = make_state()
    losses(state, 2 * STEP_TOKENS)
    path = tmp_path / "file"
    save(path, state)
    about, tensors = read_sealed(path)
    older = {name: value for name, value in about["settings"].items() if name != "rate_scaling"}
    write_sealed(path, tensors, {**about, "settings": older})
    resumed = make_state()
    load(path, resumed)
    assert_same(resumed, state)
    with pytest.raises(CheckpointError, match="rate_scaling is 'shape' there and 'none' here"):
        load(path, make_state(settings=tiny_settings(rate_scaling="none")))
