"""Held-out loss of a model in any runtime, as the run's own is measured: what quantised weights cost, never estimated."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.loss import loss_scores, merge_documents, paired_difference
from autonas.evaluation.scored import ScoredTokens, scored_tokens
from autonas.exporting.parity import Runtime
from autonas.trial import DocumentLosses, Score, to_json

MOST_TOKENS: Final = 65_536  # of whole validation documents: a runtime reads one window at a time


def runtime_losses(runtime: Runtime, scored: ScoredTokens, context: int) -> DocumentLosses:
    """Unsmoothed nats of each document by the runtime's logits, one window of at most `context` tokens after another."""
    nats = np.zeros(scored.num_documents)
    for begin, length, owner in zip(*scored.windows(context), strict=True):
        logits = runtime.logits(scored.inputs[begin : begin + length].tolist()).astype(np.float64)
        nats[owner] += _nats(logits, scored.targets[begin : begin + length])
    return merge_documents(nats, np.diff(scored.starts), scored.bytes)


def compare_losses(whole: Runtime, small: Runtime, dataset: Dataset, context: int, most_tokens: int) -> dict[str, Any]:
    """The losses of `small` and `whole` on the same tokens and their difference, paired by document, with 95 % intervals."""
    scored = scored_tokens(dataset, "validation", min(most_tokens, MOST_TOKENS))
    losses = [runtime_losses(runtime, scored, context) for runtime in (whole, small)]
    value, error = paired_difference(losses[1], losses[0])
    count = len(losses[0].nats)
    note = "int8 less float, paired by document"
    if count > 1:
        reach = t_quantile(count - 1) * error
    else:
        reach, note = abs(value), f"{note}; one document, so no error estimate"
    difference = Score(value=value, low=value - reach, high=value + reach, unit="nats/token", n=count, note=note)
    return {
        "tokens": len(scored.targets),
        "float_val_loss": to_json(loss_scores(losses[0])["val_loss"]),
        "val_loss": to_json(loss_scores(losses[1])["val_loss"]),
        "difference": to_json(difference),
    }


def _nats(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Summed over the rows of `logits` (T, V)."""
    highest = logits.max(axis=-1)
    sums = np.log(np.exp(logits - highest[:, None]).sum(axis=-1)) + highest
    return float((sums - logits[np.arange(len(targets)), targets]).sum())
