"""The held-out loss of a trained model with everything that says whether to believe it: for a worker, after every training.

Baselines, compression, copies, coding tasks in the text and the bigram control depend on the data and on what was shown alone:
a process works them out once. What is left for each model is one pass over the validation tokens and one over some windows of
its training text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.data.overlap import find_overlap, overlap_finding
from autonas.data.token_classes import TokenClasses, token_classes
from autonas.evaluation.baselines import BigramCounts, count_bigrams, counted_baselines
from autonas.evaluation.class_loss import class_finding, losses_by_class
from autonas.evaluation.coding.contamination import corpus_findings
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.evaluation.compression import compression
from autonas.evaluation.loss import loss_scores, score_tokens
from autonas.evaluation.plausibility.gap import measure_gap
from autonas.evaluation.plausibility.losses import gap_finding, loss_floor
from autonas.model.transformer import Transformer
from autonas.trial import DocumentLosses, EvaluationSettings, Finding, Score

_WINDOWS_AT_ONCE: Final = 4096
_KEPT: Final = 8  # counts in memory: one for each rung and seed of a study


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a model was trained on: the first `tokens` of `windows`."""

    tokens: int
    windows: Windows


_COUNTED: dict[tuple[str, str, int, EvaluationSettings], tuple[BigramCounts, dict[str, float]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """`val_loss`, `bits_per_byte` and `gap`, losses of baselines on the same tokens, and what plausibility checks found."""

    scores: dict[str, Score]
    documents: DocumentLosses
    baselines: dict[str, float]
    checks: dict[str, str]
    findings: tuple[Finding, ...]


def held_out(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    shown: Shown,
    *,
    make_way: Callable[[], object] = lambda: None,
) -> HeldOut:
    """Score `model` on the validation documents, and hold the score against all that is known of the data.

    Raises:
        CorpusError: there is no validation document, or the data set is damaged.
    """
    documents, nats, scored = score_tokens(model, dataset, settings, make_way=make_way)
    counts, known = _counted(dataset, shown, settings, make_way)
    make_way()
    gap = measure_gap(model, dataset, settings, documents, windows=shown.windows, tokens=shown.tokens, make_way=make_way)
    compressed, of_data, corpus, classes = _of_data(
        str(dataset.folder), dataset.fingerprint, settings.validation_tokens, settings.language
    )
    make_way()
    by_class = losses_by_class(nats, scored, classes, counts)
    content = by_class.group("content")
    scores = {**loss_scores(documents), **({} if gap is None else {"gap": gap.score})}
    findings = (
        loss_floor(scores["val_loss"].value, {**known, "compression": compressed}),
        None if gap is None else gap_finding(gap),
        class_finding(by_class),
        *of_data,
    )
    checks = {"compression": f"xz with training text in front: {compressed:.3f} nats a token", **corpus}
    checks["gap"] = gap.text if gap is not None else "not measured: too few validation documents or windows shown"
    if content is not None:
        checks["content"] = f"names, words, keywords and numbers: {content.loss.value:.3f} nats, {content.share:.0%} of tokens"
    return HeldOut(
        scores=scores,
        documents=documents,
        baselines=dict(known),
        checks=checks,
        findings=tuple(finding for finding in findings if finding is not None),
    )


def _counted(
    dataset: Dataset, shown: Shown, settings: EvaluationSettings, make_way: Callable[[], object]
) -> tuple[BigramCounts, dict[str, float]]:
    """Counts of the windows shown, and what models of them score: the same for every trial that was shown the same."""
    windows = shown.windows
    key = (dataset.fingerprint, windows.name, shown.tokens, settings)
    if key in _COUNTED:
        _COUNTED[key] = _COUNTED.pop(key)  # the latest used is the last to go
    else:
        number = -(-shown.tokens // windows.tokens_per_window)

        def parts() -> Iterator[NDArray[np.integer[Any]]]:
            for first in range(0, number, _WINDOWS_AT_ONCE):
                make_way()
                yield windows.take(first, min(_WINDOWS_AT_ONCE, number - first))

        counts = count_bigrams(parts(), dataset.vocab_size)
        while len(_COUNTED) >= _KEPT:
            _COUNTED.pop(next(iter(_COUNTED)))
        _COUNTED[key] = counts, counted_baselines(counts, dataset, settings)
    return _COUNTED[key]


@functools.lru_cache(maxsize=2)
def _of_data(
    folder: str, fingerprint: str, validation_tokens: int, language: str
) -> tuple[float, tuple[Finding | None, ...], dict[str, str], TokenClasses]:
    """Nats a token by a compressor, what stands in training and should not and how it was looked for, each token's class."""
    dataset = Dataset.open(folder, fingerprint)
    compressed = compression(dataset, validation_tokens).nats
    overlap = find_overlap(dataset)
    documents = len(dataset.documents("train"))
    looked = {
        "copies": f"{len(overlap.documents):,} validation documents held against {documents:,} of training",
        "coding tasks": f"{len(builtin_tasks())} looked for in {documents:,} documents of training",
    }
    # Commonplace bodies say something of the tasks, and nothing of a model.
    tasks = (finding for finding in corpus_findings(dataset) if finding.check == "benchmark_in_corpus")
    return compressed, (overlap_finding(overlap), *tasks), looked, token_classes(dataset.tokenizer, language)
