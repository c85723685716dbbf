from __future__ import annotations

import math
import time
from itertools import islice, pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonas.errors import DeviceError, RecipeError, TrialFailure
from autonas.model.formats import has_bfloat16
from autonas.training import loop
from autonas.training.loop import Progress, train
from autonas.training.optimizers import moments
from autonas.training.state import TrainState, fork_cooldown
from tests.training.conftest import CONTEXT, STEP_TOKENS, StateMaker, tiny_settings, tiny_spec

DROPPING = tiny_spec(attention_dropout=0.1, residual_dropout=0.2, label_smoothing=0.1)
# make_state has no state of its own that an example could leave behind
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def losses(state: TrainState, until_tokens: int | None = None) -> list[float]:
    return [progress.loss for progress in train(state, until_tokens=until_tokens)]


def assert_same(one: TrainState, other: TrainState) -> None:
    """Bitwise: weights, moments, counts."""
    assert one.tokens == other.tokens
    assert one.guard.state() == other.guard.state()
    weights = zip(one.model.named_parameters(), other.model.named_parameters(), strict=True)
    for (name, weight), (_, same) in weights:
        assert torch.equal(weight, same), name
    pairs = zip(moments(one.optimizer), moments(other.optimizer), strict=True)
    for (name, value), (twin_name, twin) in pairs:
        assert name == twin_name
        assert torch.equal(value, twin), name


def test_training_learns(make_state: StateMaker) -> None:
    curve = losses(make_state(), 80 * STEP_TOKENS)
    assert curve[0] == pytest.approx(math.log(64), abs=0.1)
    assert sum(curve[-10:]) / 10 < curve[0] - 1.0


def test_the_first_loss_is_the_cross_entropy_of_the_first_windows(make_state: StateMaker) -> None:
    for smoothing in (0.0, 0.2):
        state = make_state(spec=tiny_spec(label_smoothing=smoothing))
        batch = torch.from_numpy(state.windows.take(0, 4))
        with torch.no_grad():
            logits = state.model(batch[:, :-1])
            expected = F.cross_entropy(logits.reshape(-1, 64), batch[:, 1:].reshape(-1), label_smoothing=smoothing)
        assert losses(state, 1) == [pytest.approx(expected.item(), abs=1e-6)]


@given(st.integers(1, 6 * STEP_TOKENS))
@quick
def test_a_target_is_reached_by_whole_steps(make_state: StateMaker, until: int) -> None:
    state = make_state()
    progress = list(train(state, until_tokens=until))
    assert [p.tokens for p in progress] == [STEP_TOKENS * (n + 1) for n in range(len(progress))]
    assert until <= state.tokens < until + STEP_TOKENS
    assert state.tokens == state.whole_steps(until)
    assert list(train(state, until_tokens=until)) == []


def test_a_batch_is_rounded_down_to_whole_windows(make_state: StateMaker) -> None:
    state = make_state(settings=tiny_settings(batch_tokens=3 * CONTEXT + 5))
    assert state.step_tokens == 3 * CONTEXT


def test_what_the_spec_names_replaces_the_settings(make_state: StateMaker) -> None:
    state = make_state(spec=tiny_spec(batch_tokens=2 * CONTEXT, learning_rate=0.5, weight_decay=0.25))
    assert (state.step_tokens, state.settings.learning_rate, state.settings.weight_decay) == (2 * CONTEXT, 0.5, 0.25)


def test_a_batch_below_one_window_is_refused(make_state: StateMaker) -> None:
    with pytest.raises(RecipeError, match="batch_tokens is 15, less than one window of context_length 16"):
        make_state(settings=tiny_settings(batch_tokens=15))


@pytest.mark.parametrize("spec", [tiny_spec(), DROPPING])
def test_the_same_seed_gives_the_same_training_whatever_else_draws(make_state: StateMaker, spec: object) -> None:
    one, other = make_state(spec=spec), make_state(spec=spec)
    torch.manual_seed(5)
    quiet = losses(one, 8 * STEP_TOKENS)
    torch.manual_seed(77)
    noisy = []
    for progress in train(other, until_tokens=8 * STEP_TOKENS):
        torch.rand(13)
        other.model.eval()  # as an evaluation between two steps would
        noisy.append(progress.loss)
    assert quiet == noisy
    assert_same(one, other)


