from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from autonas.data.corpus import CorpusSettings, collect
from autonas.data.records import SPLITS, CorpusReport, Document
from autonas.data.store import Dataset, write_dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError
from tests.data.conftest import source_text


def test_every_document_comes_back_exactly_and_ends_with_end_of_text(settings: CorpusSettings, dataset: Dataset) -> None:
    corpus, _ = collect(settings)
    end = dataset.tokenizer.end_of_text
    for split in SPLITS:
        members = [document for document in corpus if document.split == split]
        documents, tokens = dataset.documents(split), dataset.tokens(split)
        assert documents.names == tuple(document.name for document in members)
        assert documents.projects == tuple(document.project for document in members)
        assert documents.bytes.tolist() == [document.num_bytes for document in members]
        assert [dataset.text(split, number) for number in range(len(documents))] == [document.text for document in members]
        assert np.flatnonzero(tokens == end).tolist() == (documents.starts[1:] - 1).tolist()
        assert documents.starts[0] == 0
        assert documents.starts[-1] == len(tokens) == dataset.report["tokens"][split]


def test_tokens_are_mapped_two_bytes_wide_and_read_only(dataset: Dataset) -> None:
    tokens = dataset.tokens("train")
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


def test_a_vocabulary_above_65536_takes_four_bytes(tmp_path: Path) -> None:
    values = json.loads(Tokenizer.train([source_text(0)], 300).to_bytes())
    for number in range(300, 65_600):
        values["model"]["vocab"][f"Ġ{number}Ġ"] = number
    (tmp_path / "wide.json").write_text(json.dumps(values), encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path / "wide.json")
    assert tokenizer.vocab_size == 65_600
    documents = [
        Document(name=str(n), project=str(n), text=source_text(n, lines=3), split=split) for n, split in enumerate(SPLITS)
    ]
    (tmp_path / "data").mkdir()
    write_dataset(tmp_path / "data", documents, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.tokens("train").dtype == np.uint32
    assert dataset.text("train", 0) == documents[0].text


def test_a_data_set_may_be_moved(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.folder, tmp_path / "moved")
    moved = Dataset.open(tmp_path / "moved", dataset.fingerprint)
    moved.verify()
    assert moved.text("test", 0) == dataset.text("test", 0)


def test_another_data_set_than_the_one_asked_for_is_refused(dataset: Dataset) -> None:
    with pytest.raises(CorpusError, match="not 0123456789abcdef"):
        Dataset.open(dataset.folder, "0123456789abcdef")


def test_a_missing_folder_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such data set"):
        Dataset.open(tmp_path / "none")


def test_every_missing_or_truncated_file_is_noticed_on_opening(dataset: Dataset) -> None:
    paths = sorted(dataset.folder.iterdir())
    assert len(paths) == 8
    for path in paths:
        content = path.read_bytes()
        for damaged in (None, content[:-1], content[: len(content) // 2], b"", content + b"\0"):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            with pytest.raises(CorpusError, match="delete this folder"):
                Dataset.open(dataset.folder)
        path.write_bytes(content)
    Dataset.open(dataset.folder).verify()


def test_every_flipped_bit_is_noticed_by_verification(dataset: Dataset) -> None:
    draw = random.Random(0)
    for path in sorted(dataset.folder.iterdir()):
        content = path.read_bytes()
        for _ in range(10):
            damaged = bytearray(content)
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(CorpusError, match="delete this folder"):
                Dataset.open(dataset.folder).verify()
        path.write_bytes(content)


def test_a_data_set_of_another_format_is_told_from_a_corrupt_one(dataset: Dataset) -> None:
    path = dataset.folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": 99}), encoding="utf-8")
    with pytest.raises(CorpusError, match="format 99"):
        Dataset.open(dataset.folder)


def test_the_description_names_what_matters(dataset: Dataset) -> None:
    text = "\n".join(dataset.lines())
    assert dataset.fingerprint in text
    assert f"{dataset.report['tokens']['train']:,}" in text
    assert dataset.ref.folder == str(dataset.folder)
