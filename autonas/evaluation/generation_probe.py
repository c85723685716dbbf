"""A short look at what a model writes while it is trained: loops, babble, ends at once, and how many different tokens it uses.

Loss can go on falling while generation collapses, so a run looks now and then. Every look asks the same prompts with the same
random numbers, and keeps what came of each: two looks are paired, and 32 samples tell as much as some hundred others would.
What the looks of a run say together is judged in plausibility/generations.py.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from autonas.data.dataset import Dataset
from autonas.evaluation.collapse import continuations as draw_continuations
from autonas.evaluation.collapse import has_collapsed, is_degenerate, judged, real_range
from autonas.evaluation.prompts import choose_prompts
from autonas.model.transformer import Transformer
from autonas.trial import EvaluationSettings

PROMPTS_PER_KIND: Final = 16
NEW_TOKENS: Final = 40
PROBES: Final = 10  # of a run, at most: of more, each would have to differ more from the last to be told apart
# Of training for each look at the least: a look takes as long as some 4,000 tokens of training (60 ms of a processor with two
# layers of width 64, 95 ms with three of 96), so that all of them take 2 % of the time.
PROBE_EVERY: Final = 200_000
SHORTEST: Final = 8  # tokens: of fewer no share of different ones means anything
_TEXT_TOKENS: Final = 500_000  # of held-out text that passages are drawn from
_SHOWN: Final = 160  # characters of the one sample that is kept
_PASSAGES_SEED: Final = 20250106


def num_generation_probes(tokens: int) -> int:
    """How often a run of `tokens` is looked at: up to 10 times, evenly, and not at all where it is short."""
    return min(PROBES, tokens // PROBE_EVERY)


def probe_generation(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    seed: int,
    make_way: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """One sample of each of 16 few-shot and 16 bare prompts, in figures that go to JSON.

    `degeneration` (where it is known what real continuations are like), `collapse_rate`, `empty`: shares of the samples.
    `distinct_1`, `distinct_2`: different tokens, and pairs of neighbours, as shares of a sample's, mean over the samples (Li et
    al., arXiv 1510.03055). `entropy`: of the frequencies of all sampled tokens, in nats. `real`: the same three of held-out
    text in passages of the same lengths. `hits` (degenerate) and `collapsed` have a 0 or 1 for each prompt, `variety` the
    distinct-1 of each (null below 8 tokens): what pairs two probes of the same settings and seed. `sample` is one of them, a
    degenerate one where there is one.

    Raises:
        CorpusError: the prompts cannot be had.
        RequestError: the new tokens do not fit the context beside a prompt.
    """
    asked = dataclasses.replace(
        settings,
        prompts_per_kind=min(settings.prompts_per_kind, PROMPTS_PER_KIND),
        samples_per_prompt=1,
        new_tokens=min(settings.new_tokens, NEW_TOKENS),
    )
    prompts = choose_prompts(dataset, asked)
    # Of the settings' own length: the one that scores the model at the end, which needs seconds only once.
    known = real_range(dataset, settings, needed=False)
    end = dataset.tokenizer.end_of_text
    encoded = [[end, *dataset.tokenizer.encode(prompt.text)] for prompt in prompts]
    made = draw_continuations(model, encoded, asked, seed, end=end, make_way=make_way)
    tokens = [row[0] for row in made]
    found = [row[0] for row in judged(dataset, known, encoded, made)]
    degenerate = [is_degenerate(detectors) for _, detectors in found]
    collapsed = [has_collapsed(detectors) for _, detectors in found]
    shown = next((place for place, bad in enumerate(degenerate) if bad), 0)  # a bad one, where there is one
    return {
        **({} if known is None else {"degeneration": _share(degenerate), "hits": _bits(degenerate)}),
        "collapse_rate": _share(collapsed),
        "collapsed": _bits(collapsed),
        "empty": _share([not row for row in tokens]),
        **_diversity(tokens),
        "real": _diversity(_passages(dataset, tuple(map(len, tokens)))),
        "variety": [None if len(row) < SHORTEST else round(distinct(row, 1), 3) for row in tokens],
        "sample": {"prompt": prompts[shown].text[-_SHOWN:], "text": found[shown][0][:_SHOWN]},
    }


def distinct(tokens: Sequence[int], n: int) -> float:
    """The share of different ones among the n-grams of `tokens`; 0 where there is none."""
    grams = [tuple(tokens[first : first + n]) for first in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def frequency_entropy(rows: Sequence[Sequence[int]]) -> float:
    """Entropy, in nats, of how often each token stands in all of `rows`; 0 for none."""
    counts = Counter(itertools.chain.from_iterable(rows))
    total = counts.total()
    return -math.fsum(count / total * math.log(count / total) for count in counts.values()) if total else 0.0


def _diversity(rows: Sequence[Sequence[int]]) -> dict[str, float | None]:
    long = [row for row in rows if len(row) >= SHORTEST]
    return {
        "distinct_1": float(np.mean([distinct(row, 1) for row in long])) if long else None,
        "distinct_2": float(np.mean([distinct(row, 2) for row in long])) if long else None,
        "entropy": abs(frequency_entropy(rows)),
    }


def _passages(dataset: Dataset, lengths: tuple[int, ...]) -> list[list[int]]:
    """Held-out text in passages of these lengths, from fixed places of the test documents or the validation ones."""
    text = _text(str(dataset.folder), dataset.fingerprint)
    places = np.random.Philox(_PASSAGES_SEED).random_raw(len(lengths))
    begins = (int(place) % max(len(text) - length, 1) for place, length in zip(places, lengths, strict=True))
    return [list(text[begin : begin + length]) for begin, length in zip(begins, lengths, strict=True)]


@functools.lru_cache(maxsize=4)
def _text(folder: str, fingerprint: str) -> tuple[int, ...]:
    dataset = Dataset.open(folder, fingerprint)
    split = "test" if len(dataset.documents("test")) else "validation"
    return tuple(dataset.tokens(split)[:_TEXT_TOKENS].tolist())


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def _bits(hits: Sequence[bool]) -> str:
    return "".join("01"[hit] for hit in hits)