def test_the_seed_of_dropout_matters_and_the_global_state_is_left_alone(make_state: StateMaker) -> None:
    one, other = make_state(spec=DROPPING), make_state(spec=DROPPING)
    other.seed = 2
    before = torch.get_rng_state()
    assert losses(one, STEP_TOKENS) != losses(other, STEP_TOKENS)
    assert torch.equal(before, torch.get_rng_state())


@given(stop=st.integers(1, 9), cooldown=st.integers(1, 4 * STEP_TOKENS), dropping=st.booleans())
@quick
def test_a_trunk_that_was_forked_goes_on_as_if_it_never_was(
    make_state: StateMaker, stop: int, cooldown: int, dropping: bool
) -> None:
    spec = DROPPING if dropping else tiny_spec()
    plain, forked = make_state(spec=spec), make_state(spec=spec)
    expected = losses(plain, 10 * STEP_TOKENS)
    curve = losses(forked, stop * STEP_TOKENS)
    fork = fork_cooldown(forked, cooldown)
    list(train(fork))
    assert fork.tokens == forked.tokens + forked.whole_steps(cooldown)
    curve += losses(forked, 10 * STEP_TOKENS)
    assert curve == expected
    assert_same(forked, plain)


def test_a_fork_differs_from_its_trunk_by_the_rate_alone(make_state: StateMaker) -> None:
    """With a cooldown so long that the rate hardly falls, the fork goes the trunk's way, windows and dropout included."""
    trunk = make_state(spec=DROPPING, settings=tiny_settings(final_rate_share=1.0))
    list(train(trunk, until_tokens=6 * STEP_TOKENS))
    fork = fork_cooldown(trunk, 3 * STEP_TOKENS)
    assert losses(fork) == losses(trunk, 9 * STEP_TOKENS)
    assert_same(fork, trunk)


def test_a_cooldown_ends_at_a_low_rate_and_helps(make_state: StateMaker) -> None:
    state = make_state(settings=tiny_settings(learning_rate=8e-3))
    list(train(state, until_tokens=60 * STEP_TOKENS))
    fork = fork_cooldown(state, 20 * STEP_TOKENS)
    cooled = list(train(fork))
    assert cooled[-1].learning_rate == pytest.approx(cooled[0].learning_rate / 39)  # middles of 20 steps: 39/40 … 1/40
    hot = losses(state, 80 * STEP_TOKENS)
    assert sum(p.loss for p in cooled[-10:]) < sum(hot[-10:])


def test_a_cosine_ends_by_itself(make_state: StateMaker) -> None:
    state = make_state(settings=tiny_settings(schedule="cosine"), total_tokens=20 * STEP_TOKENS)
    rates = [progress.learning_rate for progress in train(state)]
    assert len(rates) == 20
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))


@pytest.mark.parametrize("micro_windows", [1, 3, 4, 9])
def test_micro_batches_give_the_same_gradients(make_state: StateMaker, micro_windows: int) -> None:
    whole, parts = make_state(), make_state()
    expected = list(train(whole, until_tokens=3 * STEP_TOKENS))
    found = list(train(parts, until_tokens=3 * STEP_TOKENS, micro_windows=micro_windows))
    for one, other in zip(expected, found, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)


def test_gradients_are_clipped_but_reported_as_they_were(make_state: StateMaker) -> None:
    loose, tight = make_state(), make_state(settings=tiny_settings(clip_norm=1e-3))
    norms = [next(train(state, until_tokens=1)).gradient_norm for state in (loose, tight)]
    assert norms[0] == norms[1] > 1e-3
    first = dict(moments(tight.optimizer))
    clipped = sum(value.square().sum().item() for name, value in first.items() if name.endswith(".exp_avg"))
    assert math.sqrt(clipped) / (1.0 - tight.settings.beta1) == pytest.approx(1e-3, rel=1e-3)


