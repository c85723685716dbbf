"""Coding tasks scored: what a model and its baselines reach, by one code, with intervals, and what a reader must know of it.

A tiny model passes nothing: then the likelihoods tell models apart, and pass@k says at most how much it could be.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.errors import RequestError
from autonas.evaluation.coding.answers import (
    INVALID,
    Answer,
    check_answers,
    likeliest,
    mean_log_likelihoods,
    write_answers,
)
from autonas.evaluation.coding.authors import Author, LineCopier, ModelAuthor, NgramAuthor, SpanCopier
from autonas.evaluation.coding.choices import Question, questions
from autonas.evaluation.coding.expectations import Choice, References, answer_questions, reference_nats
from autonas.evaluation.coding.findings import coding_findings
from autonas.evaluation.coding.likelihood import clustered_score
from autonas.evaluation.coding.ngram import fit_ngrams
from autonas.evaluation.coding.passk import best_of_n, mean_over_tasks, pass_rate
from autonas.evaluation.coding.records import AuthorScores, CodingReport, CodingSettings, TaskRow
from autonas.evaluation.coding.syntax import is_valid
from autonas.evaluation.coding.tasks import CodingTask
from autonas.evaluation.coding.truncation import truncate
from autonas.evaluation.rates import pooled_rate
from autonas.evaluation.sandbox import Sandbox, describe
from autonas.model.decode import Sampling
from autonas.model.transformer import Transformer
from autonas.trial import Score

CHOSEN_BY: Final = "mean log-likelihood per token (end-of-text counted, at temperature 1) of the answers that are not empty"
_NAT: Final = float(np.log(2))

Progress = Callable[[str, int, int], object]  # who is scored; how many programs of how many have been run
Told = Callable[[int, int], object]


def score_coding(
    model: Transformer,
    tokenizer: Tokenizer,
    tasks: Sequence[CodingTask],
    settings: CodingSettings,
    sandbox: Sandbox,
    *,
    seed: int,
    training_tokens: NDArray[np.integer[Any]] | None = None,
    make_way: Callable[[], object] = lambda: None,
    progress: Progress = lambda what, done, total: None,
) -> CodingReport:
    """What the model makes of `tasks`, beside an n-gram model of its `training_tokens` and two copiers.

    The references are checked first, as answers are: tasks whose reference fails are named in an alarm. `make_way` is called
    between new tokens and batches. The same seed, model and tasks give the same answers.

    Raises:
        RequestError: no task, or n-grams of an order that no number holds.
        ResourceError: the sandbox cannot start a process.
    """
    if not tasks:
        raise RequestError("no coding task to score; name a file that holds some.")
    begun = time.perf_counter()
    new_tokens = min(settings.new_tokens, model.spec.context_length // 2)
    sampling = Sampling(temperature=settings.temperature, top_k=settings.top_k)
    authors: list[Author] = [ModelAuthor(model, sampling, make_way)]
    if training_tokens is not None:
        shown = training_tokens[: settings.ngram_tokens]
        authors.append(NgramAuthor(fit_ngrams(shown, tokenizer.vocab_size, settings.ngram_order), sampling))
    authors += [LineCopier(tokenizer), SpanCopier(tokenizer)]
    reference, failing = _check_references(tasks, sandbox, functools.partial(progress, "references"))
    asked = questions(tasks, settings.wrong_answers, settings.questions)
    scores, programs = [], len(tasks)
    for author in authors:
        progress(author.name, 0, 1)
        told = functools.partial(progress, author.name)
        found, run = _score_author(author, tokenizer, tasks, asked, settings, new_tokens, sandbox, seed, told)
        scores.append(found)
        programs += run
    return CodingReport(
        source=", ".join(dict.fromkeys(task.source for task in tasks)),
        num_tasks=len(tasks),
        settings=settings,
        new_tokens=new_tokens,
        model=scores[0],
        baselines=tuple(scores[1:]),
        reference=reference,
        walls=tuple(describe(sandbox.walls)),
        programs=programs,
        seconds=time.perf_counter() - begun,
        how=_how(settings, new_tokens, seed),
        findings=coding_findings(scores, failing, asked, training_tokens is None),
    )


def _check_references(tasks: Sequence[CodingTask], sandbox: Sandbox, told: Told) -> tuple[Score, list[str]]:
    """The references through everything that an answer goes through, and the names of those that fail."""
    answers = [
        [Answer(tokens=(), text=text, ending="function", valid=is_valid(task.prompt, text))]
        for task in tasks
        for text in [truncate(task.solution)]
    ]
    _, passed, _ = check_answers(tasks, answers, sandbox, told)
    failing = [task.name for task, row in zip(tasks, passed, strict=True) if not row[0]]
    share = 1 - len(failing) / len(tasks)
    return Score.exact(share, "share", "references that pass, cut and checked as answers are"), failing


def _score_author(
    author: Author,
    tokenizer: Tokenizer,
    tasks: Sequence[CodingTask],
    asked: Sequence[Question],
    settings: CodingSettings,
    new_tokens: int,
    sandbox: Sandbox,
    seed: int,
    told: Told,
) -> tuple[AuthorScores, int]:
    """What one author reaches, and how many programs of its were run."""
    samples = settings.samples if author.draws else 1
    answers = write_answers(author, tokenizer, tasks, samples=samples, new_tokens=new_tokens, seed=seed)
    statuses, passed, run = check_answers(tasks, answers, sandbox, told)
    likelihoods = mean_log_likelihoods(author, tokenizer, tasks, answers)
    chosen = None if likelihoods is None else [likeliest(*both) for both in zip(answers, likelihoods, strict=True)]
    references = reference_nats(author, tokenizer, tasks)
    choices = answer_questions(author, tokenizer, tasks, asked)
    rows = _rows(tasks, answers, statuses, passed, chosen)
    limited = [[answer.ending == "token_limit" for answer in row] for row in answers]
    return AuthorScores(
        name=author.name,
        what=author.what,
        samples=samples,
        pass_at={str(k): pass_rate(passed, k) for k in sorted({1, *(k for k in settings.ks if k <= samples)})},
        best_of_n=None if chosen is None else best_of_n(passed, chosen, CHOSEN_BY),
        syntax=_share([[answer.valid for answer in row] for row in answers], "programs that compile and add a statement"),
        empty=_share([[answer.empty for answer in row] for row in answers], "empty answers"),
        token_limit=_share(limited, f"answers that were cut at {new_tokens} tokens"),
        **_expected(references, choices, asked),
        tasks=_with_expectations(rows, references, choices),
    ), run


def _rows(
    tasks: Sequence[CodingTask],
    answers: Sequence[Sequence[Answer]],
    statuses: Sequence[Sequence[str]],
    passed: Sequence[Sequence[bool]],
    chosen: Sequence[int] | None,
) -> list[TaskRow]:
    return [
        TaskRow(
            name=task.name,
            samples=len(answers[place]),
            passed=sum(passed[place]),
            valid=sum(answer.valid for answer in answers[place]),
            empty=sum(answer.empty for answer in answers[place]),
            token_limit=sum(answer.ending == "token_limit" for answer in answers[place]),
            verdicts={status: statuses[place].count(status) for status in sorted(set(statuses[place]))},
            best_passed=None if chosen is None else passed[place][chosen[place]],
            answer=answers[place][0 if chosen is None else chosen[place]].text,
        )
        for place, task in enumerate(tasks)
    ]


def _with_expectations(
    rows: Sequence[TaskRow], references: References | None, choices: Sequence[Choice] | None
) -> tuple[TaskRow, ...]:
    filled = list(rows)
    if references is not None:
        each = zip(references.nats.tolist(), references.tokens.tolist(), references.bytes.tolist(), strict=True)
        filled = [
            dataclasses.replace(row, nats=nats, tokens=tokens, bytes=num_bytes)
            for row, (nats, tokens, num_bytes) in zip(rows, each, strict=True)
        ]
    for choice in choices or ():
        filled[choice.task] = dataclasses.replace(filled[choice.task], choice=choice.share, margin=choice.margin)
    return tuple(filled)


def _expected(references: References | None, choices: Sequence[Choice] | None, asked: Sequence[Question]) -> dict[str, Any]:
    """The fields of `AuthorScores` that need no answer; all None from an author without probabilities."""
    found: dict[str, Any] = dict.fromkeys(("nats_per_token", "bits_per_byte", "choice", "choice_chance", "margin"))
    if references is not None:
        of = "of the references, given the prompt"
        tokens, num_bytes = references.tokens, references.bytes
        found["nats_per_token"] = clustered_score(references.nats, tokens, "nats/token", f"{tokens.sum():,} tokens {of}")
        bits = references.nats / _NAT
        found["bits_per_byte"] = clustered_score(bits, num_bytes, "bits/byte", f"{num_bytes.sum():,} bytes {of}")
    if choices:
        shares, margins = (np.array(values) for values in zip(*((each.share, each.margin) for each in choices), strict=True))
        what = "by which the prompt favours the right body over the mean wrong one, 0 if it is not understood"
        found["choice"] = mean_over_tasks(shares, "right bodies chosen")
        found["choice_chance"] = float(np.mean([question.chance for question in asked]))
        found["margin"] = clustered_score(margins, np.ones(len(choices), dtype=np.int64), "nats/token", what)
    return found


def _share(hits: Sequence[Sequence[bool]], what: str) -> Score:
    """A share of answers with Wilson's interval, of as many as they are worth: those of one task are alike."""
    rate = pooled_rate([hits])
    note = f"{what}; {sum(map(len, hits))} of {len(hits)} tasks, worth {rate.effective:.0f} independent ones"
    return Score(value=rate.value, low=rate.low, high=rate.high, unit="share", n=max(1, round(rate.effective)), note=note)


def _how(settings: CodingSettings, new_tokens: int, seed: int) -> str:
    top = "" if settings.top_k is None else f", top-k {settings.top_k}"
    return (
        f"{settings.samples} samples a task at temperature {settings.temperature:g}{top}, random numbers of seed {seed}, "
        f"at most {new_tokens} new tokens; an answer ends at end-of-text or before the first statement at column 0 after the "
        f"body; what does not compile is not run ({INVALID}), equal programs are run once"
    )
