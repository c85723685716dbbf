"""What scoring coding tasks is asked and says, as data; to JSON and back by trial.to_json and from_json. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autonas.errors import RequestError
from autonas.trial import Finding, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class CodingSettings:
    """How the tasks are asked.

    Raises:
        RequestError: a number that cannot be.
    """

    samples: int = 10  # of each task
    ks: tuple[int, ...] = (1, 5, 10)  # of pass@k; those above `samples` are left out
    temperature: float = 0.7
    top_k: int | None = 40
    new_tokens: int = 96  # at most, and at most half of the model's context
    questions: int = 64  # of multiple choice, at most; drawn once and for all where there are more tasks
    wrong_answers: int = 5  # of each
    ngram_order: int = 3
    ngram_tokens: int = 8_000_000  # of the training tokens, the first ones, that the n-gram model is fitted on

    def __post_init__(self) -> None:
        for name in ("samples", "new_tokens", "questions", "wrong_answers", "ngram_order", "ngram_tokens"):
            if getattr(self, name) < 1:
                raise RequestError(f"coding.{name} is {getattr(self, name)}; give a whole number of at least 1.")
        if not self.ks or min(self.ks) < 1:
            raise RequestError(f"coding.ks is {self.ks}; give whole numbers of at least 1, such as 1 and {self.samples}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One author's answers to one task. Counts are of its samples."""

    name: str
    samples: int
    passed: int
    valid: int  # programs, of a statement more than the prompt
    empty: int
    token_limit: int  # answers that nothing but the limit ended
    verdicts: Mapping[str, int]  # how the checks ended; "invalid" were not run
    best_passed: bool | None = None  # the likeliest answer; None where likelihoods are not defined
    answer: str = ""  # the likeliest answer, or the first one
    nats: float | None = None  # of the reference, given the prompt
    tokens: int = 0  # of the reference
    bytes: int = 0
    choice: float | None = None  # share of the question: 1 right, 0 wrong, between them a tie
    margin: float | None = None  # nats a token by which the prompt favours the right body over the mean wrong one


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorScores:
    """What one author reached: the model, or a baseline scored by the same code."""

    name: str
    what: str
    samples: int  # of each task: 1 of who always says the same
    pass_at: Mapping[str, Score]  # by k
    best_of_n: Score | None
    syntax: Score
    empty: Score
    token_limit: Score
    nats_per_token: Score | None
    bits_per_byte: Score | None
    choice: Score | None  # share of multiple-choice questions
    choice_chance: float | None  # of a model that does not look at the docstring
    margin: Score | None
    tasks: tuple[TaskRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodingReport:
    """Coding tasks as a model answered them, with what a reader needs to believe it."""

    source: str
    num_tasks: int
    settings: CodingSettings
    new_tokens: int  # as used
    model: AuthorScores
    baselines: tuple[AuthorScores, ...]
    reference: Score  # the references, cut, checked and counted as answers are: 1, or the benchmark is broken
    walls: tuple[str, ...]  # of the sandbox
    programs: int  # run
    seconds: float
    how: str
    findings: tuple[Finding, ...] = ()