def test_a_stop_preempts_between_two_steps_and_can_be_continued(make_state: StateMaker) -> None:
    plain, stopped = make_state(spec=DROPPING), make_state(spec=DROPPING)
    expected = losses(plain, 6 * STEP_TOKENS)
    asked = iter([False, False, False, True])
    curve: list[float] = []
    with pytest.raises(TrialFailure) as caught:
        curve.extend(p.loss for p in train(stopped, until_tokens=6 * STEP_TOKENS, stop=lambda: next(asked)))
    assert caught.value.kind == "preempted"
    assert stopped.tokens == 3 * STEP_TOKENS
    assert losses(stopped, 6 * STEP_TOKENS) == expected[3:]
    assert_same(stopped, plain)


def test_a_deadline_is_a_timeout(make_state: StateMaker) -> None:
    state = make_state()
    with pytest.raises(TrialFailure) as caught:
        list(train(state, until_tokens=10**9, deadline=time.monotonic() - 1.0))
    assert (caught.value.kind, state.tokens) == ("timeout", 0)


def test_what_the_clock_leaves_out_is_neither_in_the_speed_nor_in_the_limit(make_state: StateMaker) -> None:
    """Standing still in `stop`, as where somebody has the device alone."""
    stood = 0.0

    def stand_still() -> bool:
        nonlocal stood
        stood += 1000.0
        return False

    def clock() -> float:
        return time.monotonic() - stood

    state = make_state()
    seen = list(train(state, until_tokens=3 * STEP_TOKENS, stop=stand_still, deadline=clock() + 500.0, clock=clock))
    assert stood == 3000.0
    assert all(progress.tokens_per_s > STEP_TOKENS / 500 for progress in seen)
    assert [progress.loss for progress in seen] == losses(make_state(), 3 * STEP_TOKENS)


def test_a_weight_that_is_no_number_ends_the_training(make_state: StateMaker) -> None:
    state = make_state()
    with torch.no_grad():
        state.model.embedding.weight[5, 3] = math.nan
    with pytest.raises(TrialFailure) as caught:
        list(train(state, until_tokens=10 * STEP_TOKENS))
    assert caught.value.kind == "nan"


def test_a_rate_out_of_all_proportion_diverges(make_state: StateMaker) -> None:
    with pytest.raises(TrialFailure) as caught:
        list(train(make_state(settings=tiny_settings(learning_rate=300.0)), until_tokens=200 * STEP_TOKENS))
    assert caught.value.kind in ("diverged", "nan")


def test_bfloat16_follows_float32_or_is_refused(make_state: StateMaker) -> None:
    if not has_bfloat16(torch.device("cpu")):
        with pytest.raises(DeviceError, match="float32"):
            make_state(settings=tiny_settings(precision="bfloat16"))
        return
    rough = make_state(settings=tiny_settings(precision="bfloat16"))
    exact, found = losses(make_state(), 40 * STEP_TOKENS), losses(rough, 40 * STEP_TOKENS)
    assert found != exact
    assert found[:5] == pytest.approx(exact[:5], abs=0.02)
    assert sum(found[-10:]) == pytest.approx(sum(exact[-10:]), rel=0.05)


def test_progress_is_a_generator_that_can_be_left(make_state: StateMaker) -> None:
    state = make_state()
    seen = list(islice(train(state, until_tokens=10**9), 3))
    assert state.tokens == seen[-1].tokens == 3 * STEP_TOKENS
    assert all(isinstance(p, Progress) and p.tokens_per_s > 0 and p.learning_rate > 0 for p in seen)


def test_losses_read_several_steps_at_once_are_the_same_losses(make_state: StateMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator; a stop in between loses none of them."""
    plain, read_late = make_state(spec=DROPPING), make_state(spec=DROPPING)
    expected = losses(plain, 10 * STEP_TOKENS)
    monkeypatch.setitem(loop.STEPS_PER_READ, "cpu", 4)
    asked = iter([False] * 6 + [True])
    found: list[Progress] = []
    with pytest.raises(TrialFailure, match="asked to stop"):
        found.extend(train(read_late, until_tokens=10 * STEP_TOKENS, stop=lambda: next(asked)))
    assert read_late.tokens == 6 * STEP_TOKENS
    found.extend(train(read_late, until_tokens=10 * STEP_TOKENS))
    assert [p.tokens // STEP_TOKENS for p in found] == [4, 6, 8, 10]
    parts = (expected[:4], expected[4:6], expected[6:8], expected[8:])
    assert [p.loss for p in found] == [pytest.approx(sum(part) / len(part)) for part in parts]
    assert_same(read_late, plain)
