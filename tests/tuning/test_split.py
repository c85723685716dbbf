"""Training and validation examples: what belongs together is on one side, by what it holds and not by its order."""

from __future__ import annotations

import random

import pytest

from autonas.errors import CorpusError
from autonas.tuning.examples import Example, example_of
from autonas.tuning.split import group_examples, split_examples
from autonas.tuning.templates import templated_tasks

TASKS = tuple(map(example_of, templated_tasks(200, 0).training))
LONG = "\n    total = 0\n    for number in numbers:\n        total += number * number\n    return total / len(numbers)\n"


def sides(examples: tuple[Example, ...], share: float = 0.2) -> tuple[set[str], set[str]]:
    split = split_examples(examples, share)
    return tuple({examples[number].id for number in side} for side in (split.training, split.validation))  # type: ignore[return-value]


def test_no_family_is_on_both_sides() -> None:
    training, validation = ({name.partition("#")[0] for name in side} for side in sides(TASKS))
    assert validation
    assert not training & validation


@pytest.mark.parametrize(
    "pair",
    [
        (("x", "def f(a):", " return a"), ("y", "def  f(a):", " return 1")),
        (("x", "def mean(numbers):", LONG), ("y", "def average_of_squares(numbers):", LONG)),
        (("x#1", "def f(a):", " return a"), ("x#2", "class B:", " pass")),
        (("x", f"def f(numbers):{LONG.rstrip()}", "\n# end"), ("y", f"def f(numbers):{LONG.rstrip()}", "\n# End")),
    ],
    ids=["prompt", "solution", "family", "text"],
)
def test_what_belongs_together_stays_together(pair: tuple[tuple[str, str, str], ...]) -> None:
    both = tuple(Example(id=name, prompt=prompt, solution=solution) for name, prompt, solution in pair)
    assert len(group_examples(both)) == 1
    for share in (0.02, 0.1, 0.3, 0.5):
        training, _ = sides((*TASKS[:50], *both), share)
        assert len(training & {each.id for each in both}) in (0, 2)


def test_a_commonplace_solution_does_not_tie_examples_together() -> None:
    assert len(group_examples(TASKS)) > len(TASKS) // 4


def test_the_split_does_not_depend_on_the_order() -> None:
    shuffled = list(TASKS)
    random.Random(1).shuffle(shuffled)
    assert sides(tuple(shuffled)) == sides(TASKS)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
def test_validation_is_about_the_share_asked_for(share: float) -> None:
    training, validation = sides(TASKS, share)
    assert not training & validation
    assert share * len(TASKS) <= len(validation) <= 2 * share * len(TASKS)
    assert len(training) + len(validation) == len(TASKS)


def test_a_share_of_nothing_is_no_validation() -> None:
    assert split_examples(TASKS, 0.0).validation == ()


def test_examples_that_all_belong_together_cannot_be_split() -> None:
    same = tuple(Example(id=f"a#{number}", prompt=f"p{number}", solution="s") for number in range(9))
    with pytest.raises(CorpusError, match="--validation-share 0"):
        split_examples(same, 0.1)
