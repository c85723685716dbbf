"""How large a corpus is: counted where it has been prepared, else estimated from a sample of it, in seconds.

A sample's documents are read, filtered and tokenised as the whole would be. What only the whole shows is left out: duplicates,
and how much better a tokenizer of more text does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autonas.data.dataset import prepare, prepared
from autonas.data.files import FoundFile
from autonas.data.hub import at_most, count_rows, find_rows, is_near
from autonas.data.records import SMALLEST_VOCABULARY, CorpusSettings, Document, TokenizerSettings
from autonas.data.sources import Part, find_files, part_at, parts
from autonas.data.split import draw_order
from autonas.data.store import Dataset
from autonas.data.texts import Text, read_parts
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError
from autonas.machine import cache_folder

_SAMPLE_BYTES = 12_000_000
_SAMPLE_ROWS = 2_000  # of a data set that is elsewhere
_PLACES = 8  # of a JSON Lines file that the sample is taken from
# Below, preparing the whole takes hardly longer than a sample of it.
_WORTH_SAMPLING = 20_000_000
_LARGEST_VOCABULARY = 32_000  # more entries need more text than a sample has


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSize:
    """What a corpus will weigh. Without `dataset` the numbers are estimates from so many `sampled_documents`."""

    train_tokens: int
    validation_tokens: int
    disk_bytes: int  # of the data set in the cache
    dataset: Dataset | None = None
    sampled_documents: int | None = None
    whole_known: bool = True  # False: how much there is beyond the sample is not known


def size_corpus(
    corpus: CorpusSettings,
    tokenizer: TokenizerSettings,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda stage: None,
) -> CorpusSize:
    """The size of a corpus, without preparing it unless it is small.

    Raises:
        CorpusError, TokenizerError, ResourceError: as `prepare`.
    """
    root = cache_folder() if cache is None else cache
    if corpus.hub is not None and not is_near(corpus.hub, root):
        origins = [_own_files(corpus, root)] if corpus.sources or corpus.paths or corpus.jsonl else []
        rows = count_rows(corpus.hub)
        fetched = find_rows(at_most(corpus.hub, _SAMPLE_ROWS), root)
        origins.append(_Origin(files=[fetched], times=1.0 if rows is None else max(rows / _SAMPLE_ROWS, 1.0)))
        whole_known = rows is not None
    else:
        files = find_files(corpus, root)
        if dataset := prepared(corpus, tokenizer, files, root):
            return _counted(dataset)
        origins, whole_known = [_Origin(files=_used(files))], True
        if origins[0].num_bytes <= _WORTH_SAMPLING:
            return _counted(prepare(corpus, tokenizer, root, say))
    say("reading a sample of the corpus, which has not been prepared")
    return _estimate(corpus, tokenizer, origins, whole_known=whole_known)


def _counted(dataset: Dataset) -> CorpusSize:
    return CorpusSize(
        train_tokens=len(dataset.tokens("train")),
        validation_tokens=len(dataset.tokens("validation")),
        disk_bytes=sum(file.stat().st_size for file in dataset.folder.iterdir()),
        dataset=dataset,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Files that are here, and how many times as much there is as they hold."""

    files: Sequence[FoundFile]
    times: float = 1.0

    @property
    def num_bytes(self) -> float:
        return self.times * sum(file.num_bytes for file in self.files)


def _own_files(corpus: CorpusSettings, root: Path) -> _Origin:
    """What a corpus has beside rows of the hub."""
    return _Origin(files=_used(find_files(dataclasses.replace(corpus, hub=None), root)))


def _used(files: Sequence[FoundFile]) -> list[FoundFile]:
    return [file for file in files if not file.dropped]


def _estimate(
    corpus: CorpusSettings, tokenizer: TokenizerSettings, origins: Sequence[_Origin], *, whole_known: bool
) -> CorpusSize:
    whole = sum(origin.num_bytes for origin in origins)
    num_parts, texts, scales = 0, list[Document](), list[float]()
    for origin in origins:
        # Each is sampled by its share of the whole and stands for its own bytes alone: of other texts more or less is kept.
        sample = _sample(origin.files, round(_SAMPLE_BYTES * origin.num_bytes / max(whole, 1)))
        found = [item.document for item in read_parts(sample) if isinstance(item, Text)]
        num_parts += len(sample)
        texts += found
        scales += [origin.num_bytes / max(sum(part.num_bytes for part in sample), 1)] * len(found)
    if len(texts) < 2:
        raise CorpusError(
            f"corpus: of a sample of {num_parts} files hardly any can be used; `autonas corpus` says why; name other files"
        )
    kept = sum(scale * text.num_bytes for text, scale in zip(texts, scales, strict=True))
    tokens_per_byte = _tokens_per_byte([text.text for text in texts], scales, tokenizer)
    validation = kept * corpus.validation_share
    train = kept * (1 - corpus.validation_share - corpus.test_share)
    if corpus.max_bytes is not None:
        train = min(train, corpus.max_bytes)
    total = (train + validation + kept * corpus.test_share) * tokens_per_byte
    return CorpusSize(
        train_tokens=round(train * tokens_per_byte),
        validation_tokens=round(validation * tokens_per_byte),
        disk_bytes=round(total) * (2 if tokenizer.vocab_size <= 65_536 else 4),
        sampled_documents=len(texts),
        whole_known=whole_known,
    )


def _sample(files: Sequence[FoundFile], num_bytes: int) -> list[Part]:
    """Files in an order drawn by their names, until there are so many bytes; of long JSON Lines, lines from several places."""
    room, sample = num_bytes, []
    for file in sorted(files, key=lambda file: draw_order(0, file.name)):
        if file.jsonl and file.num_bytes > num_bytes:
            size = num_bytes // _PLACES
            found = [part_at(file, file.num_bytes * place // _PLACES, size) for place in range(_PLACES)]
        else:
            found = list(parts(file, _SAMPLE_BYTES))
        sample += found
        room -= sum(part.num_bytes for part in found)
        if room <= 0:
            break
    return sample


def _tokens_per_byte(texts: Sequence[str], scales: Sequence[float], settings: TokenizerSettings) -> float:
    """Measured on every third text by the user's tokenizer, or by one that is trained on the others.

    Each text stands for as many as its scale says.
    """
    held, weights = texts[::3], scales[::3]
    if settings.file is not None:
        encoder = Tokenizer.load(settings.file)
    else:
        encoder = _trained([text for number, text in enumerate(texts) if number % 3], settings.vocab_size)
    tokens = sum(weight * (len(ids) + 1) for ids, weight in zip(encoder.encode_batch(held), weights, strict=True))
    return tokens / max(sum(weight * len(text.encode()) for text, weight in zip(held, weights, strict=True)), 1.0)


def _trained(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    size = min(vocab_size, _LARGEST_VOCABULARY)
    while True:
        try:
            return Tokenizer.train(texts, size)
        except CorpusError:
            if size == SMALLEST_VOCABULARY:
                raise
            size = max(size // 2, SMALLEST_VOCABULARY)
