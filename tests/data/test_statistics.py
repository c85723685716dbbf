from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from autonas.data.dataset import Dataset
from autonas.data.statistics import balance, count_tokens, sources_of, split_statistics, vocabulary_use
from autonas.data.token_classes import CLASSES, token_classes


def test_tokens_are_counted_as_a_counter_does_whatever_the_chunk(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = dataset.tokens("train")
    expected = Counter(tokens.tolist())
    for chunk in (7, 1 << 22):
        monkeypatch.setattr("autonas.data.statistics._CHUNK", chunk)
        counts = count_tokens(tokens, dataset.vocab_size)
        assert {n: c for n, c in enumerate(counts.tolist()) if c} == expected


def test_what_a_vocabulary_is_used_for(dataset: Dataset) -> None:
    classes = token_classes(dataset.tokenizer)
    counts = np.zeros(dataset.vocab_size, dtype=np.int64)
    counts[[5, 6, 7, 8]] = [400, 400, 100, 100]
    use = vocabulary_use(counts, classes, 3)
    assert (use.size, use.never, use.rare) == (300, 296, 296)
    assert use.entropy_bits == pytest.approx(-2 * 0.4 * math.log2(0.4) - 2 * 0.1 * math.log2(0.1))
    assert [(t.text, t.count) for t in use.top] == [(classes.texts[n], c) for n, c in ((5, 400), (6, 400), (7, 100))]
    assert [t.share for t in use.top] == pytest.approx([0.4, 0.4, 0.1])
    assert all(t.name == CLASSES[classes.alone[n]] for t, n in zip(use.top, (5, 6, 7), strict=True))


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.4])
def test_the_exponent_of_a_zipf_law_is_found(dataset: Dataset, exponent: float) -> None:
    counts = (1e9 * np.arange(1, 301) ** -exponent).astype(np.int64)
    assert vocabulary_use(counts, token_classes(dataset.tokenizer), 1).zipf == pytest.approx(exponent, abs=0.01)


def test_a_split_in_figures(dataset: Dataset) -> None:
    documents = dataset.documents("train")
    texts = [dataset.text("train", number) for number in range(len(documents))]
    lengths = np.diff(documents.starts)
    context = int(np.median(lengths))
    found = split_statistics(dataset, "train", token_classes(dataset.tokenizer), context)
    assert found.documents == len(texts) and found.tokens == lengths.sum() == dataset.report["tokens"]["train"]
    assert found.bytes == sum(len(text.encode()) for text in texts)
    of_text = found.tokens - found.documents
    assert found.bytes_per_token == pytest.approx(found.bytes / of_text)
    assert found.characters_per_token == pytest.approx(sum(map(len, texts)) / of_text)
    assert math.fsum(found.classes.values()) == pytest.approx(1)
    assert found.classes["special"] == pytest.approx(found.documents / found.tokens)
    assert found.structural == pytest.approx(sum(found.classes[name] for name in ("newline", "whitespace", "punctuation")))
    assert found.lengths["0"] == lengths.min() and found.lengths["100"] == lengths.max()
    assert found.over_context == pytest.approx((lengths > context).mean())
    assert split_statistics(dataset, "train", token_classes(dataset.tokenizer), None).over_context is None


def test_balance_is_one_over_the_sum_of_squares() -> None:
    found = balance(["a", "b", "a", "c"], np.array([10, 40, 30, 20]))
    assert found.count == 3
    assert dict(found.largest) == {"a": 0.4, "b": 0.4, "c": 0.2}
    assert found.effective == pytest.approx(1 / (0.16 + 0.16 + 0.04))
    equal = balance([str(n) for n in range(50)], np.full(50, 7))
    assert equal.effective == pytest.approx(50) and len(equal.largest) == 5


def test_a_source_is_the_first_folder_of_a_name() -> None:
    assert sources_of(["python-stdlib/json/a.py", "src/b.py", "rows.jsonl:7", "alone.py"]) == [
        "python-stdlib",
        "src",
        "rows.jsonl",
        "alone.py",
    ]
