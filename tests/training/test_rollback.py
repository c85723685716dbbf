"""Back to the last good state: when, to which, how often, and that nothing else changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas.errors import TrialFailure
from autonas.training import loop, rollback
from autonas.training.checkpoint import load, save
from autonas.training.loop import Progress, train
from autonas.training.rollback import KEEP_STEPS, settle
from autonas.training.seal import read_sealed, write_sealed
from autonas.training.snapshot import Kept, take
from autonas.training.state import TrainState, fork_cooldown
from tests.training.conftest import STEP_TOKENS, StateMaker, tiny_settings, tiny_spec
from tests.training.faults import PATHS, Faulty, kick, spoil, step_by
from tests.training.test_loop import assert_same, losses

WILD = tiny_settings(learning_rate=0.4, warmup_tokens=100 * STEP_TOKENS)  # goes back twice in 300 steps


def at(step: int) -> int:
    return step * STEP_TOKENS


def kicked(state: TrainState, step: int = 150, path: str = "eager") -> TrainState:
    state.step = Faulty(step_by(path), kick, at(step))
    return state


@pytest.mark.parametrize("path", PATHS)
def test_a_training_that_goes_back_is_one_that_went_on_from_there_at_half_the_rate(make_state: StateMaker, path: str) -> None:
    state, plain = kicked(make_state(), path=path), make_state()
    plain.step = step_by(path)
    progress = list(train(state, until_tokens=at(220)))
    (back,) = state.rollbacks
    assert (back.kind, back.factor) == ("diverged", 0.5)
    assert at(150) < back.at_tokens <= at(150 + 32)
    assert back.to_tokens == at(64), "the copy at 128 had not proved good yet"
    expected = losses(plain, back.to_tokens)
    plain.schedule = plain.schedule.lower(0.5)
    expected += losses(plain, at(220))
    assert_same(state, plain)
    again = [one.loss for one in progress if one.tokens > back.to_tokens][-len(expected) + 64 :]
    assert again == expected[64:]
    assert progress[-1].learning_rate == pytest.approx(0.5 * progress[100].learning_rate)
    assert sum(state.paths.values()) == 220 + (back.at_tokens - back.to_tokens) // STEP_TOKENS


@pytest.mark.slow
def test_a_kicked_training_ends_as_low_as_one_that_was_not(make_state: StateMaker) -> None:
    curves = [losses(state, at(400)) for state in (kicked(make_state()), make_state())]
    kicked_end, plain_end = (sum(curve[-40:]) / 40 for curve in curves)
    assert kicked_end < plain_end + 0.1


def test_it_says_so(make_state: StateMaker) -> None:
    state = kicked(make_state())
    losses(state, at(200))
    text = state.checks()["rollbacks"]
    assert text.startswith("1: the loss ")
    assert text.endswith("back to 4,096 tokens, learning rate × 0.5")
    (note,) = state.findings()
    assert (note.check, note.severity) == ("rollback", "note")
    assert text in note.text
    quiet = make_state()
    losses(quiet, at(200))
    assert not quiet.findings()
    assert "rollbacks" not in quiet.checks()


@pytest.mark.parametrize(("step", "good"), [(10, 0), (70, 0), (130, 64), (191, 64), (200, 128)])
def test_the_good_state_is_an_interval_older_than_the_newest(make_state: StateMaker, step: int, good: int) -> None:
    state = kicked(make_state(), step)
    losses(state, at(260))
    assert [one.to_tokens for one in state.rollbacks] == [at(good)]


@given(st.lists(st.booleans(), max_size=12))
def test_good_is_what_did_well_and_was_followed_by_what_did_well(make_kept: Callable[[], Any], well: list[bool]) -> None:
    optimizer, kept = make_kept()
    for number, fine in enumerate(well, 1):
        optimizer.flat.weights.fill_(number)
        kept.keep(optimizer, number, {}, well=fine)
    proved = [n for n in range(1, len(well)) if well[n - 1] and well[n]]
    expected = proved[-1] if proved else 0
    optimizer.flat.weights.fill_(-1.0)
    assert kept.put_back(optimizer).tokens == expected
    assert optimizer.flat.weights.unique().tolist() == [expected]


@pytest.fixture(scope="module")
def make_kept(tokens: Any) -> Callable[[], Any]:
    from autonas.data.batches import Windows
    from autonas.model.transformer import build_model
    from autonas.training.state import new_state

    state = new_state(build_model(tiny_spec(), 0), Windows(tokens, 16, 0), tiny_settings(), seed=0)

    def make() -> Any:
        state.optimizer.flat.weights.fill_(0.0)
        return state.optimizer, Kept(take(state.optimizer, 0, {}))

    return make


def test_a_real_divergence_comes_back_by_itself(make_state: StateMaker) -> None:
    """At a rate two hundred times too high; a fourth of it can be lived with."""
    state = make_state(settings=WILD)
    curve = losses(state, at(300))
    assert [one.factor for one in state.rollbacks] == [0.5, 0.25]
    assert sum(curve[-20:]) / 20 < math.log(64) - 1.0
    assert state.tokens == at(300)


@pytest.mark.parametrize("rollbacks", [0, 1, 2])
def test_there_is_an_end_to_going_back(make_state: StateMaker, rollbacks: int) -> None:
    state = make_state(settings=tiny_settings(learning_rate=300.0, rollbacks=rollbacks))
    with pytest.raises(TrialFailure) as caught:
        losses(state, at(300))
    assert len(state.rollbacks) == rollbacks
    assert caught.value.kind in ("diverged", "nan")
    assert str(caught.value).endswith("a lower learning rate may help")
    assert str(caught.value).count("learning rate ×") == rollbacks
    assert (state.kept is None) == (rollbacks == 0)


@pytest.mark.slow
@pytest.mark.parametrize("make", ["kick", "wild"])
@pytest.mark.parametrize("every", [7, 61])
def test_resumed_anywhere_it_goes_back_to_the_same_state(make_state: StateMaker, tmp_path: Path, make: str, every: int) -> None:
    def begin() -> TrainState:
        return kicked(make_state()) if make == "kick" else make_state(settings=WILD)

    whole, state = begin(), begin()
    expected = losses(whole, at(300))
    assert whole.rollbacks
    curve: list[float] = []
    while state.tokens < at(300):
        for progress in train(state, until_tokens=at(300)):
            curve.append(progress.loss)
            if len(curve) % every == 0:
                break
        save(tmp_path / "file", state)
        state = begin()  # as a new process would
        load(tmp_path / "file", state)
    assert curve == expected
    assert_same(state, whole)
    assert state.rollbacks == whole.rollbacks
    assert state.watch.state() == whole.watch.state()
    assert state.paths == whole.paths


def test_it_is_the_same_where_losses_are_read_late(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator: steps behind the bad one have been taken before anybody looks."""
    at_once, late = kicked(make_state()), kicked(make_state())
    losses(at_once, at(300))
    monkeypatch.setitem(loop.STEPS_PER_READ, "cpu", 16)
    losses(late, at(300))
    assert_same(late, at_once)
    assert late.rollbacks == at_once.rollbacks
    assert late.paths == at_once.paths
    assert late.watch.state() == at_once.watch.state()


