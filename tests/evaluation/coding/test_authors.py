from __future__ import annotations

import numpy as np
import pytest

from autonas.data.dataset import Dataset
from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.coding.answers import encoded_prompt, likeliest, write_answers
from autonas.evaluation.coding.authors import Author, LineCopier, ModelAuthor, NgramAuthor, SpanCopier
from autonas.evaluation.coding.ngram import fit_ngrams
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks
from autonas.evaluation.coding.truncation import FunctionEnd
from autonas.evaluation.collapse import common_uniforms
from autonas.model.decode import Sampling
from autonas.model.sampling import GREEDY
from autonas.model.stopping import NEVER
from autonas.model.transformer import Transformer

TASKS = builtin_tasks()[:4]
SAMPLING = Sampling(temperature=0.8, top_k=20)
UNIFORMS = np.stack([common_uniforms(0, task, sample, 40) for task in range(4) for sample in range(3)])


@pytest.fixture(scope="module")
def tokenizer(dataset: Dataset) -> Tokenizer:
    return dataset.tokenizer


@pytest.fixture(scope="module")
def ngrams(dataset: Dataset) -> NgramAuthor:
    return NgramAuthor(fit_ngrams(dataset.tokens("train"), dataset.vocab_size), SAMPLING)


def prompts(tokenizer: Tokenizer, tasks: tuple[CodingTask, ...] = TASKS) -> list[list[int]]:
    return [encoded_prompt(task, tokenizer) for task in tasks]


def test_a_copier_repeats_the_last_line_up_to_the_limit(tokenizer: Tokenizer) -> None:
    (said,) = LineCopier(tokenizer).write(prompts(tokenizer)[:1], np.zeros((1, 30)), FunctionEnd.of(tokenizer))
    assert len(said) == 30
    assert tokenizer.decode(said).startswith('\n    """Return the sum of a and b."""\n    """Return the sum of a and b."""\n')


def test_a_copier_goes_on_as_the_prompt_did(tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode("a b c d e\nf g a b c")
    (said,) = SpanCopier(tokenizer).write([prompt], np.zeros((1, 6)), NEVER)
    assert tokenizer.decode(said) == " d e\nf g a"
    # Of two places the one with the longer common past, of equal ones the later.
    (said,) = SpanCopier(tokenizer).write([[1, 2, 3, 9, 2, 4, 9, 2, 5, 1, 2]], np.zeros((1, 1)), NEVER)
    assert said == [3]
    (said,) = SpanCopier(tokenizer).write([[1, 2, 3, 9, 2, 5, 8, 2]], np.zeros((1, 1)), NEVER)
    assert said == [5]


def test_a_copier_that_has_nothing_to_go_on_begins_with_the_second_line(tokenizer: Tokenizer) -> None:
    (said,) = SpanCopier(tokenizer).write(prompts(tokenizer)[:1], np.zeros((1, 12)), NEVER)
    assert tokenizer.decode(said).startswith('\n    """Return the sum')


def test_ngram_samples_do_not_depend_on_what_else_is_sampled_and_stop(ngrams: NgramAuthor, tokenizer: Tokenizer) -> None:
    asked = [prompt for prompt in prompts(tokenizer) for _ in range(3)]
    rule = FunctionEnd.of(tokenizer)
    together = ngrams.write(asked, UNIFORMS, rule)
    alone = [ngrams.write([prompt], UNIFORMS[row : row + 1], rule)[0] for row, prompt in enumerate(asked)]
    assert together == alone and len({tuple(tokens) for tokens in together}) > 6
    unstopped = ngrams.write(asked, UNIFORMS, NEVER)
    for short, long in zip(together, unstopped, strict=True):
        assert len(long) == 40 and long[: len(short)] == short and short == long[: rule.kept(long)]


def test_ngrams_at_temperature_0_say_the_likeliest(dataset: Dataset, tokenizer: Tokenizer) -> None:
    model = fit_ngrams(dataset.tokens("train"), dataset.vocab_size)
    prompt = prompts(tokenizer)[0]
    (said,) = NgramAuthor(model, GREEDY).write([prompt], np.zeros((1, 10)), NEVER)
    for place, token in enumerate(said):
        chances = model.distribution([*prompt, *said[:place]])
        assert chances[token] == chances.max()


@pytest.mark.parametrize("which", ["model", "ngrams"])
def test_answers_are_the_seeds_and_the_tasks_own(
    which: str, ngrams: NgramAuthor, model: Transformer, tokenizer: Tokenizer
) -> None:
    author: Author = ngrams if which == "ngrams" else ModelAuthor(model, SAMPLING)
    many = write_answers(author, tokenizer, TASKS, samples=3, new_tokens=24, seed=5)
    assert write_answers(author, tokenizer, TASKS, samples=3, new_tokens=24, seed=5) == many
    assert write_answers(author, tokenizer, TASKS[2:], samples=2, new_tokens=24, seed=5) == [row[:2] for row in many[2:]]
    assert write_answers(author, tokenizer, TASKS, samples=3, new_tokens=24, seed=6) != many
    assert {answer.ending for row in many for answer in row} <= {"function", "end_of_text", "token_limit"}
    for answer in (answer for row in many for answer in row):
        assert (len(answer.tokens) == 24) or answer.ending != "token_limit"
        assert (answer.tokens[-1] == tokenizer.end_of_text) == (answer.ending == "end_of_text")


def test_the_likeliest_answer_says_something_if_any_does(model: Transformer, tokenizer: Tokenizer) -> None:
    (row,) = write_answers(ModelAuthor(model, SAMPLING), tokenizer, TASKS[:1], samples=4, new_tokens=24, seed=5)
    assert not any(answer.empty for answer in row)
    empty = type(row[0])(tokens=(tokenizer.end_of_text,), text="", ending="end_of_text", valid=False)
    assert likeliest([*row, empty], np.array([-3.0, -1.0, -2.0, -1.0, -0.01])) == 1
    assert likeliest([empty, empty], np.array([-3.0, -1.0])) == 1
