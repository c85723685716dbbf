"""Examples as tokens: the prompt's are those of the prompt alone, end-of-text is learnt, what is too long is left out whole."""

from __future__ import annotations

import pytest

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.coding.answers import encoded_prompt
from autonas.tuning.encoding import Encoded, buckets, encode_examples, step_numbers
from autonas.tuning.examples import Example, make_example


def test_a_prompt_is_encoded_as_it_is_when_the_model_is_asked(dataset: Dataset, examples: tuple[Example, ...]) -> None:
    encoded = encode_examples(examples, dataset.tokenizer, 64)
    for number, each in encoded.items():
        tokens = list(each.tokens[: each.prompt])
        assert tokens == dataset.tokenizer.encode_prompt(examples[number].prompt + "\n    ")
        task = examples[number].task
        assert task is not None
        assert tokens == encoded_prompt(task, dataset.tokenizer), "`autonas evaluate` asks alike"


def test_tokens_say_what_the_example_says_and_end_with_end_of_text(dataset: Dataset, examples: tuple[Example, ...]) -> None:
    for number, each in encode_examples(examples, dataset.tokenizer, 64).items():
        assert dataset.tokenizer.decode(each.tokens) == examples[number].text
        assert each.tokens[0] == each.tokens[-1] == dataset.tokenizer.end_of_text
        assert dataset.tokenizer.decode(each.tokens[each.prompt :]) == examples[number].solution


def test_an_indent_behind_a_line_break_is_one_token_wherever_the_prompt_ended(dataset: Dataset) -> None:
    found = encode_examples(
        [
            make_example("1", prompt="def f(a):\n", solution="    return a\n"),
            make_example("2", prompt="def f(a):", solution="\n    return a\n"),
        ],
        dataset.tokenizer,
        64,
    )
    assert found[0] == found[1]


def test_what_is_longer_than_the_context_is_left_out_and_never_cut(dataset: Dataset) -> None:
    examples = [make_example(str(n), prompt="a = 1\n", solution="b = 2\n" * n) for n in range(1, 60)]
    encoded = encode_examples(examples, dataset.tokenizer, 64)
    assert 0 < len(encoded) < len(examples)
    assert max(each.read for each in encoded.values()) <= 64
    assert all(dataset.tokenizer.decode(encoded[number].tokens) == examples[number].text for number in encoded)
    with pytest.raises(CorpusError, match="no example fits the model's context of 4 tokens"):
        encode_examples(examples, dataset.tokenizer, 4)


def test_every_pass_shows_every_example_once_in_an_order_of_its_own() -> None:
    shown = [number for step in range(14) for number in step_numbers(28, 4, 5, step)]
    passes = [shown[first : first + 28] for first in (0, 28)]
    assert all(sorted(each) == list(range(28)) for each in passes)
    assert passes[0] != passes[1]
    assert step_numbers(28, 4, 6, 0) != step_numbers(28, 4, 5, 0)


def test_buckets_hold_every_example_once_and_no_more_tokens_than_asked() -> None:
    encoded = [Encoded(tokens=tuple(range(2 + 7 * number % 40)), prompt=1) for number in range(1, 30)]
    found = list(buckets(encoded, 100))
    assert sorted(number for batch in found for number in batch) == list(range(len(encoded)))
    assert all(len(batch) == 1 or len(batch) * max(encoded[n].read for n in batch) <= 100 for batch in found)
