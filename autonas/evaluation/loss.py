"""Held-out loss in unsmoothed nats per token, each token scored once, and how sure it is.

Which tokens, and from what each is predicted, is said in scored.py; how their losses are computed, in passes.py. Errors are
clustered by document: tokens of one document are not independent. The error of the training seed is not in them; it is pooled
from repeats by whoever compares trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.data.statistics import sources_of
from autonas.evaluation.intervals import ratio_estimate as ratio_estimate
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.passes import token_nats
from autonas.evaluation.scored import ScoredTokens, choose_documents, scored_tokens
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import DocumentLosses, EvaluationSettings, Score

MAX_CLUSTERS: Final = 512


def evaluate_loss(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    split: str = "validation",
    *,
    make_way: Callable[[], object] = lambda: None,
) -> DocumentLosses:
    """Summed nats, tokens and bytes of each scored document of `split`, at most 512: beyond that, neighbours are merged.

    The model's dropout is off meanwhile; it is left in the mode it was in. `make_way` is called between batches.

    Raises:
        CorpusError: the split has no document.
    """
    return score_tokens(model, dataset, settings, split, make_way=make_way)[0]


def score_tokens(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    split: str = "validation",
    *,
    make_way: Callable[[], object] = lambda: None,
) -> tuple[DocumentLosses, NDArray[np.float64], ScoredTokens]:
    """As `evaluate_loss`, and the nats of each token (tokens,) of those scored, which are given too."""
    scored = scored_tokens(dataset, split, settings.validation_tokens)
    with eval_mode(model):
        nats, how = token_nats(model, scored, make_way)
    sums = np.add.reduceat(nats, scored.starts[:-1])
    return merge_documents(sums, np.diff(scored.starts), scored.bytes, how=how), nats, scored


def losses_by_source(
    dataset: Dataset, settings: EvaluationSettings, split: str, nats: NDArray[np.float64], scored: ScoredTokens
) -> dict[str, DocumentLosses]:
    """What `score_tokens` found, by where documents are from; nothing where all are from one place."""
    documents = dataset.documents(split)
    names = [documents.names[number] for number in choose_documents(documents, settings.validation_tokens)]
    owners = np.array(sources_of(names))
    sums, tokens = np.add.reduceat(nats, scored.starts[:-1]), np.diff(scored.starts)
    found = {}
    for source in dict.fromkeys(owners.tolist()):
        own = owners == source
        found[source] = merge_documents(sums[own], tokens[own], scored.bytes[own])
    return found if len(found) > 1 else {}


def merge_documents(
    nats: NDArray[np.float64],
    tokens: NDArray[np.int64],
    num_bytes: NDArray[np.int64],
    clusters: int = MAX_CLUSTERS,
    how: str = "",
) -> DocumentLosses:
    """One record of at most `clusters` clusters of neighbouring documents: small enough to keep for every trial."""
    if len(nats) > clusters:
        edges = np.linspace(0, len(nats), clusters + 1).astype(np.int64)[:-1]
        nats, tokens, num_bytes = (np.add.reduceat(values, edges) for values in (nats, tokens, num_bytes))
    return DocumentLosses(nats=tuple(nats.tolist()), tokens=tuple(tokens.tolist()), bytes=tuple(num_bytes.tolist()), how=how)


def loss_scores(documents: DocumentLosses) -> dict[str, Score]:
    """`val_loss` (nats per token) and `bits_per_byte`, each with its document-clustered 95 % interval."""
    nats = np.array(documents.nats)
    how = "unsmoothed, each token once" + (f", {documents.how}" if documents.how else "")
    loss = _ratio_score(nats, np.array(documents.tokens), "nats/token", how)
    bits = _ratio_score(nats / math.log(2), np.array(documents.bytes), "bits/byte", "from unsmoothed nats")
    return {"val_loss": loss, "bits_per_byte": bits}


def _ratio_score(sums: NDArray[np.float64], sizes: NDArray[np.int64], unit: str, how: str) -> Score:
    value, error = ratio_estimate(sums, sizes)
    count = len(sums)
    if count < 2:
        # Nothing is known of the error between documents: an interval that excludes no one.
        return Score(
            value=value, low=0.0, high=2 * value, unit=unit, n=count, note=f"{how}; one document, so no error estimate"
        )
    reach = t_quantile(count - 1) * error
    note = f"{how}; {int(sizes.sum()):,} {unit.partition('/')[2]}s, clustered by document"
    return Score(value=value, low=max(0.0, value - reach), high=value + reach, unit=unit, n=count, note=note)


def paired_difference(a: DocumentLosses, b: DocumentLosses) -> tuple[float, float]:
    """Loss of `a` minus loss of `b` in nats per token, and its standard error from per-document differences.

    On the same documents the documents' own difficulty cancels: the error is several times smaller than that of two separate
    losses. Both must be of the same documents.
    """
    assert a.tokens == b.tokens and a.bytes == b.bytes, "two trials are paired on the same documents only"
    return ratio_estimate(np.array(a.nats) - np.array(b.nats), np.array(a.tokens))
