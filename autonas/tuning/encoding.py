"""Examples as tokens: end-of-text, prompt, solution, end-of-text. No torch.

Prompt and solution are encoded apart, so that the prompt's tokens are what `Tokenizer.encode_prompt` makes of a prompt alone
when the model is asked. The end-of-text behind the solution is a target like its other tokens: that is how a tuned model stops.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError
from autonas.tuning.examples import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One example: `tokens[:prompt]` carry no loss, the others are targets."""

    tokens: tuple[int, ...]
    prompt: int

    @property
    def solution(self) -> int:
        """How many targets there are, end-of-text counted."""
        return len(self.tokens) - self.prompt

    @property
    def read(self) -> int:
        """How many tokens the model reads: all but the last."""
        return len(self.tokens) - 1


def encode_examples(examples: Sequence[Example], tokenizer: Tokenizer, context: int) -> dict[int, Encoded]:
    """Each example that fits a context, by its number. One that is longer is left out whole: half a solution has no end.

    Raises:
        CorpusError: none fits.
    """
    prompts = tokenizer.encode_batch([each.prompt for each in examples])
    solutions = tokenizer.encode_batch([each.solution for each in examples])
    end = tokenizer.end_of_text
    found: dict[int, Encoded] = {}
    shortest = None
    for number, (prompt, solution) in enumerate(zip(prompts, solutions, strict=True)):
        tokens = (end, *prompt, *solution, end)
        shortest = min(shortest or len(tokens), len(tokens))
        if len(tokens) - 1 <= context:
            found[number] = Encoded(tokens=tokens, prompt=len(prompt) + 1)
    if not found:
        raise CorpusError(
            f"no example fits the model's context of {context} tokens, the shortest takes {(shortest or 1) - 1}; give shorter "
            "ones, or tune a run with a longer context"
        )
    return found


def step_numbers(count: int, batch: int, seed: int, step: int) -> list[int]:
    """The examples of a step: the next of a stream of passes over all of them, each in an order of its own."""
    first = step * batch
    return [int(_order(count, seed, place // count)[place % count]) for place in range(first, first + batch)]


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(count)


def buckets(encoded: Sequence[Encoded], most_tokens: int) -> Iterator[list[int]]:
    """All examples, those of like length together, in batches of at most so many tokens with padding: for evaluation."""
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number].tokens))
    batch: list[int] = []
    for number in order:
        if batch and (len(batch) + 1) * encoded[number].read > most_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
