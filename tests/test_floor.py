"""Threads that take turns."""

from __future__ import annotations

import threading
import time

from autonas.floor import Floor, at_once


def test_the_floor_goes_round() -> None:
    """Each passes it on after every step: once all are there, nobody has two steps in a row."""
    order: list[int] = []

    def work(number: int, floor: Floor) -> int:
        while len({*order, number}) < 3 and order.count(number) < 10_000:
            order.append(number)
            floor.pass_on()
        order.append(-1 - number)  # from here on all three have begun
        for _ in range(20):
            order.append(number)
            floor.pass_on()
        return number

    assert at_once([lambda floor, n=n: work(n, floor) for n in range(3)]) == [0, 1, 2]  # type: ignore[misc]
    begun = max(order.index(-1 - n) for n in range(3))
    steps = [n for n in order[begun:] if n >= 0][:30]
    assert all(len({*steps[i : i + 3]}) == 3 for i in range(len(steps) - 2)), steps


def test_one_has_it_at_a_time_and_leaves_it_where_it_waits() -> None:
    inside: list[int] = []

    def work(floor: Floor) -> int:
        most = 0
        for number in range(50):
            inside.append(1)
            most = max(most, len(inside))
            inside.pop()
            if number % 2:
                floor.pass_on()
            else:
                with floor.aside():
                    time.sleep(0.0005)
        return most

    assert at_once([work] * 4) == [1, 1, 1, 1]


def test_who_waits_aside_holds_nobody_up() -> None:
    there = threading.Event()

    def wait(floor: Floor) -> bool:
        with floor.aside():
            return there.wait(20.0)

    def come(floor: Floor) -> bool:
        there.set()
        return True

    assert at_once([wait, come]) == [True, True]


def test_what_fails_ends_alone_and_leaves_the_floor() -> None:
    def fail(floor: Floor) -> int:
        floor.pass_on()
        raise ZeroDivisionError("planted")

    def fail_aside(floor: Floor) -> int:
        with floor.aside():
            raise KeyError("planted")

    first, second, third = at_once([fail, lambda floor: 2, fail_aside])
    assert isinstance(first, ZeroDivisionError) and second == 2 and isinstance(third, KeyError)


def test_alone_it_costs_nothing_to_pass_on() -> None:
    reached = []
    with Floor() as floor:
        floor.pass_on()
        reached.append("passed on")
        with floor.aside(), floor:
            reached.append("taken again while aside")
    assert reached == ["passed on", "taken again while aside"]
