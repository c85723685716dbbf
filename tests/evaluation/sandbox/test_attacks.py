"""Attacks are contained and count as failures."""

from __future__ import annotations

import re

import pytest

from autonas.evaluation.sandbox import Limits, Sandbox
from tests.evaluation.sandbox.attacks import ENDLESS, ON_THE_JUDGE, ON_THE_MACHINE, TESTS
from tests.evaluation.sandbox.conftest import Victim

RIGHT = "def add(a, b):\n    return a + b\n"


def aimed(attack: str, victim: Victim) -> str:
    return re.sub("@([A-Z_]+)@", lambda match: victim.words[match[1]], attack)


def test_there_are_attacks_enough() -> None:
    assert len({*ON_THE_MACHINE.values(), *ENDLESS.values(), *ON_THE_JUDGE.values()}) >= 150


@pytest.mark.parametrize("name", ON_THE_MACHINE)
def test_the_machine_is_unharmed(name: str, sandbox: Sandbox, impatient: Sandbox, victim: Victim, nothing_left: None) -> None:
    endless = name in ("fork_bomb", "thread_bomb", "recursion_without_a_limit")
    verdict = (impatient if endless else sandbox).check(aimed(ON_THE_MACHINE[name], victim), TESTS, "add")
    assert not verdict.passed
    assert verdict.status != "timeout" or endless
    assert "autonas-secret" not in verdict.message
    assert victim.unharmed()


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_ended(name: str, impatient: Sandbox, nothing_left: None) -> None:
    verdict = impatient.check(
        ENDLESS[name], "assert 7 not in [add(1, 2)]\nassert -1 in add(1, 2)\n" if "items" in name else TESTS
    )
    # Beside eight threads that spin, the judge may hear that there is no `add` before its time is over.
    allowed = {"many_empty_files": {"output"}, "threads_spin": {"timeout", "error"}}.get(name, {"timeout"})
    assert verdict.status in allowed
    assert verdict.seconds < 10.0


@pytest.mark.parametrize("name", ON_THE_JUDGE)
def test_the_judge_is_not_deceived(name: str, sandbox: Sandbox, impatient: Sandbox, nothing_left: None) -> None:
    waits = name == "forge_on_every_descriptor"  # what it writes is the beginning of a long message
    verdict = (impatient if waits else sandbox).check(ON_THE_JUDGE[name], TESTS)
    assert not verdict.passed
    assert verdict.status != "timeout" or waits
    assert verdict.message.isprintable()
    assert len(verdict.message) <= 200


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("exit_0", "exited"),
        ("sys_exit_in_a_call", "exited"),
        ("always_equal", "failed"),
        ("always_equal_inside_a_list", "failed"),
        ("reflected_operators", "failed"),
        ("syntax_error", "syntax"),
        ("null_bytes", "syntax"),
        ("endless_output", "output"),
        ("endless_errors", "output"),
        ("binary_output", "output"),
        ("huge_value", "output"),
        ("value_of_itself", "output"),
        ("no_add", "error"),
        ("forge_huge_length", "error"),
        ("right_once", "failed"),
        ("memory_bytes", "memory"),
        ("memory_in_a_call", "memory"),
        ("recursion", "error"),
        ("crash_the_interpreter", "exited"),
    ],
)
def test_the_verdict_says_how_it_ended(name: str, status: str, sandbox: Sandbox) -> None:
    assert sandbox.check({**ON_THE_MACHINE, **ON_THE_JUDGE}[name], TESTS, "add").status == status


def test_the_attacks_would_be_seen_to_win_without_walls(victim: Victim) -> None:
    # What they try is possible for a process of this user, so that a failure within the walls is the walls' doing.
    for name in (
        "read_the_home",
        "read_passwd",
        "list_the_home",
        "proc_self",
        "environment",
        "host_name",
        "signal_the_watcher",
    ):
        found: dict[str, object] = {}
        exec(aimed(ON_THE_MACHINE[name], victim), found)
        assert found["won"], name


@pytest.mark.slow
@pytest.mark.parametrize("group", ["machine", "judge"])
def test_walls_made_without_bubblewrap_hold_too(
    group: str, victim: Victim, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    monkeypatch.setenv("PATH", "")
    attacks = ON_THE_MACHINE if group == "machine" else ON_THE_JUDGE
    with Sandbox.open(limits=Limits(seconds=8.0)) as sandbox:
        assert sandbox.check(RIGHT, TESTS).passed
        verdicts = sandbox.check_all([(aimed(attack, victim), TESTS, "add") for attack in attacks.values()])
    assert [name for name, verdict in zip(attacks, verdicts, strict=True) if verdict.passed] == []
    assert victim.unharmed()
