"""Does the docstring tell the model anything? Multiple choice between bodies of different tasks, in the same names.

A body is easy or hard to predict whatever it is asked for: short ones, common ones. So an answer's score is what the prompt
adds to it: its nats per token after the prompt less those after the bare signature of a function `f` (domain-conditional PMI,
Holtzman et al. 2021, arXiv 2104.08315). Wrong answers are other tasks' bodies with as many parameters, in the right one's
names: copying the names from the prompt does not help. A model that does not look at the docstring is right by chance.
Without the second term a 3-gram model, which sees nothing of the prompt, prefers the right bodies by .3 nats a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autonas.evaluation.coding.signature import Signature, find_signature, renamed
from autonas.evaluation.coding.tasks import CodingTask

_ORDER_SEED: Final = 20250104  # any fixed number: every model is asked the same
_NEUTRAL: Final = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The place of a task among the tasks, its bare signature, and bodies of which the first is right.

    `neutral` are the same bodies as they stand after the bare signature, where a function that calls itself has its name.
    """

    task: int
    signature: str
    answers: tuple[str, ...]
    neutral: tuple[str, ...]

    @property
    def chance(self) -> float:
        return 1 / len(self.answers)


def questions(tasks: Sequence[CodingTask], wrong: int, most: int) -> tuple[Question, ...]:
    """Questions with at most `wrong` wrong answers for each of at most `most` tasks that others equal in parameters.

    Tasks of a group are each the wrong answer of as many others: a body that is attractive everywhere favours nobody.
    """
    signatures = [find_signature(task.program, task.entry_point) for task in tasks]
    bits = np.random.Philox(_ORDER_SEED).random_raw(len(tasks))
    groups: dict[int, list[int]] = {}
    for place in np.argsort(bits, kind="stable")[:most]:
        if (signature := signatures[place]) is not None:
            groups.setdefault(len(signature.parameters), []).append(int(place))
    asked = []
    for group in groups.values():
        for rank, place in enumerate(group):
            others = [group[(rank + step) % len(group)] for step in range(1, min(wrong, len(group) - 1) + 1)]
            asked.append(_question(tasks, signatures, place, others))
    return tuple(sorted((one for one in asked if len(one.answers) > 1), key=lambda one: one.task))


def _question(
    tasks: Sequence[CodingTask], signatures: Sequence[Signature | None], place: int, others: Sequence[int]
) -> Question:
    own = signatures[place]
    assert own is not None
    pairs = {_body(tasks[place], own, own.name, own): _body(tasks[place], own, _NEUTRAL, own)}
    for other in others:
        theirs = signatures[other]
        assert theirs is not None
        # Two tasks may have the same body, such as reversing a list and a text: it is right for both.
        pairs.setdefault(_body(tasks[other], theirs, own.name, own), _body(tasks[other], theirs, _NEUTRAL, own))
    return Question(
        task=place,
        signature=own.text.replace(f"def {own.name}", f"def {_NEUTRAL}", 1),
        answers=tuple(pairs),
        neutral=tuple(pairs.values()),
    )


def _body(task: CodingTask, written: Signature, name: str, wanted: Signature) -> str:
    """The task's solution with the wanted parameters, calling itself by `name`."""
    names = dict(zip(written.parameters, wanted.parameters, strict=True)) | {written.name: name}
    return renamed(task.solution.rstrip(), names)
