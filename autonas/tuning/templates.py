"""Small templated coding tasks, and held-out ones that no solution of the others answers. No torch.

A task says in its docstring what its one line computes, with a constant or two: `"Return x plus 17."`. What is held out are
pairs of an operation and a constant: every operation and every constant is trained on, and no held-out pair. Recall is then of
no use: whoever answers has learnt to read the prompt. Each task has tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from autonas.errors import RequestError
from autonas.evaluation.coding.tasks import CodingTask

COUNT: Final = 800  # tasks to tune on, and held out, unless others are asked for
HELD_OUT: Final = 100
CONSTANTS: Final = range(2, 60)
_HELD_OUT_EVERY: Final = 5  # pairs of an operation and a constant
_SOURCE: Final = "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One computation: its name, how it is said and written of a parameter {x} and a constant {k}, and on what it is tried."""

    name: str
    said: str
    written: str
    compute: Callable[[Any, int], Any]
    parameters: tuple[str, ...]
    arguments: tuple[Any, ...] = ()


def _of_number(name: str, said: str, written: str, compute: Callable[[Any, int], Any]) -> Operation:
    parameters, arguments = ("x", "n", "value"), (0, 7, -23, 41, 100)
    return Operation(name=name, said=said, written=written, compute=compute, parameters=parameters, arguments=arguments)


def _of_list(name: str, said: str, written: str, compute: Callable[[Any, int], Any]) -> Operation:
    return Operation(name=name, said=said, written=written, compute=compute, parameters=("items", "values", "rows"))


OPERATIONS: Final = (
    _of_number("add", "{x} plus {k}", "{x} + {k}", lambda x, k: x + k),
    _of_number("subtract", "{x} minus {k}", "{x} - {k}", lambda x, k: x - k),
    _of_number("multiply", "{x} times {k}", "{x} * {k}", lambda x, k: x * k),
    _of_number("is_above", "whether {x} is greater than {k}", "{x} > {k}", lambda x, k: x > k),
    _of_number("is_below", "whether {x} is less than {k}", "{x} < {k}", lambda x, k: x < k),
    _of_number("at_least", "the larger of {x} and {k}", "max({x}, {k})", max),
    _of_list("first", "the first {k} of {x}", "{x}[:{k}]", lambda x, k: x[:k]),
    _of_list("after", "{x} without the first {k}", "{x}[{k}:]", lambda x, k: x[k:]),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templated:
    """Tasks to tune on, and tasks to ask."""

    training: tuple[CodingTask, ...]
    held_out: tuple[CodingTask, ...]


def templated_tasks(count: int, held_out: int, seed: int = 0) -> Templated:
    """`count` tasks to tune on and `held_out` others, drawn by `seed` from all that there are.

    Raises:
        RequestError: there are not so many.
    """
    training: list[CodingTask] = []
    asked: list[CodingTask] = []
    for number, (operation, constant) in enumerate(_pairs(seed)):
        of_pair = [_task(operation, constant, name) for name in operation.parameters]
        (asked if number % _HELD_OUT_EVERY == 0 else training).extend(of_pair)
    draw = random.Random(f"templates {seed}")
    for tasks, number, what in ((training, count, "to tune on"), (asked, held_out, "held out")):
        if number > len(tasks):
            raise RequestError(f"there are {len(tasks)} templated tasks {what}, and {number} were asked for; ask for fewer")
        draw.shuffle(tasks)
    return Templated(training=tuple(training[:count]), held_out=tuple(asked[:held_out]))


def human_eval_row(task: CodingTask) -> dict[str, str]:
    """A task in HumanEval's form, as `load_tasks` reads it from a file."""
    asserts = task.tests.strip().replace(f"{task.entry_point}(", "candidate(").split("\n")
    return {
        "task_id": task.name,
        "prompt": task.prompt + "\n",
        "canonical_solution": task.solution.removeprefix("\n"),
        "test": "def check(candidate):\n" + "".join(f"    {line}\n" for line in asserts),
        "entry_point": task.entry_point,
    }


def _pairs(seed: int) -> Iterator[tuple[Operation, int]]:
    """Every operation with every constant, in an order that the seed draws; no operation has its fifths beside another's."""
    for place, operation in enumerate(OPERATIONS):
        constants = list(CONSTANTS)
        random.Random(f"pairs {seed} {place}").shuffle(constants)
        for constant in constants:
            yield operation, constant


def _task(operation: Operation, constant: int, parameter: str) -> CodingTask:
    said = operation.said.format(x=parameter, k=constant)
    written = operation.written.format(x=parameter, k=constant)
    name = f"{operation.name}_{constant}"
    arguments: list[Any]
    # Arguments that tell a constant from its neighbours.
    if operation.name in ("is_above", "is_below", "at_least"):
        arguments = [constant, constant + 1, constant - 1]
    elif operation.name in ("first", "after"):
        arguments = [list(range(constant + 3)), list("abc") * constant, []]
    else:
        arguments = random.Random(f"{name} {parameter}").sample(operation.arguments, 3)
    asserts = "".join(f"assert {name}({argument!r}) == {operation.compute(argument, constant)!r}\n" for argument in arguments)
    return CodingTask(
        name=f"{_SOURCE}/{name}#{parameter}",  # one family, which a split keeps together
        prompt=f'def {name}({parameter}):\n    """Return {said}."""',
        entry_point=name,
        solution=f"\n    return {written}\n",
        tests=asserts,
        source=_SOURCE,
    )
