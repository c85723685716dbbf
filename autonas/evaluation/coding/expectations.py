"""What an author expects, without writing anything: the references' likelihood, and multiple-choice questions answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.coding.answers import encoded_prompt
from autonas.evaluation.coding.authors import Author
from autonas.evaluation.coding.choices import Question
from autonas.evaluation.coding.likelihood import Asked
from autonas.evaluation.coding.tasks import CodingTask

_TIE: Final = 1e-9  # nats


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Summed nats of each task's reference, and its tokens and bytes, (tasks,)."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a question was answered: `share` is 1 for the right body, 1 / m where it is one of m equally good ones."""

    task: int
    share: float
    margin: float


def reference_nats(author: Author, tokenizer: Tokenizer, tasks: Sequence[CodingTask]) -> References | None:
    """Of the references without the white space at their end; None from an author without probabilities."""
    bodies = [task.solution.rstrip() for task in tasks]
    asked = [(encoded_prompt(task, tokenizer), tokenizer.encode(body)) for task, body in zip(tasks, bodies, strict=True)]
    nats = author.nats(asked)
    if nats is None:
        return None
    return References(
        nats=np.array([float(each.sum()) for each in nats]),
        tokens=np.array([len(scored) for _, scored in asked]),
        bytes=np.array([len(body.encode()) for body in bodies]),
    )


def answer_questions(
    author: Author, tokenizer: Tokenizer, tasks: Sequence[CodingTask], asked: Sequence[Question]
) -> list[Choice] | None:
    """Each question answered by what the prompt adds to each body (choices.py); None as above."""
    pairs: list[Asked] = []
    for question in asked:
        prompt = encoded_prompt(tasks[question.task], tokenizer)
        bare = [tokenizer.end_of_text, *tokenizer.encode(question.signature)]
        pairs += [(prompt, tokenizer.encode(body)) for body in question.answers]
        pairs += [(bare, tokenizer.encode(body)) for body in question.neutral]
    found = author.nats(pairs)
    if found is None:
        return None
    means = iter([float(each.mean()) for each in found])
    choices = []
    for question in asked:
        after = np.array([next(means) for _ in question.answers])
        without = np.array([next(means) for _ in question.neutral])
        added = after - without  # nats a token: the lower, the more the prompt speaks for it
        best = added <= added.min() + _TIE
        share = float(best[0]) / int(best.sum())
        choices.append(Choice(task=question.task, share=share, margin=float(added[1:].mean() - added[0])))
    return choices
