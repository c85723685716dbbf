from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas.evaluation import device_state
from autonas.evaluation.timing import (
    Blocks,
    OthersOnCpu,
    Protocol,
    attempt_until_quiet,
    complaints,
    latency_score,
    own_time,
    ratio_interval,
    reference_off,
    run_blocks,
)

QUIET = Protocol()


class Clockwork:
    """Something that takes a known time on a machine of changing speed; all of them share the machine's clock."""

    def __init__(self, seconds: float, machine: Machine) -> None:
        self.seconds, self.machine = seconds, machine

    def __call__(self, count: int) -> float:
        return self.machine.spend(self.seconds * count)


class Machine:
    """Its speed may drift with time."""

    def __init__(self, drift: float = 0.0) -> None:
        self.now, self.drift, self.calls = 0.0, drift, 0

    def spend(self, seconds: float) -> float:
        taken = seconds * (1 + self.drift * self.now)
        self.now += taken
        self.calls += 1
        return taken


def blocks_of(ratios: Sequence[float], reference: Sequence[float] | None = None, others: float = 0.0) -> Blocks:
    known = reference or [1e-3] * len(ratios)
    times = tuple(ratio * second for ratio, second in zip(ratios, known, strict=True))
    return Blocks(candidate=times, reference=tuple(known), calls=5, others=others)


def test_a_steady_machine_gives_the_ratio_and_fills_each_block() -> None:
    machine = Machine()
    blocks = run_blocks(Clockwork(3e-4, machine), Clockwork(1e-4, machine), QUIET)
    assert blocks.ratio == pytest.approx(3) and blocks.spread == pytest.approx(0, abs=1e-12)
    assert len(blocks.ratios) >= 15 and blocks.calls * 3e-4 >= QUIET.block_s
    assert complaints(blocks, QUIET, 1e-4) == ()


def test_a_drifting_machine_keeps_the_ratio_and_is_complained_about() -> None:
    machine = Machine(drift=2.0)
    blocks = run_blocks(Clockwork(1.5e-4, machine), Clockwork(1e-4, machine), QUIET)
    assert blocks.ratio == pytest.approx(1.5, rel=0.02)
    assert any("drifted" in complaint for complaint in complaints(blocks, QUIET, None))


def test_warm_ups_come_before_the_blocks() -> None:
    counts: list[int] = []

    def timed(count: int) -> float:
        counts.append(count)
        return count * 1e-3

    run_blocks(timed, timed, QUIET)
    assert sum(counts[:2]) == sum(counts[2:4]) == QUIET.warm_ups >= 20
    assert counts[4:] == [math.ceil(QUIET.block_s / 1e-3)] * (2 * QUIET.blocks)


def test_something_slow_is_called_once_in_a_block() -> None:
    machine = Machine()
    assert run_blocks(Clockwork(0.1, machine), Clockwork(0.1, machine), QUIET).calls == 1


@pytest.mark.parametrize(
    ("blocks", "reference_s", "word"),
    [
        (blocks_of([1.0, 1.2] * 10), None, "block CV"),
        (blocks_of([1.0] * 20, [1e-3] * 10 + [1.05e-3] * 10), None, "drifted"),
        (blocks_of([1.0] * 20), 1.04e-3, "off its known time"),
        (blocks_of([1.0] * 20, others=0.5), None, "other processes"),
    ],
)
def test_each_kind_of_noise_is_complained_about_alone(blocks: Blocks, reference_s: float | None, word: str) -> None:
    found = complaints(blocks, QUIET, reference_s)
    assert len(found) == 1 and word in found[0]
    assert complaints(blocks_of([1.0] * 20), QUIET, reference_s=1e-3) == ()


def attempts_of(made: list[Blocks]) -> Iterator[Blocks]:
    yield from made


def test_a_noisy_attempt_is_repeated_until_a_quiet_one_which_alone_counts() -> None:
    noisy, quiet = blocks_of([5.0, 9.0] * 10), blocks_of([2.0] * 20)
    source = attempts_of([noisy, noisy, quiet, noisy])
    attempts, found = attempt_until_quiet(lambda: next(source), QUIET, None)
    assert len(attempts) == 3 and found == ()
    score = latency_score(attempts, found, 1e-3, "ms/token")
    assert (score.low, score.value, score.high) == (2.0, 2.0, 2.0) and "noisy" not in score.note


