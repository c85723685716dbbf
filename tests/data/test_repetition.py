from __future__ import annotations

import random
from pathlib import Path

import pytest

from autonas.data.records import CorpusReport, Document
from autonas.data.repetition import Repetition, equal_documents, find_repetition
from autonas.data.store import Dataset, write_dataset
from autonas.data.token_classes import token_classes
from autonas.data.tokenizer import Tokenizer
from tests.data.conftest import WORDS, source_text

LICENCE = "# this file is under the terms of the licence that is in the file beside it\n"


def build(folder: Path, train: list[str], validation: list[str] | None = None) -> Dataset:
    documents = [Document(name=f"a/{n}.py", project=f"a{n}", text=text) for n, text in enumerate(train)]
    validation = validation or [source_text(99_000, 5)]
    documents += [Document(name=f"v/{n}.py", project="v", text=text, split="validation") for n, text in enumerate(validation)]
    documents.append(Document(name="t/0.py", project="t", text=source_text(99_001, 5), split="test"))
    folder.mkdir()
    tokenizer = Tokenizer.train([source_text(seed) for seed in range(20)], 300)
    write_dataset(folder, documents, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    return Dataset.open(folder)


def found(dataset: Dataset) -> Repetition:
    return find_repetition(dataset, token_classes(dataset.tokenizer))


def test_unlike_texts_repeat_nothing(tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", [source_text(seed) for seed in range(30)])
    assert found(dataset) == Repetition(stretches=0.0, boilerplate=0.0, lines=(), generated=())
    assert equal_documents(dataset) == {}


def test_stretches_that_stood_before_are_the_share_that_was_copied(tmp_path: Path) -> None:
    texts = [source_text(seed, 60) for seed in range(20)]
    dataset = build(tmp_path / "data", [*texts, source_text(500, 30) + "".join(texts[:5])])
    copied = sum(len(dataset.tokenizer.encode(text)) for text in texts[:5])
    assert found(dataset).stretches == pytest.approx(copied / len(dataset.tokens("train")), rel=0.1)


def test_a_sample_of_stretches_has_the_share_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [source_text(seed, 60) for seed in range(20)]
    dataset = build(tmp_path / "data", [*texts, *(text + source_text(n + 700, 60) for n, text in enumerate(texts))])
    whole = found(dataset).stretches
    monkeypatch.setattr("autonas.data.repetition._HASHES", len(dataset.tokens("train")) // 4)
    assert found(dataset).stretches == pytest.approx(whole, abs=0.02)
    assert 0.2 < whole < 0.4


def test_a_line_that_all_documents_share_is_boilerplate_and_is_shown_as_it_stands(tmp_path: Path) -> None:
    dataset = build(tmp_path / "data", [LICENCE + source_text(seed) for seed in range(30)])
    repetition = found(dataset)
    assert [(line.text, line.documents) for line in repetition.lines] == [(LICENCE.strip(), 30)]
    line = dataset.tokenizer.encode(LICENCE)
    assert (
        repetition.boilerplate == repetition.lines[0].share == pytest.approx(30 * len(line) / len(dataset.tokens("train")), 0.2)
    )


def test_an_indented_line_is_the_same_line_and_one_of_two_documents_is_none(tmp_path: Path) -> None:
    texts = [source_text(seed) + ("    " * (seed % 3)) + LICENCE for seed in range(9)]
    texts += [source_text(80 + n) + "one_more = line(that, only, two, have, of, them)\n" for n in range(2)]
    lines = found(build(tmp_path / "data", texts)).lines
    assert [(line.text, line.documents) for line in lines] == [(LICENCE.strip(), 9)]


def test_lines_within_one_document_are_not_shared_ones_and_look_generated(tmp_path: Path) -> None:
    table = "".join(f"{WORDS[n % 3]}({WORDS[n % 2]}, {WORDS[0]}, {WORDS[1]})\n" for n in range(90))
    draw = random.Random(0)
    numbers = "".join(", ".join(str(draw.randrange(10**6)) for _ in range(5)) + ",\n" for _ in range(80))
    repetition = found(build(tmp_path / "data", [*(source_text(seed) for seed in range(10)), table, numbers]))
    assert repetition.lines == ()
    assert [name.split(" ")[0] for name in repetition.generated] == ["a/10.py", "a/11.py"]
    assert "lines are different" in repetition.generated[0] and "are numbers" in repetition.generated[1]


def test_equal_documents_are_counted_by_their_splits(tmp_path: Path) -> None:
    texts = [source_text(seed) for seed in range(5)]
    dataset = build(tmp_path / "data", [*texts, texts[0], texts[0]], [texts[1], source_text(50), source_text(50)])
    assert equal_documents(dataset) == {"train, train": 2, "train, validation": 1, "validation, validation": 1}


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [LICENCE + source_text(seed) for seed in range(12)]
    dataset = build(tmp_path / "data", [*texts, texts[3] + source_text(77)])
    whole = found(dataset)
    monkeypatch.setattr("autonas.data.grams._CHUNK", 900)
    assert found(dataset) == whole
