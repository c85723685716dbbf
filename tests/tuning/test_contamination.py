"""Examples that give away tasks are found, and refused unless that is allowed."""

from __future__ import annotations

import pytest

from autonas.errors import CorpusError
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.tuning.contamination import given_tasks, refuse_contamination, tuning_findings
from autonas.tuning.examples import Example, example_of
from autonas.tuning.templates import templated_tasks

TASKS = builtin_tasks()
CLEAN = tuple(map(example_of, templated_tasks(100, 0).training))


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_a_prompt_of_a_task_is_found_whatever_its_solution(number: int) -> None:
    stolen = Example(id="stolen", prompt=TASKS[number].prompt, solution="\n    raise NotImplementedError\n")
    found = given_tasks((*CLEAN, stolen), ("builtin",))
    assert (TASKS[number].name, "stolen", "prompt") in [(each.task, each.example, each.how) for each in found]


def test_most_references_are_found_under_another_name_and_prompt() -> None:
    hidden = tuple(
        Example(
            id=task.name,
            prompt=f"def renamed{task.prompt[task.prompt.index('(') :].partition(':')[0]}:",
            solution=task.solution,
        )
        for task in TASKS
    )
    found = {each.task for each in given_tasks(hidden, ("builtin",))}
    assert len(found) == len(TASKS)


def test_what_gives_tasks_away_is_refused_by_name_and_an_alarm_where_it_is_allowed() -> None:
    found = given_tasks((*CLEAN, *map(example_of, TASKS[:3])), ("builtin",))
    with pytest.raises(CorpusError, match="--allow-contamination") as caught:
        refuse_contamination(found, "data.jsonl")
    assert TASKS[0].name in str(caught.value)
    assert tuning_findings(found)[0].severity == "alarm"


def test_templated_tasks_are_clean() -> None:
    found = given_tasks(CLEAN, ("builtin",))
    refuse_contamination(found, "data.jsonl")
    assert all(each.severity == "note" for each in tuning_findings(found))
