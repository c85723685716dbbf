"""What a coding task is, as data, and the tasks that are shipped. Loading others from files or the hub: loading.py."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from autonas.evaluation.coding.builtin import TWENTY


@dataclass(frozen=True, slots=True, kw_only=True)
class CodingTask:
    """A function to be written. `prompt + solution` is a whole program, and `tests` are asserts to be run after it.

    A prompt never ends in white space: the line break after it belongs to the answer. In the corpora that a model learns from,
    a byte-level BPE makes one token of a line break and the indent that follows; a prompt that ended in the break would cut
    that token in two, and ask for half of what the model knows.
    """

    name: str  # unique in its source
    prompt: str  # what a model goes on from
    entry_point: str  # the function that the tests call
    solution: str  # the reference
    tests: str  # Python text that raises when the function is wrong
    source: str  # "builtin", or the file or data set that it was read from

    def __post_init__(self) -> None:
        assert self.prompt.strip() and self.prompt == self.prompt.rstrip(), f"{self.name}: a prompt ends in its last word"
        assert self.solution.strip() and self.tests.strip(), f"{self.name}: a task has a solution and tests"

    @property
    def program(self) -> str:
        """The reference as a whole program."""
        return self.prompt + self.solution


def make_task(*, name: str, prompt: str, entry_point: str, solution: str, tests: str, source: str) -> CodingTask:
    """A task whose prompt may end in white space, which goes over to the solution."""
    kept = prompt.rstrip()
    return CodingTask(
        name=name,
        prompt=kept,
        entry_point=entry_point,
        solution=prompt[len(kept) :] + solution,
        tests=tests,
        source=source,
    )


@functools.cache
def builtin_tasks() -> tuple[CodingTask, ...]:
    """The prior system's twenty tasks, written anew: a signature, a docstring of one line, and asserts."""
    tasks = []
    for written in TWENTY:
        head, quotes, body = written.program.partition('"""\n')
        asserts, name = written.asserts.strip() + "\n", written.program[4 : written.program.index("(")]
        tasks.append(
            make_task(name=name, prompt=head + quotes, entry_point=name, solution=body, tests=asserts, source="builtin")
        )
    return tuple(tasks)
