"""Templated tasks: their references pass, wrong ones do not, and no held-out pair of operation and constant is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonas.errors import RequestError
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.tasks import CodingTask
from autonas.tuning.examples import write_rows
from autonas.tuning.templates import CONSTANTS, OPERATIONS, human_eval_row, templated_tasks

MADE = templated_tasks(800, 200)


def holds(task: CodingTask, solution: str) -> bool:
    """Whether our own text passes: nothing that a model wrote."""
    try:
        exec(task.prompt + solution + "\n" + task.tests, {})
    except AssertionError:
        return False
    return True


def pairs(tasks: tuple[CodingTask, ...]) -> set[str]:
    return {task.entry_point for task in tasks}


def test_every_reference_passes_its_tests() -> None:
    assert all(holds(task, task.solution) for task in (*MADE.training, *MADE.held_out))


def test_another_constant_or_an_empty_answer_fails() -> None:
    for task in MADE.held_out:
        constant = task.entry_point.rpartition("_")[2]
        assert not holds(task, task.solution.replace(constant, str(int(constant) + 1)))
        assert not holds(task, "\n    return None\n")


def test_no_held_out_pair_is_trained_on_and_every_part_of_it_is() -> None:
    assert not pairs(MADE.training) & pairs(MADE.held_out)
    for part in (0, 2):
        trained = {name.rpartition("_")[part] for name in pairs(MADE.training)}
        assert {name.rpartition("_")[part] for name in pairs(MADE.held_out)} <= trained


def test_the_same_seed_draws_the_same_tasks_and_another_others() -> None:
    assert templated_tasks(50, 20, seed=3) == templated_tasks(50, 20, seed=3)
    assert templated_tasks(50, 20, seed=3) != templated_tasks(50, 20, seed=4)


def test_more_tasks_than_there_are_are_refused() -> None:
    with pytest.raises(RequestError, match="ask for fewer"):
        templated_tasks(len(OPERATIONS) * len(CONSTANTS) * 3, 0)


def test_held_out_tasks_are_read_as_those_of_human_eval_are(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    write_rows(path, map(human_eval_row, MADE.held_out[:20]))
    for read, made in zip(load_tasks(str(path)), MADE.held_out, strict=False):
        assert (read.name, read.prompt, read.entry_point, read.solution) == (
            made.name,
            made.prompt,
            made.entry_point,
            made.solution,
        )
        assert holds(read, read.solution)
        assert not holds(read, "\n    return None\n")
