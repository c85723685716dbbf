"""Are a continuation's tokens like those of real text? What no loop detector sees: babble, noise, and ends at once.

Four statistics of the tokens are held against those of real continuations of the same length: of passages of held-out
documents, and of the continuations that the embedded prompts have (python_continuations.py). A continuation farther from their
mean than nearly all of them is outside their range. Without torch.

Measured on the standard library's source at temperature 0.7 and top-k 40, outside are 1.5 % of other real passages, all samples
of an untrained model and of a unigram model, 85 % of a bigram model's, half of a tiny model's after 60 K tokens and a tenth of
its samples after 1.5 M.

L new tokens, V vocabulary, four statistics S.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.baselines import BigramCounts, bigram_probabilities, count_bigrams, unigram_probabilities

# Raise it when rates of before and after are not to be compared.
RANGE_VERSION: Final = "range-1"
STATISTICS: Final = ("rarity", "surprise", "novelty", "variety")
SHORTEST: Final = 4  # tokens; real continuations are longer, and fewer have no statistics
# Share of real continuations that may lie farther out: what the rate of real text itself is.
_OUTSIDE_SHARE: Final = 0.01
_PASSAGES: Final = 3000
_FEWEST_PASSAGES: Final = 100
_FITTED_TOKENS: Final = 8_000_000  # of the training split: seconds, and beyond it little changes
_SEED: Final = 20250103
Floats = NDArray[np.floating[Any]]

_RIDGE: Final = 1e-4  # of each variance: short passages may not vary at all in one statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRange:
    """Where the statistics of real continuations lie, at every length from `SHORTEST` to L."""

    bigrams: BigramCounts
    rarities: Floats  # (V,)
    trigrams: NDArray[np.int64]  # sorted codes of those that stand in the training text
    means: Floats  # (L + 1, S), by length
    precisions: Floats  # (L + 1, S, S)
    limits: Floats  # (L + 1,) largest squared distance
    num_passages: int

    @property
    def length(self) -> int:
        return len(self.limits) - 1

    def outside(self, before: Sequence[Sequence[int]], made: Sequence[Sequence[int]]) -> list[str]:
        """Why each continuation in `made`, going on from the tokens `before` it, is outside the range; "" where it is not.

        "range:short" for fewer than four tokens, else the statistic that is farthest off, as "range:surprise high". Judged are
        the first L tokens. There is at least one token before each: real text has end-of-text there.
        """
        rows = np.zeros((len(made), 2 + self.length), dtype=np.int64)
        lengths = np.array([min(len(tokens), self.length) for tokens in made], dtype=np.int64)
        for row, earlier, tokens, length in zip(rows, before, made, lengths, strict=True):
            row[: 2 + length] = [*earlier[-2:][:1], earlier[-1], *tokens[: self.length]]
        values = _running_means(_per_token(rows, self.bigrams, self.rarities, self.trigrams))
        return [self._reason(values[row, max(int(length) - 1, 0)], int(length)) for row, length in enumerate(lengths)]

    def _reason(self, values: Floats, length: int) -> str:
        if length < SHORTEST:
            return "range:short"
        off = values - self.means[length]
        pull = self.precisions[length] @ off
        if float(off @ pull) <= self.limits[length]:
            return ""
        # What each statistic adds to the squared distance; together they are all of it.
        worst = int(np.argmax(off * pull))
        return f"range:{STATISTICS[worst]} {'high' if off[worst] > 0 else 'low'}"


def token_range(dataset: Dataset, length: int, continuations: Sequence[tuple[str, str]] = ()) -> TokenRange:
    """The range at up to `length` tokens for a data set; `continuations` are (prompt, real continuation) that are inside it.

    Statistics are means over the tokens: of the surprisal under a unigram model ("rarity") and a bigram model of the
    training text ("surprise"; baselines.py), of whether the trigram is new to that text ("novelty"), and of whether the token
    is new to the continuation ("variety", distinct-1). Squared distances are Mahalanobis's (1936), with means and covariances
    of the real continuations of that very length; the limit is what 1 % of them exceed.

    Raises:
        CorpusError: the held-out documents have too few passages of this length.
    """
    return _token_range(str(dataset.folder), dataset.fingerprint, length, tuple(continuations))


@functools.lru_cache(maxsize=4)
def _token_range(folder: str, fingerprint: str, length: int, continuations: tuple[tuple[str, str], ...]) -> TokenRange:
    dataset = Dataset.open(folder, fingerprint)
    size = dataset.vocab_size
    train = np.asarray(dataset.tokens("train")[:_FITTED_TOKENS], dtype=np.int64)
    bigrams = count_bigrams(train[None], size)
    rarities = -np.log(unigram_probabilities(bigrams, np.arange(size)))
    trigrams = np.unique((train[:-2] * size + train[1:-1]) * size + train[2:])
    passages = _passages(dataset, length)
    if len(passages) < _FEWEST_PASSAGES:
        raise CorpusError(
            f"the held-out documents have {len(passages)} passages of {length} tokens, too few (of {_FEWEST_PASSAGES}) to know "
            "what real continuations are like; give a larger corpus, or take the objective collapse_rate"
        )
    means = _running_means(_per_token(passages, bigrams, rarities, trigrams))  # (passages, L, S)
    written = [_written(dataset, prompt, text, length, bigrams, rarities, trigrams) for prompt, text in continuations]
    centres, precisions = np.zeros((length + 1, len(STATISTICS))), np.zeros((length + 1, len(STATISTICS), len(STATISTICS)))
    limits = np.zeros(length + 1)
    for tokens in range(SHORTEST, length + 1):
        at = means[:, tokens - 1]
        centre, covariance = at.mean(axis=0), np.cov(at.T)
        covariance += np.diag(_RIDGE * np.maximum(np.diag(covariance), _RIDGE))
        precision = np.linalg.inv(covariance)
        own = np.array([row[tokens - 1] for row in written if len(row) >= tokens]).reshape(-1, len(STATISTICS))
        limit = np.quantile(_squared(at - centre, precision), 1 - _OUTSIDE_SHARE)
        limits[tokens] = max(limit, *_squared(own - centre, precision)) if len(own) else limit
        centres[tokens], precisions[tokens] = centre, precision
    return TokenRange(
        bigrams=bigrams,
        rarities=rarities,
        trigrams=trigrams,
        means=centres,
        precisions=precisions,
        limits=limits,
        num_passages=len(passages),
    )


def _squared(off: Floats, precision: Floats) -> Floats:
    squared: Floats = np.einsum("ns,st,nt->n", off, precision, off)
    return squared


def _passages(dataset: Dataset, length: int) -> NDArray[np.int64]:
    """(passages, 2 + L) tokens from anywhere in held-out documents: two, and the L that follow them."""
    found = []
    for split in ("validation", "test"):
        tokens, starts = np.asarray(dataset.tokens(split)), dataset.documents(split).starts
        # Up to a document's end-of-text, which is its last token.
        begins = np.concatenate(
            [np.arange(start + 2, max(end - length, start + 2)) for start, end in itertools.pairwise(starts)]
        )
        # By sorting raw bits: NumPy promises these to stay the same in later versions.
        order = np.argsort(np.random.Philox(_SEED).random_raw(len(begins)), kind="stable")[: _PASSAGES // 2]
        found.append(tokens[begins[order, None] + np.arange(-2, length)].astype(np.int64))
    return np.concatenate(found)


def _written(
    dataset: Dataset,
    prompt: str,
    text: str,
    length: int,
    bigrams: BigramCounts,
    rarities: Floats,
    trigrams: NDArray[np.int64],
) -> Floats:
    """(tokens, S) running means of a written continuation of at most L tokens."""
    before = [dataset.tokenizer.end_of_text, *dataset.tokenizer.encode(prompt)]
    row = np.array([*before[-2:], *dataset.tokenizer.encode(text)[:length]], dtype=np.int64)[None]
    means: Floats = _running_means(_per_token(row, bigrams, rarities, trigrams))[0]
    return means


def _per_token(rows: NDArray[np.int64], bigrams: BigramCounts, rarities: Floats, trigrams: NDArray[np.int64]) -> Floats:
    """(n, L, S) of rows (n, 2 + L)."""
    first, previous, tokens = rows[:, :-2], rows[:, 1:-1], rows[:, 2:]
    surprise = -np.log(bigram_probabilities(bigrams, previous.ravel(), tokens.ravel())).reshape(tokens.shape)
    codes = (first * bigrams.vocab_size + previous) * bigrams.vocab_size + tokens
    places = np.minimum(np.searchsorted(trigrams, codes), len(trigrams) - 1)
    novelty = trigrams[places] != codes
    order = np.argsort(tokens, axis=1, kind="stable")
    ranked = np.take_along_axis(tokens, order, axis=1)
    fresh = np.ones(tokens.shape, dtype=bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    variety = np.zeros(tokens.shape, dtype=bool)
    np.put_along_axis(variety, order, fresh, axis=1)
    values: Floats = np.stack((rarities[tokens], surprise, novelty, variety), axis=-1)
    return values


def _running_means(values: Floats) -> Floats:
    """Means over the first 1, 2, … L tokens; (n, L, S) as given."""
    means: Floats = np.cumsum(values, axis=1) / np.arange(1, values.shape[1] + 1)[:, None]
    return means
