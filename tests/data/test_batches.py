from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autonas.data.batches import Windows, training_windows
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.errors import CorpusError

shapes = st.tuples(st.integers(1, 9), st.integers(1, 60)).filter(lambda shape: shape[1] > shape[0])  # (context, tokens)


def windows(context: int, num_tokens: int, seed: int = 0) -> Windows:
    return Windows(np.arange(num_tokens, dtype=np.uint16), context, seed)


@given(shapes, st.integers(0, 100), st.lists(st.integers(0, 20), max_size=8), st.integers(0, 5))
def test_windows_do_not_depend_on_how_they_are_taken(shape: tuple[int, int], first: int, counts: list[int], seed: int) -> None:
    whole = windows(*shape, seed).take(first, sum(counts))
    source, parts = windows(*shape, seed), [np.zeros((0, shape[0] + 1), dtype=np.int64)]
    for count in counts:
        parts.append(source.take(first, count))
        first += count
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(shapes, st.integers(0, 5))
def test_each_epoch_targets_every_token_but_the_first_and_the_tail_once(shape: tuple[int, int], epoch: int) -> None:
    source = windows(*shape)
    taken = source.take(epoch * source.num_windows, source.num_windows)
    assert taken.shape == (source.num_windows, source.tokens_per_window + 1)
    assert taken.dtype == np.int64
    assert sorted(taken[:, 1:].ravel().tolist()) == list(range(1, source.num_windows * shape[0] + 1))
    assert shape[1] - 1 - source.num_windows * shape[0] < shape[0]


@given(shapes, st.integers(0, 200), st.integers(1, 10))
def test_windows_are_slices_of_the_tokens(shape: tuple[int, int], first: int, count: int) -> None:
    source = windows(*shape)
    expected = source.starts(first, count)[:, None] + np.arange(shape[0] + 1)
    np.testing.assert_array_equal(source.take(first, count), expected)


def test_epochs_and_seeds_are_ordered_differently() -> None:
    orders = {tuple(windows(1, 101, seed).starts(epoch * 100, 100).tolist()) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert tuple(range(100)) not in orders


def test_the_order_is_the_same_in_every_process_and_version() -> None:
    program = (
        "import numpy as np; from autonas.data.batches import Windows;"
        "print(Windows(np.arange(11, dtype=np.uint16), 1, 7).starts(5, 12).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(windows(1, 11, 7).starts(5, 12).tolist()) == GOLDEN


# The order of all training data, and so every result, hangs on this: a change here is a change of every study.
GOLDEN = "[1, 0, 5, 9, 7, 7, 9, 6, 1, 4, 8, 3]"


@pytest.mark.parametrize("num_tokens", [0, 1, 8])
def test_fewer_tokens_than_a_window_are_refused(num_tokens: int) -> None:
    with pytest.raises(CorpusError, match=r"fewer than one window.*context_length"):
        windows(8, num_tokens)
    assert windows(8, 9).num_windows == 1


# A replica's corpus


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


def documents_of(dataset: Dataset, tokens: NDArray[Any]) -> list[int]:
    """The training documents that `tokens` are, one after the other, the last one perhaps cut."""
    starts, whole = dataset.documents("train").starts, np.asarray(dataset.tokens("train"))
    by_content = {whole[a:b].tobytes(): number for number, (a, b) in enumerate(itertools.pairwise(starts))}
    ends = np.flatnonzero(tokens == dataset.tokenizer.end_of_text) + 1
    parts = np.split(tokens, ends)
    cut = [n for n, (a, b) in enumerate(itertools.pairwise(starts)) if np.array_equal(whole[a:b][: len(parts[-1])], parts[-1])]
    return [by_content[part.tobytes()] for part in parts[:-1]] + (cut[:1] if len(parts[-1]) else [])


@pytest.mark.parametrize("unique_tokens", [33, 5_000, 60_001])
def test_no_token_beyond_a_replicas_corpus_is_ever_read(dataset: Dataset, unique_tokens: int) -> None:
    own = training_windows(dataset, 32, 7, unique_tokens)
    assert len(own.tokens) == unique_tokens
    taken = own.take(0, 3 * own.num_windows)
    assert taken.shape == (3 * own.num_windows, 33)
    allowed = {own.tokens[k * 32 : k * 32 + 33].tobytes() for k in range(own.num_windows)}
    assert {window.astype(own.tokens.dtype).tobytes() for window in taken} <= allowed


def test_a_replicas_corpus_is_read_as_often_as_planned(dataset: Dataset) -> None:
    own = training_windows(dataset, 32, 7, 100 * 32 + 1)
    assert own.num_windows == 100
    times = Counter(own.starts(0, 250).tolist())
    assert sorted(times) == list(range(0, 3200, 32))
    assert Counter(times.values()) == {3: 50, 2: 50}, "two epochs and a half"


def test_a_replicas_corpus_is_whole_documents_from_all_over_the_split(dataset: Dataset) -> None:
    tokens = training_windows(dataset, 32, 7, 60_001).tokens
    numbers = documents_of(dataset, tokens)
    assert len(numbers) == len(set(numbers)), "each of them once"
    documents = dataset.documents("train")
    beginning = {documents.projects[number] for number in range(int(np.searchsorted(documents.starts, 60_001)))}
    assert len({documents.projects[number] for number in numbers}) > 2 * len(beginning)


def test_a_replicas_corpus_is_the_same_for_all_seeds_and_part_of_any_larger_one(dataset: Dataset) -> None:
    small, other, large = (training_windows(dataset, 32, s, n).tokens for s, n in ((0, 9_000), (1, 9_000), (0, 20_000)))
    np.testing.assert_array_equal(small, other)
    np.testing.assert_array_equal(small, large[:9_000])


def test_a_corpus_of_all_tokens_is_the_split_as_it_is(dataset: Dataset) -> None:
    whole = dataset.tokens("train")
    for unique_tokens in (None, len(whole), len(whole) + 1):
        np.testing.assert_array_equal(training_windows(dataset, 32, 0, unique_tokens).tokens, whole)
    for unique_tokens in (len(whole) - 1, len(whole) - 100):
        assert len(training_windows(dataset, 32, 0, unique_tokens).tokens) == unique_tokens


def test_a_replicas_corpus_of_less_than_a_window_is_refused(dataset: Dataset) -> None:
    with pytest.raises(CorpusError, match="fewer than one window"):
        training_windows(dataset, 32, 0, 32)