def test_asked_to_stop_while_it_goes_back_it_stops_and_can_go_on(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loop.STEPS_PER_READ, "cpu", 16)
    whole, stopped = kicked(make_state()), kicked(make_state())
    losses(whole, at(240))
    failing = whole.rollbacks[0].at_tokens
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += stopped.tokens >= failing
        return asked == 1

    with pytest.raises(TrialFailure, match="asked to stop"):
        list(train(stopped, until_tokens=at(240), stop=stop))
    losses(stopped, at(240))
    assert_same(stopped, whole)


def test_a_fork_goes_back_to_its_beginning_and_no_further(make_state: StateMaker) -> None:
    trunk = make_state()
    losses(trunk, at(100))
    fork = fork_cooldown(trunk, at(60))
    begun = [weight.clone() for weight in fork.model.parameters()]
    fork.step = Faulty(step_by("eager"), kick, at(110))
    seen: list[Progress] = list(train(fork))
    (back,) = fork.rollbacks
    assert back.to_tokens == at(100) == trunk.tokens
    assert all(torch.equal(one, other) for one, other in zip(begun, trunk.model.parameters(), strict=True))
    assert fork.tokens == at(160)
    assert seen[-1].loss < seen[5].loss + 1.0
    assert not trunk.rollbacks
    assert fork.findings()[-1].check == "rollback"


