"""An author's answers to tasks: written, cut where the function ends, and checked. Nothing is counted here."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.coding.authors import Author
from autonas.evaluation.coding.syntax import is_valid
from autonas.evaluation.coding.tasks import CodingTask
from autonas.evaluation.coding.truncation import FunctionEnd, function_end, truncate
from autonas.evaluation.collapse import common_uniforms
from autonas.evaluation.sandbox import Sandbox, Verdict

INVALID = "invalid"  # the status of an answer that is no program, which cannot pass and is not run


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`tokens` are as they were written, with the end-of-text that ended them; `text` is cut at the function's end."""

    tokens: tuple[int, ...]
    text: str
    ending: Literal["function", "end_of_text", "token_limit"]
    valid: bool

    @property
    def empty(self) -> bool:
        return not self.text.strip()


def encoded_prompt(task: CodingTask, tokenizer: Tokenizer) -> list[int]:
    """As documents begin: with end-of-text."""
    return [tokenizer.end_of_text, *tokenizer.encode(task.prompt)]


def write_answers(
    author: Author, tokenizer: Tokenizer, tasks: Sequence[CodingTask], *, samples: int, new_tokens: int, seed: int
) -> list[list[Answer]]:
    """(tasks, samples). The random numbers are the seed's and the task's: common to all authors, whatever else is asked."""
    prompts = [encoded_prompt(task, tokenizer) for task in tasks]
    uniforms = [common_uniforms(seed, _number(task), sample, new_tokens) for task in tasks for sample in range(samples)]
    written = author.write(
        [prompt for prompt in prompts for _ in range(samples)], np.stack(uniforms), FunctionEnd.of(tokenizer)
    )
    answers = [
        _answer(task, written[place * samples + sample], tokenizer, new_tokens)
        for place, task in enumerate(tasks)
        for sample in range(samples)
    ]
    return [answers[place * samples : (place + 1) * samples] for place in range(len(tasks))]


def _number(task: CodingTask) -> int:
    return int.from_bytes(hashlib.blake2b(task.name.encode(), digest_size=4).digest(), "little")


def _answer(task: CodingTask, tokens: list[int], tokenizer: Tokenizer, new_tokens: int) -> Answer:
    said = tokenizer.decode(tokens)
    text = truncate(said)
    ended = function_end(said) is not None
    ending: Literal["function", "end_of_text", "token_limit"]
    ending = "function" if ended else "token_limit" if len(tokens) == new_tokens else "end_of_text"
    kept = (*tokens, tokenizer.end_of_text) if ending == "end_of_text" else tuple(tokens)
    return Answer(tokens=kept, text=text, ending=ending, valid=is_valid(task.prompt, text))


def check_answers(
    tasks: Sequence[CodingTask],
    answers: Sequence[Sequence[Answer]],
    sandbox: Sandbox,
    on_done: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[list[list[str]], list[list[bool]], int]:
    """How each check ended and whether the answer passed, (tasks, samples), and how many programs were run.

    Equal programs are run once. What is no program is not run: it cannot pass. `on_done` is told how many have been run.
    """
    programs = [
        (task.prompt + answer.text, task.tests, task.entry_point)
        for task, row in zip(tasks, answers, strict=True)
        for answer in row
        if answer.valid
    ]
    distinct = list(dict.fromkeys(programs))
    done = itertools.count(1)

    def tell(place: int, verdict: Verdict) -> None:
        on_done(next(done), len(distinct))

    verdicts = dict(zip(distinct, sandbox.check_all(distinct, on_done=tell), strict=True))
    statuses: list[list[str]] = []
    passed: list[list[bool]] = []
    for task, row in zip(tasks, answers, strict=True):
        found = [verdicts[task.prompt + answer.text, task.tests, task.entry_point] if answer.valid else None for answer in row]
        statuses.append([INVALID if verdict is None else verdict.status for verdict in found])
        passed.append([verdict is not None and verdict.passed for verdict in found])
    return statuses, passed, len(distinct)


def mean_log_likelihoods(
    author: Author,
    tokenizer: Tokenizer,
    tasks: Sequence[CodingTask],
    answers: Sequence[Sequence[Answer]],
) -> list[NDArray[np.float64]] | None:
    """Of each answer, (tasks, samples), per token, at temperature 1; None from an author without probabilities."""
    asked = [
        (encoded_prompt(task, tokenizer), answer.tokens) for task, row in zip(tasks, answers, strict=True) for answer in row
    ]
    nats = author.nats(asked)
    if nats is None:
        return None
    means = np.array([-float(each.mean()) for each in nats])
    return np.split(means, np.cumsum([len(row) for row in answers])[:-1])


def likeliest(answers: Sequence[Answer], log_likelihoods: NDArray[np.float64]) -> int:
    """The place of the answer that says anything and has the highest log-likelihood per token; the first of equal ones."""
    candidates = [place for place, answer in enumerate(answers) if not answer.empty] or list(range(len(answers)))
    return max(candidates, key=lambda place: (log_likelihoods[place], -place))