def test_after_three_repeats_the_value_is_kept_with_a_wider_interval_and_flagged() -> None:
    made = [blocks_of([2.0, 2.2] * 10), blocks_of([1.8, 2.6] * 10), blocks_of([2.0, 2.8] * 10), blocks_of([2.4, 3.6] * 10)]
    source = attempts_of(made)
    attempts, found = attempt_until_quiet(lambda: next(source), QUIET, None)
    assert len(attempts) == 4 and found
    score = latency_score(attempts, found, 1e-3, "ms/token")
    assert score.value == pytest.approx(1.8)  # of the quickest tenth of all blocks
    assert score.low <= 1.8 and score.high >= 2.6
    assert "noisy after 3 repeats" in score.note


def test_the_interval_of_a_noisy_value_holds_the_ratio_of_the_quickest_blocks() -> None:
    # Most blocks were interrupted, the candidate's longer ones more often: the medians agree and are wrong.
    interrupted = blocks_of([4.0] * 19 + [2.0])
    score = latency_score([interrupted] * 4, ("block CV",), 1e-3, "ms")
    assert score.value == pytest.approx(4.0) and score.low == pytest.approx(2.0)


def test_the_value_is_the_ratio_times_the_common_reference_whatever_the_machine_did_meanwhile() -> None:
    slow = blocks_of([2.0] * 20, [3e-3] * 20)
    assert latency_score([slow], (), 1e-3, "ms").value == pytest.approx(2.0)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=40))
def test_the_interval_of_a_ratio_holds_it_and_is_the_same_for_the_same_blocks(pairs: list[tuple[float, float]]) -> None:
    blocks = Blocks(candidate=tuple(a for a, _ in pairs), reference=tuple(b for _, b in pairs), calls=1)
    low, high = ratio_interval(blocks)
    assert low <= blocks.ratio <= high
    assert ratio_interval(blocks) == (low, high)