def test_a_passing_nan_is_gone_at_the_second_try(make_state: StateMaker) -> None:
    state = make_state()
    state.step = Faulty(step_by("eager"), spoil("blocks.0.attention.out.weight"), at(90))
    losses(state, at(200))
    (back,) = state.rollbacks
    assert (back.kind, back.to_tokens) == ("nan", 0)
    assert all(bool(torch.isfinite(weight).all()) for weight in state.model.parameters())


def test_a_good_state_that_is_none_is_not_gone_back_to(make_state: StateMaker) -> None:
    state = make_state()
    with torch.no_grad():
        state.model.embedding.weight.fill_(math.nan)
    with pytest.raises(TrialFailure, match="the last good state holds such values too") as caught:
        losses(state, at(10))
    assert caught.value.kind == "nan"
    assert not state.rollbacks


def test_where_there_is_no_memory_for_a_copy_training_goes_on_without(
    make_state: StateMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*arguments: object, **options: object) -> None:
        raise MemoryError

    plain, short = make_state(), make_state()
    expected = losses(plain, at(80))
    monkeypatch.setattr(rollback, "take", starve)
    assert losses(short, at(80)) == expected
    assert "no memory for a copy" in short.checks()["rollbacks"]


def test_copies_are_given_up_at_an_end_that_is_good(make_state: StateMaker, tmp_path: Path) -> None:
    sizes = []
    for settled in (False, True):
        state = make_state()
        losses(state, at(150))
        if settled:
            settle(state)
        save(tmp_path / "file", state)
        sizes.append((tmp_path / "file").stat().st_size)
    assert sizes[1] < 0.5 * sizes[0]
    early = make_state()
    losses(early, at(5))
    settle(early)
    assert early.kept is not None, "after five steps nobody knows whether all is well"


def test_a_checkpoint_from_before_there_were_rollbacks_loads(make_state: StateMaker, tmp_path: Path) -> None:
    state = make_state()
    losses(state, at(5))
    save(tmp_path / "file", state)
    about, tensors = read_sealed(tmp_path / "file")
    for name in ("watch", "probes", "rollbacks", "copies"):
        del about[name]
    for name in ("rollbacks", "patience", "min_delta"):
        del about["settings"][name]
    del about["schedule"]["factor"]
    own = {name: value for name, value in tensors.items() if name.startswith(("model.", "optimizer."))}
    write_sealed(tmp_path / "file", own, about)
    resumed = make_state()
    load(tmp_path / "file", resumed)
    assert losses(resumed, at(80)) == losses(state, at(80))
    assert_same(resumed, state)


def test_the_limits_of_a_training_may_change_and_its_rollbacks_not(make_state: StateMaker, tmp_path: Path) -> None:
    from autonas.errors import CheckpointError

    state = make_state()
    losses(state, at(2))
    save(tmp_path / "file", state)
    load(tmp_path / "file", make_state(settings=tiny_settings(time_limit_s=5.0, memory_limit=10**12)))
    with pytest.raises(CheckpointError, match="rollbacks is 2 there and 0 here"):
        load(tmp_path / "file", make_state(settings=tiny_settings(rollbacks=0)))


def test_copies_come_every_so_many_steps(make_state: StateMaker) -> None:
    state = make_state()
    seen = []
    for progress in train(state, until_tokens=at(200)):
        assert state.kept is not None
        if state.kept.recent is not None and state.kept.recent.tokens == progress.tokens:
            seen.append(progress.tokens // STEP_TOKENS)
    assert seen == [KEEP_STEPS, 2 * KEEP_STEPS, 3 * KEEP_STEPS]
