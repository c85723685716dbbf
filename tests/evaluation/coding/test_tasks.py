from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from autonas.evaluation.coding.syntax import is_valid
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks, make_task
from autonas.evaluation.sandbox import Sandbox
from tests.evaluation.coding.mutants import mutants

THE_TWENTY = (
    *("add", "multiply", "max_value", "abs_value", "is_even", "is_prime", "factorial", "fibonacci", "sum_list", "reverse_list"),
    *("find_max", "count_vowels", "remove_duplicates", "is_palindrome", "gcd", "linear_search", "bubble_sort", "flatten_list"),
    *("string_reverse", "power"),
)
# Changes that leave a right program: the other of two equal values, a round that does nothing, an argument sorted in place.
HARMLESS = (
    ("max_value", "a >= b"),
    ("abs_value", "n <= 0"),
    ("factorial", "n < 1:"),
    ("factorial", "n <= 0:"),
    ("find_max", "numbers[-1]"),
    ("find_max", "number >= largest"),
    ("bubble_sort", "pass\n    for"),
    ("bubble_sort", "- 1, -1, -1)"),
    ("bubble_sort", "items[index] >= items[index + 1]"),
)


MOST_STEPS = 300_000  # of the interpreter; counted, for an alarm clock may ring where exceptions are swallowed


class TooLong(Exception):
    pass


def passes(program: str, tests: str) -> bool:
    """In this process: these programs are ours."""
    code, steps, before = compile(program + "\n" + tests, "<a task>", "exec"), 0, sys.gettrace()

    def count(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal steps
        if frame.f_code.co_filename != code.co_filename:
            return None
        frame.f_trace_opcodes = True  # a loop on one line has no lines that begin
        steps += event == "opcode"
        if steps > MOST_STEPS:
            raise TooLong
        return count

    sys.settrace(count)
    try:
        exec(code, {})
    except Exception:  # noqa: BLE001
        return False
    finally:
        sys.settrace(before)
    return True


def test_a_program_without_an_end_does_not_pass() -> None:
    assert not passes("while True:\n    pass", "")
    assert not passes("def f():\n    while True: pass", "f()")
    assert not passes("[0 for _ in iter(int, 1)]", "")
    assert passes("for _ in range(1000):\n    pass", "")


def test_they_are_the_prior_systems_twenty() -> None:
    assert [task.name for task in builtin_tasks()] == list(THE_TWENTY)
    assert [task.entry_point for task in builtin_tasks()] == list(THE_TWENTY)


@pytest.mark.parametrize("task", builtin_tasks(), ids=THE_TWENTY)
def test_a_prompt_is_a_signature_and_a_docstring_of_one_line(task: CodingTask) -> None:
    signature, docstring = task.prompt.split("\n")
    assert signature.startswith(f"def {task.name}(") and signature.endswith("):")
    assert docstring.startswith('    """') and docstring.endswith('."""')
    assert task.solution.startswith("\n    ") and is_valid(task.prompt, task.solution)
    assert len(task.tests.splitlines()) >= 2 and all(line.startswith("assert ") for line in task.tests.splitlines())


def test_the_references_pass_in_the_sandbox(sandbox: Sandbox) -> None:
    verdicts = sandbox.check_all([(task.program, task.tests, task.entry_point) for task in builtin_tasks()])
    assert [verdict.status for verdict in verdicts] == ["passed"] * 20


@pytest.mark.parametrize("task", builtin_tasks(), ids=THE_TWENTY)
def test_the_asserts_notice_every_wrong_change(task: CodingTask) -> None:
    docstring = task.prompt.split('"""')[1]
    changed = [program for program in mutants(task.program) if f'"""{docstring}"""' in program]
    assert len(changed) >= 5
    unnoticed = [program for program in changed if passes(program, task.tests)]
    harmless = [change for name, change in HARMLESS if name == task.name]
    assert len(unnoticed) == len(harmless), "\n\n".join(unnoticed)
    assert all(any(change in program for program in unnoticed) for change in harmless)


@pytest.mark.parametrize("task", builtin_tasks(), ids=THE_TWENTY)
def test_no_empty_or_constant_answer_and_no_echo_passes(task: CodingTask) -> None:
    parameter = task.prompt.split("(")[1].split(")")[0].split(", ")
    answers = [
        "",
        "\n    pass\n",
        *(f"\n    return {value}\n" for value in ("None", "True", "False", "0", "1", "[]", "''", *parameter)),
    ]
    assert not [answer for answer in answers if passes(task.prompt + answer, task.tests)]


def test_other_right_ways_to_write_it_pass() -> None:
    others = {
        "add": "\n    return sum((a, b))",
        "max_value": "\n    return max(a, b)",
        "is_prime": "\n    return n > 1 and all(n % k for k in range(2, int(n**0.5) + 1))",
        "fibonacci": "\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
        "reverse_list": "\n    items.reverse()\n    return items",
        "remove_duplicates": "\n    return list(dict.fromkeys(items))",
        "gcd": "\n    return a if b == 0 else gcd(b, a % b)",
        "linear_search": "\n    return items.index(target) if target in items else -1",
        "bubble_sort": "\n    items.sort()\n    return items",
        "flatten_list": "\n    return [item for items in lists for item in items]",
        "power": "\n    return base**exponent",
    }
    tasks = {task.name: task for task in builtin_tasks()}
    assert all(passes(tasks[name].prompt + answer, tasks[name].tests) for name, answer in others.items())


def test_the_line_break_after_a_prompt_belongs_to_the_answer() -> None:
    task = make_task(
        name="f", prompt="def f():\n    ", entry_point="f", solution="return 1\n", tests="assert f() == 1", source="here"
    )
    assert task.prompt == "def f():" and task.solution == "\n    return 1\n"
    assert task.program == "def f():\n    return 1\n"
