"""What a general compressor makes of the scored documents: a baseline that knows nothing of tokens, models or training.

xz (LZMA) finds text that stood before and predicts the next byte from those behind it. With training text in front it has seen
much of what a model has seen, a bounded sample of it; so a model's loss far below it is not skill but sight. Without torch.
"""

from __future__ import annotations

import functools
import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.evaluation.scored import choose_documents

# Of training text in front. On the standard library's source: 1.475 bits a byte with half as much, 1.450, 1.425 with twice as
# much, and 2.2 instead of 1.1 seconds.
TRAINING_BYTES: Final = 1_000_000
SCORED_BYTES: Final = 250_000  # of the scored documents, at most
_SEED: Final = 20250105  # any fixed number: every trial of a data set has the same sample
_FILTERS: Final[list[dict[str, Any]]] = [{"id": lzma.FILTER_LZMA2, "preset": 6}]  # its 8 MB window holds all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Bits per byte of the scored documents, and nats per token of the same documents, which a loss can be held against."""

    bits_per_byte: float  # training text in front, the scored documents one behind the other
    alone: float  # bits per byte of each document by itself
    nats: float  # per token, with the training text in front
    num_bytes: int  # compressed, of documents
    training_bytes: int  # in front


def compression(dataset: Dataset, validation_tokens: int, split: str = "validation") -> Compression:
    """How far a general compressor gets on the documents of which models are scored at most `validation_tokens`.

    One to three seconds, once for each data set and number of tokens in a process. Of many documents a part is compressed, of
    the training text a part stands in front: both are fixed choices of whole documents.

    Raises:
        CorpusError: the data set is damaged.
    """
    return _compression(str(dataset.folder), dataset.fingerprint, validation_tokens, split)


@functools.lru_cache(maxsize=8)
def _compression(folder: str, fingerprint: str, validation_tokens: int, split: str) -> Compression:
    dataset = Dataset.open(folder, fingerprint)
    documents = dataset.documents(split)
    scored = choose_documents(documents, validation_tokens)
    chosen = _at_most(scored[_drawn(len(scored))], documents.bytes, SCORED_BYTES)
    texts = [dataset.text(split, number).encode() for number in chosen]
    training = training_sample(dataset, TRAINING_BYTES)
    num_bytes = max(sum(map(len, texts)), 1)
    bits_per_byte = conditional_bits(training, texts) / num_bytes
    # By the bytes and tokens of all scored documents: a loss is a mean over all of them.
    bytes_per_token = int(documents.bytes[scored].sum()) / int(np.diff(documents.starts)[scored].sum())
    return Compression(
        bits_per_byte=bits_per_byte,
        alone=sum(map(compressed_bits, texts)) / num_bytes,
        nats=bits_per_byte * bytes_per_token * math.log(2),
        num_bytes=num_bytes,
        training_bytes=len(training),
    )


def compressed_bits(text: bytes) -> int:
    """Bits of `text` as a raw LZMA stream: no container, whose bytes would weigh on short documents."""
    return 8 * len(lzma.compress(text, format=lzma.FORMAT_RAW, filters=_FILTERS))


def conditional_bits(before: bytes, texts: Sequence[bytes]) -> int:
    """Bits that `texts` add, one behind the other, where `before` has been compressed already.

    Texts that are like each other help each other, which a model cannot have: what comes of it is a little too low.
    """
    return max(compressed_bits(b"\0".join([before, *texts])) - compressed_bits(before), 0)


def training_sample(dataset: Dataset, num_bytes: int) -> bytes:
    """At most `num_bytes` of training text: whole documents from all over the split, at least one, with a zero between them."""
    documents = dataset.documents("train")
    chosen = _at_most(_drawn(len(documents)), documents.bytes, num_bytes)
    return b"\0".join(dataset.text("train", number).encode() for number in chosen)[:num_bytes]


def _drawn(count: int) -> NDArray[np.int64]:
    """0 … count − 1 in a fixed random order."""
    # By sorting raw bits: NumPy promises these to stay the same in later versions.
    return np.argsort(np.random.Philox(_SEED).random_raw(count), kind="stable")


def _at_most(order: NDArray[np.int64], sizes: NDArray[np.int64], most: int) -> list[int]:
    """Of documents, in order, those that fit; where none does, the smallest."""
    chosen: list[int] = []
    left = most
    for number in order.tolist():
        if sizes[number] <= left:
            chosen.append(number)
            left -= int(sizes[number])
    return chosen or [int(order[int(np.argmin(sizes[order]))])]