def test_the_interval_of_a_ratio_covers_the_true_one_about_as_often_as_it_says() -> None:
    """A tenth of so few blocks is rough: 95 % are about 90."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        candidate, reference = (time * (1 + 0.1 * generator.exponential(size=63)) for time in (2.0, 1.0))
        low, high = ratio_interval(Blocks(candidate=tuple(candidate), reference=tuple(reference), calls=1))
        covered += low <= 2.0 <= high
    assert 0.88 <= covered / 300 <= 0.99


def test_blocks_that_were_disturbed_do_not_change_the_ratio_while_a_tenth_was_not() -> None:
    generator = np.random.default_rng(0)
    slow = generator.random((2, 200)) < 0.6
    candidate, reference = np.where(slow, [[3.0], [2.0]], [[1.25], [1.0]])
    assert Blocks(candidate=tuple(candidate), reference=tuple(reference), calls=1).ratio == pytest.approx(1.25)


def test_a_busy_machine_is_seen() -> None:
    """A process that computes beside this one, on any of its cores, is in the share as far as the system gave it time."""
    code = "while True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as busy:
        try:
            one = psutil.Process(busy.pid)
            others, used, begun = OthersOnCpu(), sum(one.cpu_times()[:2]), time.monotonic()
            time.sleep(2.0)
            share, used = others(), sum(one.cpu_times()[:2]) - used
            cores = len(os.sched_getaffinity(0))
            assert share >= 0.8 * min(1.0, used / (time.monotonic() - begun) / cores) > 0.0
        finally:
            busy.kill()


@pytest.mark.parametrize(("processes", "used", "share"), [(1, 90, 0.0), (2, 0, 0.0), (3, 40, 0.4)])
def test_others_on_a_gpu_are_those_that_compute_there(
    processes: int, used: int, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made of nvidia-smi's answers, by a program of that name that gives them for one device alone."""
    tool = tmp_path / "nvidia-smi"
    numbers = "\\n".join(str(4000 + number) for number in range(processes))
    tool.write_text(
        f'''#!/bin/sh
case "$*" in
*compute-apps*--id=GPU-abc) printf "{numbers}\\n" ;;
*utilization*--id=GPU-abc) echo {used} ;;
*) exit 1 ;;
esac
'''
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(device_state, "_of", lambda device: "--id=GPU-abc")
    monkeypatch.setattr(device_state, "_SAMPLE_S", 0.0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert device_state.others_on_gpu(torch.device("cuda:0")) == share


def test_the_share_of_others_is_a_share() -> None:
    others = OthersOnCpu()
    sum(i * i for i in range(200_000))
    assert 0.0 <= others() <= 1.0
    assert 0.0 <= others() <= 1.0  # nothing need have passed between two calls


class Spells:
    """Attempts of a fifth of a second on a machine that falls to half its speed, where it is less steady, for some seconds."""

    def __init__(self, *slow: tuple[float, float]) -> None:
        self.slow, self.now, self.attempts = slow, 0.0, 0

    def __call__(self) -> Blocks:
        self.attempts += 1
        slowed = any(begin <= self.now < end for begin, end in self.slow)
        self.now += 0.2
        times = [2e-3 if slowed else 1e-3] * 21
        return blocks_of([1.0, 1.0, 1.1, 1.2, 1.0, 0.9, 0.8] * 3 if slowed else [1.0] * 21, times)

    def own_time(self) -> float:
        return own_time(self, QUIET, clock=lambda: self.now)


def test_the_own_time_of_the_reference_on_a_quiet_machine_takes_two_attempts() -> None:
    machine = Spells()
    assert machine.own_time() == pytest.approx(1e-3)
    assert machine.attempts == 2


@pytest.mark.parametrize("spell", [(0.0, 3.0), (0.0, 5.5), (0.1, 5.0)])
def test_a_slow_spell_is_not_taken_for_the_reference_s_own_time(spell: tuple[float, float]) -> None:
    machine = Spells(spell)
    assert machine.own_time() == pytest.approx(1e-3)
    # Four attempts, as are made of a candidate, would all lie within the spell.
    attempts, found = attempt_until_quiet(Spells((0.0, 3.0)), QUIET, None)
    assert found and min(blocks.reference_s for blocks in attempts) == pytest.approx(2e-3)


class Shared:
    """A machine whose speed for small calls changes from quick to slow and back; arithmetic goes on as before."""

    def __init__(self, quick_s: float, slow_s: float) -> None:
        self.quick_s, self.slow_s, self.now = quick_s, slow_s, 0.0

    def timed(self, calls_s: float, arithmetic_s: float) -> Callable[[int], float]:
        def spend(count: int) -> float:
            slow = self.now % (self.quick_s + self.slow_s) >= self.quick_s
            seconds = count * (calls_s * (2 if slow else 1) + arithmetic_s)
            self.now += seconds
            return seconds

        return spend


@pytest.mark.parametrize(("quick_s", "slow_s"), [(0.08, 0.05), (0.3, 0.9), (0.05, 0.15)])
def test_spells_of_slow_calls_do_not_change_the_value(quick_s: float, slow_s: float) -> None:
    machine = Shared(quick_s, slow_s)
    candidate, reference = machine.timed(3e-4, 7e-4), machine.timed(2.5e-4, 0.0)
    attempts, found = attempt_until_quiet(
        lambda: run_blocks(candidate, reference, QUIET), QUIET, 2.5e-4, clock=lambda: machine.now
    )
    assert found == ()
    score = latency_score(attempts, found, 2.5e-4, "ms/token", QUIET)
    assert score.value == pytest.approx(1.0, rel=0.03)


def test_a_machine_without_quiet_moments_is_searched_for_so_long_and_the_value_is_flagged() -> None:
    machine = Shared(0.0, 1.0)
    candidate, reference = machine.timed(3e-4, 7e-4), machine.timed(2.5e-4, 0.0)
    attempts, found = attempt_until_quiet(
        lambda: run_blocks(candidate, reference, QUIET), QUIET, 2.5e-4, clock=lambda: machine.now
    )
    assert found and QUIET.search_s <= machine.now <= QUIET.search_s + 0.5
    assert "noisy" in latency_score(attempts, found, 2.5e-4, "ms/token", QUIET).note


def test_a_machine_that_is_never_quiet_is_watched_for_so_long_and_its_quickest_moment_kept() -> None:
    machine = Spells((0.0, 1.0), (1.2, 100.0))
    assert machine.own_time() == pytest.approx(1e-3)
    assert machine.now == pytest.approx(QUIET.watch_s, abs=0.3)


def test_one_quiet_attempt_alone_confirms_nothing() -> None:
    """Not when a quicker one was seen, were it noisy itself."""
    medians = iter([2e-3, 1e-3, 2e-3, 1e-3, 1e-3])

    def attempt() -> Blocks:
        return blocks_of([1.0] * 21, [next(medians)] * 21)

    assert own_time(attempt, QUIET) == pytest.approx(1e-3)
    assert next(medians, None) is not None, "the fourth attempt confirms the second"


def test_what_a_note_says_of_the_reference_can_be_read_again() -> None:
    for reference_s, off in ((2e-3, -0.5), (0.8e-3, 0.25), (1e-3, None)):
        blocks = blocks_of([1.0, 1.5] * 11)
        note = latency_score([blocks], complaints(blocks, QUIET, reference_s), reference_s, "ms").note
        assert reference_off(note) == (None if off is None else pytest.approx(off, abs=1e-3))
