from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from autonas.evaluation.coding.choices import questions
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.syntax import parsed
from autonas.evaluation.coding.tasks import builtin_tasks, make_task

TASKS = builtin_tasks()


def test_every_task_is_asked_with_its_own_body_first() -> None:
    asked = questions(TASKS, wrong=5, most=64)
    assert [question.task for question in asked] == list(range(20))
    for question in asked:
        task = TASKS[question.task]
        assert question.answers[0] == task.solution.rstrip()
        assert question.signature == task.prompt.split("\n")[0].replace(task.name, "f")
        assert len(set(question.answers)) == len(question.answers) == len(question.neutral) <= 6
        assert question.chance == 1 / len(question.answers)


def test_wrong_bodies_are_programs_in_the_names_of_the_right_one() -> None:
    for question in questions(TASKS, wrong=5, most=64):
        task = TASKS[question.task]
        parameters = task.prompt.split("(")[1].split(")")[0].split(", ")
        for answer, neutral in zip(question.answers, question.neutral, strict=True):
            for text in (task.prompt + answer, question.signature + neutral):
                tree = parsed(text)
                assert tree is not None
                compile(tree, "task", "exec")
            assert any(name in answer for name in parameters)
            assert task.name not in neutral


def test_a_body_that_is_right_too_is_no_wrong_answer() -> None:
    reverse = next(question for question in questions(TASKS, wrong=13, most=64) if TASKS[question.task].name == "reverse_list")
    assert [answer for answer in reverse.answers if "[::-1]" in answer and "==" not in answer] == ["\n    return items[::-1]"]


def test_each_body_is_wrong_in_as_many_questions_as_any_other() -> None:
    def shape(body: str) -> str:
        return re.sub(r"\w+", "w", body)

    counts = Counter(shape(body) for question in questions(TASKS, wrong=3, most=64) for body in question.neutral[1:])
    bodies = Counter(shape(task.solution.rstrip()) for task in TASKS)
    assert set(counts) == set(bodies)
    # Fewer only where a body was left out since it is right too: that of the two tasks that reverse.
    reverse = shape("\n    return text[::-1]")
    assert all(counts[each] == 3 * bodies[each] for each in bodies if each != reverse)
    assert 3 <= counts[reverse] <= 6


def test_fewer_tasks_are_drawn_alike_each_time_and_some_have_no_other() -> None:
    few = questions(TASKS, wrong=2, most=8)
    assert 2 <= len(few) <= 8 and few == questions(TASKS, wrong=2, most=8)
    alone = make_task(name="f", prompt="def f(a, b, c):", entry_point="f", solution="\n    return a", tests="f", source="here")
    assert questions((*TASKS, alone), wrong=2, most=64)[-1].task != 20
    assert questions((alone,), wrong=2, most=64) == ()


def test_published_tasks_can_be_asked(published: Path) -> None:
    tasks = load_tasks(str(published / "HumanEval.jsonl.gz"))
    asked = questions(tasks, wrong=3, most=200)
    assert len(asked) > 150
    assert all(parsed(tasks[question.task].prompt + answer) for question in asked for answer in question.answers)
