"""An interruption is held back between two steps, comes afterwards all the same, and a second one is not held back."""

from __future__ import annotations

import signal
import threading

import pytest

from autonas.training.interruption import held_interrupts


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held_interrupts() as interrupted:  # noqa: PT012
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        done.append("the rest of the step")
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_in_place_of_the_error_that_the_stop_made() -> None:
    with pytest.raises(KeyboardInterrupt), held_interrupts():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("stopped")


def test_a_second_interrupt_is_not_held_back() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), held_interrupts():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        reached.append("too far")
    assert not reached


def test_whose_handler_is_not_python_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with held_interrupts() as interrupted:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_an_interrupt_nothing_happens_and_threads_hold_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        with held_interrupts() as interrupted:
            seen.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert seen == [False, False]
