"""Who answers the tasks: the model, and the baselines that its figures are read beside. One seam, scored by one code.

An n-gram model knows which tokens follow which. Two copiers know nothing but the prompt: one repeats its last line, one goes
on as the prompt did the last time it said the same, which is what an induction head does (Olsson et al. 2022, arXiv
2209.11895). A rate that a copier reaches is no evidence of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.coding.likelihood import Asked, Tokens, continuation_nats
from autonas.evaluation.coding.ngram import NgramModel
from autonas.model.decode import Sampling, StopRule, generate
from autonas.model.sampling import choose_tokens
from autonas.model.stopping import Completions
from autonas.model.transformer import Transformer

_LONGEST_MATCH: Final = 16  # tokens
_CHECK_STEPS: Final = 4


class Author(Protocol):
    """Goes on after prompts, and says how likely it finds texts."""

    name: str
    what: str  # it is, in words
    draws: bool  # whether samples of a prompt differ

    def write(self, prompts: Sequence[Tokens], uniforms: NDArray[np.float64], stop: StopRule) -> list[list[int]]:
        """The new tokens after each prompt, up to where `stop` ends them. `uniforms` (prompts, most new tokens) decide."""
        ...

    def nats(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]] | None:
        """As `likelihood.continuation_nats`; None from who has no probabilities."""
        ...


class ModelAuthor:
    """The model under test."""

    def __init__(
        self, model: Transformer, sampling: Sampling, make_way: Callable[[], object] = lambda: None, what: str = "the model"
    ) -> None:
        self.name, self.what, self.draws = "model", what, sampling.draws
        self._model, self._sampling, self._make_way = model, sampling, make_way

    def write(self, prompts: Sequence[Tokens], uniforms: NDArray[np.float64], stop: StopRule) -> list[list[int]]:
        return generate(
            self._model,
            prompts,
            max_new_tokens=uniforms.shape[1],
            sampling=self._sampling,
            uniforms=uniforms,
            stop=stop,
            make_way=self._make_way,
        )

    def nats(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
        return continuation_nats(self._model, asked, self._make_way)


class NgramAuthor:
    """Kneser–Ney, sampled as the model is."""

    def __init__(self, ngrams: NgramModel, sampling: Sampling) -> None:
        self.name, self.draws = f"{ngrams.order}-gram", sampling.draws
        self.what = f"interpolated Kneser–Ney of {ngrams.num_tokens:,} training tokens, sampled as the model is"
        self._ngrams, self._sampling = ngrams, sampling

    def write(self, prompts: Sequence[Tokens], uniforms: NDArray[np.float64], stop: StopRule) -> list[list[int]]:
        completions = Completions(len(prompts), stop)
        said: list[list[int]] = [[] for _ in prompts]
        told, reach = 0, self._ngrams.order - 1
        for step in range(uniforms.shape[1]):
            rows = [row for row in range(len(prompts)) if not completions.ended(row)]
            if not rows:
                break
            ends = [tuple([*prompts[row][-reach:], *said[row]][-reach:]) for row in rows]
            # Rows that stand at the same tokens share a distribution.
            known = {end: np.log(self._ngrams.distribution(end)) for end in dict.fromkeys(ends)}
            logits = torch.from_numpy(np.stack([known[end] for end in ends]))
            tokens = choose_tokens(logits, self._sampling, torch.from_numpy(uniforms[rows, step])).tolist()
            for row, token in zip(rows, tokens, strict=True):
                said[row].append(token)
            if (step + 1) % _CHECK_STEPS == 0 or step + 1 == uniforms.shape[1]:
                completions.add(rows, [said[row][told : step + 1] for row in rows])
                told = step + 1
        return completions.tokens

    def nats(self, asked: Sequence[Asked]) -> list[NDArray[np.float64]]:
        return [-np.log(self._ngrams.probabilities([*before, *scored], len(before))) for before, scored in asked]


class LineCopier:
    """Says the prompt's last line again and again."""

    name, what, draws = "copies the last line", "repeats the prompt's last line", False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def write(self, prompts: Sequence[Tokens], uniforms: NDArray[np.float64], stop: StopRule) -> list[list[int]]:
        completions = []
        for prompt in prompts:
            line = self._tokenizer.encode("\n" + self._tokenizer.decode(list(prompt)).rpartition("\n")[2])
            tokens = (line * uniforms.shape[1])[: uniforms.shape[1]]
            completions.append(tokens[: stop.kept(tokens)])
        return completions

    def nats(self, asked: Sequence[Asked]) -> None:
        return None


class SpanCopier:
    """Goes on as after the latest earlier place with the longest equal end, of at most 16 tokens; else with the second line."""

    name, what, draws = "copies a span", "goes on as the text did where it said the same before", False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def write(self, prompts: Sequence[Tokens], uniforms: NDArray[np.float64], stop: StopRule) -> list[list[int]]:
        completions = []
        for prompt in prompts:
            tokens = list(prompt)
            breaks = (place for place, token in enumerate(tokens) if "\n" in self._tokenizer.decode([token]))
            second = next(breaks, len(tokens) - 1)
            for _ in range(uniforms.shape[1]):
                tokens.append(tokens[_latest_match(tokens) or second])
            new = tokens[len(prompt) :]
            completions.append(new[: stop.kept(new)])
        return completions

    def nats(self, asked: Sequence[Asked]) -> None:
        return None


def _latest_match(tokens: Sequence[int]) -> int:
    """The place after the latest earlier occurrence of the longest end of `tokens`; 0 if its last token is new."""
    best, longest = 0, 0
    last = len(tokens) - 1
    for place in range(last - 1, -1, -1):
        length = 0
        while length < min(_LONGEST_MATCH, place + 1) and tokens[place - length] == tokens[last - length]:
            length += 1
        if length > longest:
            best, longest = place + 1, length
    return best
