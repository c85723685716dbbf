from __future__ import annotations

import numpy as np
import pytest

from autonas.data import grams
from autonas.data.dataset import Dataset
from autonas.data.grams import GRAM, distinct, document_chunks, grams_of, token_hashes
from autonas.data.token_classes import vocabulary_texts


def test_tokens_with_the_same_text_but_for_blanks_are_the_same_and_no_others(dataset: Dataset) -> None:
    texts, hashes = vocabulary_texts(dataset.tokenizer), token_hashes(dataset)
    by_text: dict[str, set[int]] = {}
    for text, value in zip(texts, hashes.tolist(), strict=True):
        if "\ufffd" not in text:
            by_text.setdefault(text.strip(), set()).add(value)
    assert by_text.pop("") == {0}
    assert all(len(values) == 1 for values in by_text.values())
    assert len(set().union(*by_text.values())) == len(by_text)
    halves = [value for text, value in zip(texts, hashes.tolist(), strict=True) if "\ufffd" in text]
    assert len(set(halves)) == len(halves) > 100


def test_runs_are_equal_exactly_where_their_tokens_are(dataset: Dataset) -> None:
    table, tokens, starts = token_hashes(dataset), dataset.tokens("train"), dataset.documents("train").starts
    count = len(starts) - 1
    found = grams_of(dataset, "train", table, 0, count)
    by_hash: dict[int, tuple[int, ...]] = {}
    at = 0
    for number in range(count):
        values = [int(value) for value in table[tokens[starts[number] : starts[number + 1]]] if value]
        assert found.tokens[number] == len(values)
        for first in range(len(values) - GRAM + 1):
            run = tuple(values[first : first + GRAM])
            assert found.owners[at] == number
            assert by_hash.setdefault(int(found.grams[at]), run) == run
            at += 1
    assert at == len(found.grams)
    assert len(by_hash) == len(set(by_hash.values())), "equal runs have equal hashes"


def test_the_order_of_tokens_counts() -> None:
    draw = np.random.default_rng(0).integers(1, 2**63, GRAM, dtype=np.uint64)
    forward = (draw * grams._FACTORS).sum(dtype=np.uint64)
    assert forward != (draw[::-1] * grams._FACTORS).sum(dtype=np.uint64)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_chunks_are_whole_documents_without_a_gap(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(grams, "_CHUNK", size)
    starts = np.array([0, 3, 5, 40, 41, 60])
    chunks = list(document_chunks(starts))
    assert [first for first, _ in chunks] == [0, *(last for _, last in chunks[:-1])]
    assert chunks[-1][1] == 5
    assert all(last - first == 1 or starts[last] - starts[first] <= size for first, last in chunks)


def test_different_values_are_those_of_a_set() -> None:
    values = np.random.default_rng(1).integers(0, 50, 200)
    assert distinct(values).tolist() == sorted(set(values.tolist()))
    assert distinct(values[:0]).tolist() == []
