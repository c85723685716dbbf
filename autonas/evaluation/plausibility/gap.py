"""Is validation loss below training loss? Both measured alike, and held against what the texts themselves explain.

A training curve is no measure of training loss: dropout and label smoothing are in it, and its windows were met before the
weights learnt from them. So some windows that the model was shown are scored as validation is. And validation text may simply
be easier, or harder: models of counts, fitted on other windows that were shown, are scored on both, and their own gap is taken
off. Which counts depends on what the model knows: that of a unigram model (about 0) for one that knows no more than
frequencies, that of a bigram model (.2 to .3 nats) for one that is as good or better, and in between a mix of the two. What is
left below 0 by more than its error has no honest reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.evaluation.baselines import bigram_probabilities, count_bigrams, unigram_probabilities
from autonas.evaluation.intervals import ratio_estimate
from autonas.evaluation.loss import MAX_CLUSTERS, merge_documents
from autonas.evaluation.passes import document_nats
from autonas.evaluation.plausibility.losses import Gap
from autonas.evaluation.scored import ScoredTokens, scored_tokens
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import DocumentLosses, EvaluationSettings

# Of training text: 32 windows of 256. A tenth of the time that 96 K validation tokens take, 1.6 % of a trial of 150 K tokens.
PROBED_TOKENS: Final = 8_192
FEWEST: Final = 8  # clusters on either side, with fewer of which an error is itself a guess
_CLUSTERS: Final = 24  # neighbouring windows are of one document or project, and no independent ones
_CONTROL_TOKENS: Final = 1_000_000  # that the bigram model is fitted on, at most
_KEPT: Final = 16
Floats = NDArray[np.float64]
_KNOWN: dict[tuple[str, str, int, int], tuple[Floats, Floats]] = {}


def measure_gap(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    documents: DocumentLosses,
    *,
    windows: Windows,
    tokens: int,
    make_way: Callable[[], object] = lambda: None,
) -> Gap | None:
    """The gap of a model that was shown the first `tokens` of `windows` and has `documents` as validation losses.

    None with fewer than eight validation documents or windows to score: their error is not known then.

    Raises:
        CorpusError: the data set is damaged.
    """
    shown = -(-tokens // windows.tokens_per_window)
    probed, others = shown_windows(windows, shown)
    if min(len(probed), len(documents.nats)) < FEWEST or len(others) < 2:
        return None
    made = _scored(_taken(windows, probed))
    with eval_mode(model):
        nats, _ = document_nats(model, made, make_way)
    trained = merge_documents(nats, np.diff(made.starts), made.bytes, clusters=_CLUSTERS)
    make_way()
    hard, light = _control(dataset, windows, shown, settings)
    knows = bigram_share(sum(trained.nats), light.sum(axis=1))
    return gap_between(documents, trained, knows @ hard, knows @ light)


def bigram_share(nats: float, known: Floats) -> Floats:
    """How much of a unigram and of a bigram model (2) is in one with `nats` on a text where these have `known` (2)."""
    unigram, bigram = known
    if nats >= unigram:
        return np.array([1.0, 0.0])
    share = min((unigram - nats) / (unigram - bigram), 1.0) if unigram > bigram else 1.0
    return np.array([1.0 - share, share])


def gap_between(documents: DocumentLosses, trained: DocumentLosses, control: Floats, easy: Floats) -> Gap:
    """Of losses on validation documents and on clusters of shown windows, and of the control's nats on the same of each."""
    sides = []
    for losses, nats in ((documents, control), (trained, easy)):
        sizes = np.array(losses.tokens)
        excess, error = ratio_estimate(np.array(losses.nats) - nats, sizes)
        sides.append((sum(losses.nats) / sizes.sum(), nats.sum() / sizes.sum(), excess, error))
    (validation, hard, above, above_error), (training, light, below, below_error) = sides
    return Gap(
        validation=float(validation),
        training=float(training),
        control=float(hard - light),
        excess=above - below,
        error=math.hypot(above_error, below_error),
        tokens=sum(trained.tokens),
        freedom=min(len(documents.nats), len(trained.nats)) - 1,
    )


def shown_windows(windows: Windows, shown: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where windows start that are to be probed, and others, from all over the last epoch of `shown` windows; none is both."""
    count = min(shown, windows.num_windows)
    starts = np.unique(windows.starts(shown - count, count))  # in the order of the text; across two epochs some come twice
    each = windows.tokens_per_window
    probed = _spread(starts, min(max(PROBED_TOKENS // each, FEWEST), len(starts) // 4))
    return probed, _spread(np.setdiff1d(starts, probed), _CONTROL_TOKENS // each)


def _counted(dataset: Dataset, windows: Windows, shown: int, validation_tokens: int) -> tuple[Floats, Floats]:
    probed, others = shown_windows(windows, shown)
    counts = count_bigrams(_taken(windows, others), dataset.vocab_size)

    def counted(scored: ScoredTokens, clusters: int = MAX_CLUSTERS) -> Floats:
        merged = []
        for likely in (
            unigram_probabilities(counts, scored.targets),
            bigram_probabilities(counts, scored.inputs, scored.targets),
        ):
            nats = np.add.reduceat(-np.log(likely), scored.starts[:-1]).astype(np.float64)
            merged.append(merge_documents(nats, np.diff(scored.starts), scored.bytes, clusters=clusters).nats)
        return np.array(merged, dtype=np.float64)

    validation, made = scored_tokens(dataset, "validation", validation_tokens), _scored(_taken(windows, probed))
    return counted(validation), counted(made, _CLUSTERS)


def _control(dataset: Dataset, windows: Windows, shown: int, settings: EvaluationSettings) -> tuple[Floats, Floats]:
    """Nats of a unigram and a bigram model on validation documents (2, D) and on clusters of probed windows (2, C).

    The same for many trials.
    """
    key = (dataset.fingerprint, windows.name, shown, settings.validation_tokens)
    if key not in _KNOWN:
        while len(_KNOWN) >= _KEPT:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = _counted(dataset, windows, shown, settings.validation_tokens)
    return _KNOWN[key]


def _taken(windows: Windows, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Windows (n, context + 1) by where they start."""
    offsets = np.arange(windows.tokens_per_window + 1)
    taken: NDArray[np.int64] = windows.tokens[starts[:, None] + offsets].astype(np.int64)
    return taken


def _scored(taken: NDArray[np.int64]) -> ScoredTokens:
    """Windows as if each were a document, to be scored as documents are. Their bytes nobody asks for."""
    count, length = len(taken), taken.shape[1] - 1
    return ScoredTokens(
        inputs=taken[:, :-1].ravel(),
        targets=taken[:, 1:].ravel(),
        starts=np.arange(count + 1) * length,
        bytes=np.zeros(count, dtype=np.int64),
    )


def _spread(starts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of `starts`, from all over."""
    if len(starts) <= count:
        return starts
    return starts[np.arange(count) * len(starts) // max(count, 1)]
