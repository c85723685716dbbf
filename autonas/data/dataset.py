"""The data set for a request: found again when it has been built before, else built. The entrance to this package.

Two keys lead to a data set without building it: the request with size and time of every file (nothing is read then), and the
request's tokenizer with the content of the documents (nothing is tokenised then). Both are hints; the fingerprint is the name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autonas.data.cache import building, key_of, recall, remember
from autonas.data.corpus import collect, corpus_fingerprint
from autonas.data.files import FoundFile
from autonas.data.records import CorpusSettings, Document, TokenizerSettings
from autonas.data.sources import find_files
from autonas.data.split import draw_order
from autonas.data.store import FORMAT, Dataset, Documents, dataset_fingerprint, write_dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError
from autonas.machine import cache_folder
from autonas.trial import to_json

__all__ = [
    "CorpusSettings",
    "Dataset",
    "Documents",
    "TokenizerSettings",
    "cache_folder",
    "list_datasets",
    "prepare",
    "prepared",
    "train_tokenizer",
]

_RULES = 2  # raise it when another rule of filters, duplicates, split or tokenizer changes what the same files become
# Of text that a tokenizer is trained on: beyond it merges hardly change, and two cores take a second for each 8 MB.
_TOKENIZER_BYTES = 32_000_000


def prepare(
    corpus: CorpusSettings,
    tokenizer: TokenizerSettings,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda stage: None,
) -> Dataset:
    """The tokenised corpus, from the cache (default: `cache_folder()`) or built into it. `say` is told of each slow stage.

    Several processes may ask for the same at once: each gets a whole data set.

    Raises:
        CorpusError: the corpus is missing, empty, unreadable or too small, or what the cache holds is damaged.
        TokenizerError: the user's tokenizer is missing, corrupt or lossy.
        ResourceError: the cache cannot be written.
    """
    root = cache_folder() if cache is None else cache
    files = find_files(corpus, root)
    own = None if tokenizer.file is None else Tokenizer.load(tokenizer.file)
    wanted = _wanted(tokenizer, own)
    request = _request(corpus, wanted, files)
    if known := _known(root, request):
        return known
    say(f"reading {len(files):,} files")
    documents, report = collect(corpus, files)
    content = corpus_fingerprint(documents)
    by_content = key_of(FORMAT, _RULES, wanted, content)
    dataset = _known(root, by_content)
    if dataset is None:
        if own is None:
            say(f"training a tokenizer of {tokenizer.vocab_size:,} entries")
        encoder = own or Tokenizer.train(_tokenizer_texts(documents), tokenizer.vocab_size)
        fingerprint = dataset_fingerprint(content, encoder)
        folder = _folder(root, fingerprint)
        if not folder.exists():
            say(f"tokenising {len(documents):,} documents")
            with building(folder) as temporary:
                write_dataset(temporary, documents, encoder, report, content)
        dataset = Dataset.open(folder, fingerprint)
        remember(root, by_content, fingerprint)
    remember(root, request, dataset.fingerprint)
    return dataset


def prepared(
    corpus: CorpusSettings, tokenizer: TokenizerSettings, files: Sequence[FoundFile], cache: Path | None = None
) -> Dataset | None:
    """What `prepare` would return without building anything, `files` being those of the corpus; None where it would build.

    Raises:
        CorpusError, TokenizerError: as `prepare`.
    """
    own = None if tokenizer.file is None else Tokenizer.load(tokenizer.file)
    return _known(cache_folder() if cache is None else cache, _request(corpus, _wanted(tokenizer, own), files))


def train_tokenizer(corpus: CorpusSettings, vocab_size: int, path: Path) -> Tokenizer:
    """Train a tokenizer on a corpus's train split and save it to `path`: `autonas tokenizer train`.

    Raises:
        CorpusError, TokenizerError, ResourceError: as `prepare`.
    """
    documents, _ = collect(corpus)
    tokenizer = Tokenizer.train(_tokenizer_texts(documents), vocab_size)
    tokenizer.save(path)
    return tokenizer


def _tokenizer_texts(documents: Sequence[Document], num_bytes: int = _TOKENIZER_BYTES) -> list[str]:
    """The train split, or a fixed sample of its documents with about so many bytes, in the order of the corpus."""
    train = [document for document in documents if document.split == "train"]
    drawn = sorted(range(len(train)), key=lambda number: draw_order(0, f"{train[number].name}\0{train[number].text}"))
    sizes = itertools.accumulate(train[number].num_bytes for number in drawn)
    # The document that fills the sample is in it, so that it is never empty.
    kept = sorted(number for number, size in zip(drawn, (0, *sizes), strict=False) if size < num_bytes)
    return [train[number].text for number in kept]


def list_datasets(cache: Path | None = None) -> list[Dataset]:
    """The usable data sets of a cache, by fingerprint; damaged ones are left out."""
    root = cache_folder() if cache is None else cache
    datasets = []
    for folder in sorted((root / "datasets").glob("[0-9a-f]*")):
        try:
            datasets.append(Dataset.open(folder))
        except CorpusError:
            continue
    return datasets


def _wanted(tokenizer: TokenizerSettings, own: Tokenizer | None) -> list[Any]:
    return ["own", own.fingerprint] if own else [tokenizer.algorithm, tokenizer.vocab_size]


def _request(corpus: CorpusSettings, wanted: list[Any], files: Sequence[FoundFile]) -> str:
    return key_of(FORMAT, _RULES, wanted, to_json(corpus), [_stamp(file) for file in files])


def _known(root: Path, key: str) -> Dataset | None:
    fingerprint = recall(root, key)
    if fingerprint is None or not (folder := _folder(root, fingerprint)).is_dir():
        return None
    return Dataset.open(folder, fingerprint)


def _folder(root: Path, fingerprint: str) -> Path:
    return root / "datasets" / fingerprint


def _stamp(file: FoundFile) -> list[Any]:
    return [file.name, str(file.path.absolute()), file.num_bytes, file.mtime_ns]
