"""Which tokens of a split are scored, and from what each is predicted: the same for every model and baseline. Without torch.

A document of n tokens (its end-of-text counted) has n targets. They are cut into windows of `context_length` that do not
overlap; a window's inputs are its targets' predecessors. The first token of a document is predicted from end-of-text, the
first token of a later window from its predecessor alone. So every token, the first one and the final end-of-text too, is
scored exactly once, and is predicted from at most `context_length` tokens of its own document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset, Documents
from autonas.errors import CorpusError

_ORDER_SEED: Final = 20250101  # any fixed number: every trial of every study picks the same documents


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTokens:
    """Predecessors and targets of the chosen documents, laid end to end in the data set's order."""

    inputs: NDArray[np.int64]  # (tokens,)
    targets: NDArray[np.int64]  # (tokens,)
    starts: NDArray[np.int64]  # (documents + 1,) into both
    bytes: NDArray[np.int64]  # (documents,) of the text; end-of-text has none

    @property
    def num_documents(self) -> int:
        return len(self.bytes)

    def windows(self, context: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Start, length and document number of every window of at most `context` tokens."""
        lengths = np.diff(self.starts)
        counts = -(-lengths // context)  # windows of each document
        owners = np.repeat(np.arange(self.num_documents), counts)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = self.starts[owners] + places * context
        return begins, np.minimum(context, self.starts[owners + 1] - begins), owners


def scored_tokens(dataset: Dataset, split: str, max_tokens: int) -> ScoredTokens:
    """The scored tokens of a split: of all its documents, or of a fixed random choice of whole ones with at most `max_tokens`.

    Raises:
        CorpusError: the split has no document.
    """
    documents = dataset.documents(split)
    chosen = choose_documents(documents, max_tokens)
    if len(chosen) == 0:
        raise CorpusError(f"the {split} split has no documents to score a model on; give a larger corpus")
    tokens = dataset.tokens(split)
    end_of_text = np.array([dataset.tokenizer.end_of_text], dtype=np.int64)
    inputs, targets = [], []
    for number in chosen:
        document = np.asarray(tokens[documents.starts[number] : documents.starts[number + 1]], dtype=np.int64)
        targets.append(document)
        inputs += [end_of_text, document[:-1]]
    return ScoredTokens(
        inputs=np.concatenate(inputs),
        targets=np.concatenate(targets),
        starts=np.concatenate(([0], np.cumsum([len(document) for document in targets]))),
        bytes=documents.bytes[chosen],
    )


def choose_documents(documents: Documents, max_tokens: int) -> NDArray[np.int64]:
    """Numbers of the documents to score, rising; the choice depends on nothing but the split and `max_tokens`.

    Documents are taken in a fixed random order, so that all projects have their share; one that does not fit is passed over.
    Should none fit, the shortest one is taken whole.
    """
    lengths = np.diff(documents.starts)
    if lengths.sum() <= max_tokens:
        return np.arange(len(lengths))
    # By sorting raw bits: NumPy promises these to stay the same in later versions.
    order = np.argsort(np.random.Philox(_ORDER_SEED).random_raw(len(lengths)), kind="stable")
    chosen, left = [], max_tokens
    for number in order:
        if lengths[number] <= left:
            chosen.append(int(number))
            left -= int(lengths[number])
    return np.array(sorted(chosen) or [int(np.argmin(lengths))], dtype=np.int64)
