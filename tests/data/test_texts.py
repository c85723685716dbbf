from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autonas.data import texts
from autonas.data.corpus import CorpusSettings, collect, corpus_fingerprint
from autonas.data.dataset import _tokenizer_texts
from autonas.data.records import Document
from autonas.data.sources import find_files, part_at, parts, read_documents, read_part
from autonas.errors import CorpusError
from tests.data.conftest import source_text


def jsonl(folder: Path, lines: int, name: str = "data.jsonl") -> Path:
    path = folder / name
    rows = (json.dumps({"text": source_text(number, 4 + number % 40), "project": f"p{number % 5}"}) for number in range(lines))
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def mixed(make_tree: Callable[..., Path], tmp_path: Path) -> CorpusSettings:
    """Text files, some of them copies, empty or binary, and JSON Lines."""
    root = make_tree(projects=8)
    (root / "project0" / "copy.txt").write_bytes((root / "project1" / "src" / "file0.txt").read_bytes())
    (root / "project2" / "empty.txt").write_text(" ")
    (root / "project3" / "binary.txt").write_bytes(b"\0\1")
    return CorpusSettings(paths=(f"{root}/**/*.txt",), jsonl=(str(jsonl(tmp_path, 60)),))


def test_how_many_processes_read_changes_nothing(mixed: CorpusSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_PART_BYTES", 3000)  # many small portions
    one, report = collect(mixed, processes=1)
    for processes in (2, 3):
        more, same = collect(mixed, processes=processes)
        assert (more, same) == (one, report)
        assert corpus_fingerprint(more) == corpus_fingerprint(one)
    assert report.dropped == {"binary": 1, "empty": 1, "exact duplicate": 1}


@pytest.mark.parametrize("size", [1, 50, 1000, 10**9])
def test_the_parts_of_a_file_hold_its_lines_once_and_whole(tmp_path: Path, size: int) -> None:
    (file,) = find_files(CorpusSettings(jsonl=(str(jsonl(tmp_path, 30)),)))
    found = list(parts(file, size))
    assert sum(part.num_bytes for part in found) == file.num_bytes
    documents = [document for part in found for document in read_part(part)]
    assert documents == list(read_documents(file))
    assert [document.name.rpartition(":")[2] for document in documents] == [str(number) for number in range(1, 31)]


def test_a_bad_line_in_a_later_part_is_named_by_its_number_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path, 40)
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:33], "{", *lines[33:]]), encoding="utf-8")
    monkeypatch.setattr(texts, "_PART_BYTES", 500)
    for processes in (1, 2):
        with pytest.raises(CorpusError, match=r"data\.jsonl:34: not JSON"):
            collect(CorpusSettings(jsonl=(str(path),)), processes=processes)


@pytest.mark.parametrize("place", [0, 1, 777, 5000])
def test_a_part_from_anywhere_begins_and_ends_with_a_line(tmp_path: Path, place: int) -> None:
    path = jsonl(tmp_path, 60)
    (file,) = find_files(CorpusSettings(jsonl=(str(path),)))
    part = part_at(file, place, 2000)
    content = path.read_bytes()
    assert part.start == (0 if place == 0 else content.index(b"\n", place - 1) + 1)
    assert content[part.start : part.start + part.num_bytes].endswith(b"\n")
    assert list(read_part(part))


def document(number: int, split: str = "train") -> Document:
    return Document(name=str(number), project="p", text=source_text(number), split=split)  # type: ignore[arg-type]


def test_a_tokenizer_learns_from_a_fixed_sample_of_a_large_train_split() -> None:
    documents = [document(number, "train" if number % 4 else "validation") for number in range(80)]
    whole = _tokenizer_texts(documents)
    assert whole == [d.text for d in documents if d.split == "train"]
    limit = sum(map(len, whole)) // 3
    sample = _tokenizer_texts(documents, limit)
    assert sample == _tokenizer_texts(documents, limit)
    assert limit <= sum(map(len, sample)) < limit + max(map(len, whole))
    assert [text for text in whole if text in sample] == sample, "in the corpus's own order"
    assert sample != whole[: len(sample)], "not its first documents alone"
    assert len(_tokenizer_texts(documents, 1)) == 1
