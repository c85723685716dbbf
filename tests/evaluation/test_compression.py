from __future__ import annotations

import lzma
import math
from pathlib import Path

import numpy as np
import pytest

from autonas.data.dataset import Dataset
from autonas.data.records import CorpusReport, Document, Split
from autonas.data.store import write_dataset
from autonas.data.tokenizer import Tokenizer
from autonas.evaluation import compression as module
from autonas.evaluation.compression import compressed_bits, compression, conditional_bits, training_sample
from autonas.evaluation.scored import choose_documents


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def test_random_bytes_take_eight_bits_each_whatever_stands_before() -> None:
    text = random_bytes(50_000)
    assert compressed_bits(text) / len(text) == pytest.approx(8.0, abs=0.02)
    assert conditional_bits(random_bytes(50_000, seed=1), [text]) / len(text) == pytest.approx(8.0, abs=0.02)


def test_a_text_that_stood_before_takes_next_to_nothing() -> None:
    text = random_bytes(50_000)
    assert conditional_bits(random_bytes(100_000, seed=1) + text + random_bytes(100_000, seed=2), [text]) / len(text) < 0.05


def test_repeated_text_takes_next_to_nothing_and_an_even_choice_of_two_takes_a_bit() -> None:
    assert compressed_bits(b"0, " * 100_000) / 300_000 < 0.01
    coins = b"".join(b"ab"[coin : coin + 1] for coin in np.random.default_rng(0).integers(0, 2, 100_000))
    assert 1.0 < compressed_bits(coins) / 100_000 < 1.3


def test_a_raw_stream_has_no_container() -> None:
    assert compressed_bits(b"x") < 8 * len(lzma.compress(b"x")) / 4
    assert compressed_bits(b"") <= 16 and conditional_bits(b"abc", []) == 0


def test_bits_and_nats_are_of_the_same_text(dataset: Dataset) -> None:
    found = compression(dataset, 1_000_000)
    documents = dataset.documents("validation")
    total_nats = found.nats * documents.starts[-1]
    assert total_nats == pytest.approx(found.bits_per_byte * math.log(2) * documents.bytes.sum())
    assert found.num_bytes == documents.bytes.sum() and found.training_bytes <= module.TRAINING_BYTES
    assert 1.0 < found.bits_per_byte < found.alone < 3.0, "code of another project helps a little"


def test_what_is_compressed_is_of_the_documents_that_are_scored(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    few = choose_documents(dataset.documents("validation"), 9000)
    assert compression(dataset, 9000).num_bytes == dataset.documents("validation").bytes[few].sum()
    monkeypatch.setattr(module, "SCORED_BYTES", 20_000)
    assert 0 < compression(dataset, 9001).num_bytes <= 20_000


def test_the_training_sample_is_whole_documents_from_all_over(dataset: Dataset) -> None:
    sample = training_sample(dataset, 60_000)
    assert len(sample) <= 60_000 and sample == training_sample(dataset, 60_000)
    texts = [dataset.text("train", number) for number in range(len(dataset.documents("train")))]
    places = [texts.index(text) for text in sample.decode().split("\0")]
    assert len(places) > 2 and min(places) < len(texts) / 2 < max(places)
    assert len(training_sample(dataset, 10)) == 10, "a part of the smallest, rather than nothing"


def test_a_validation_document_that_was_trained_on_is_no_surprise(tmp_path: Path, dataset: Dataset) -> None:
    text = dataset.text("validation", 0)
    splits: tuple[Split, ...] = ("train", "validation", "test")
    members = [Document(name=split, project=split, text=text, split=split) for split in splits]
    (tmp_path / "copied").mkdir()
    tokenizer: Tokenizer = dataset.tokenizer
    write_dataset(tmp_path / "copied", members, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    found = compression(Dataset.open(tmp_path / "copied"), 100_000)
    assert found.bits_per_byte < 0.05 * found.alone


def test_it_is_computed_once(dataset: Dataset) -> None:
    first = compression(dataset, 5000)
    assert compression(Dataset.open(dataset.folder), 5000) is first
