from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autonas.data import estimate
from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.data.estimate import CorpusSize, size_corpus
from autonas.data.files import FoundFile, found_file
from autonas.data.records import HubSettings
from autonas.errors import CorpusError
from tests.data.conftest import source_text

SMALL = TokenizerSettings(vocab_size=300)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of kilobytes is treated as one of gigabytes is."""
    monkeypatch.setattr(estimate, "_WORTH_SAMPLING", 0)
    monkeypatch.setattr(estimate, "_SAMPLE_BYTES", 40_000)


def check(size: CorpusSize, settings: CorpusSettings, cache: Path) -> None:
    assert size.dataset is None
    assert size.sampled_documents
    real = prepare(settings, SMALL, cache)
    assert size.train_tokens == pytest.approx(len(real.tokens("train")), rel=0.25)
    # Few projects fill a small share badly; what is asked for is what is estimated.
    assert size.validation_tokens == pytest.approx(size.train_tokens / 18, rel=0.01)
    assert size.disk_bytes == pytest.approx(2 * sum(len(real.tokens(s)) for s in ("train", "validation", "test")), rel=0.25)


def test_a_sample_of_files_tells_the_size_of_all(make_tree: Callable[..., Path], tmp_path: Path, sampled: None) -> None:
    root = make_tree(projects=30, files=4)
    for number in range(40):
        (root / f"project{number % 30}" / f"empty{number}.txt").write_text(" " * 1500, encoding="utf-8")
    settings = CorpusSettings(paths=(f"{root}/**/*.txt",))
    check(size_corpus(settings, SMALL, tmp_path / "cache"), settings, tmp_path / "cache")


def test_lines_from_several_places_tell_the_size_of_a_long_file(tmp_path: Path, sampled: None) -> None:
    rows = (json.dumps({"text": source_text(number, 10 + number // 10), "project": f"p{number % 30}"}) for number in range(400))
    (tmp_path / "data.jsonl").write_text("\n".join(rows), encoding="utf-8")
    settings = CorpusSettings(jsonl=(str(tmp_path / "data.jsonl"),))
    check(size_corpus(settings, SMALL, tmp_path / "cache"), settings, tmp_path / "cache")


def test_a_prepared_corpus_is_counted(settings: CorpusSettings, tmp_path: Path, sampled: None) -> None:
    real = prepare(settings, SMALL, tmp_path / "cache")
    size = size_corpus(settings, SMALL, tmp_path / "cache")
    assert size.dataset is not None
    assert size.dataset.fingerprint == real.fingerprint
    assert size.sampled_documents is None
    assert size.train_tokens == len(real.tokens("train"))
    assert size.disk_bytes >= 2 * size.train_tokens


def test_a_small_corpus_is_prepared_and_nothing_estimated(settings: CorpusSettings, tmp_path: Path) -> None:
    assert size_corpus(settings, SMALL, tmp_path / "cache").dataset is not None


def test_a_limit_on_the_train_split_limits_the_estimate(make_tree: Callable[..., Path], tmp_path: Path, sampled: None) -> None:
    root = make_tree(projects=30, files=4)
    free, limited = (
        size_corpus(CorpusSettings(paths=(f"{root}/**/*.txt",), max_bytes=limit), SMALL, tmp_path) for limit in (None, 50_000)
    )
    assert limited.train_tokens < free.train_tokens
    assert limited.validation_tokens == free.validation_tokens


def test_a_vocabulary_too_large_for_the_sample_is_no_complaint(
    make_tree: Callable[..., Path], tmp_path: Path, sampled: None
) -> None:
    settings = CorpusSettings(paths=(f"{make_tree(projects=30)}/**/*.txt",))
    assert size_corpus(settings, TokenizerSettings(vocab_size=60_000), tmp_path).train_tokens > 0


def test_a_sample_without_a_usable_document_is_one_message(tmp_path: Path, sampled: None) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(CorpusError, match="hardly any can be used"):
        size_corpus(CorpusSettings(paths=(f"{tmp_path}/*.txt",)), SMALL, tmp_path / "cache")


def write_rows(path: Path, numbers: range) -> Path:
    """Rows of the hub as they are kept: JSON Lines."""
    lines = (json.dumps({"text": source_text(number), "project": f"p{number % 30}"}) for number in numbers)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int | None]]:
    """Makes a hub that is not here and sends 100 rows; gives the numbers of rows that it is then asked for."""

    def make(stated: int | None) -> list[int | None]:
        asked: list[int | None] = []

        def find(settings: HubSettings, cache: Path) -> FoundFile:
            asked.append(settings.max_documents)
            path = write_rows(tmp_path / "sent.jsonl", range(50_000, 50_100))
            return found_file(path, "a/b/train", "a/b/train", jsonl=True)

        monkeypatch.setattr(estimate, "is_near", lambda settings, cache: False)
        monkeypatch.setattr(estimate, "count_rows", lambda settings: stated)
        monkeypatch.setattr(estimate, "find_rows", find)
        return asked

    return make


@pytest.mark.parametrize("stated", [8000, 1000, None])
def test_rows_elsewhere_are_sampled_and_scaled_to_what_the_hub_states(
    stated: int | None, elsewhere: Callable[..., list[int | None]], tmp_path: Path
) -> None:
    asked = elsewhere(stated)
    size = size_corpus(CorpusSettings(hub=HubSettings(dataset="a/b")), SMALL, tmp_path)
    assert asked == [2000], "no more is fetched for a plan"
    assert size.whole_known == (stated is not None)
    local = prepare(CorpusSettings(jsonl=(str(tmp_path / "sent.jsonl"),)), SMALL, tmp_path / "cache")
    scale = max((stated or 2000) / 2000, 1.0)
    assert size.train_tokens == pytest.approx(scale * len(local.tokens("train")), rel=0.25)


@pytest.mark.parametrize("times", [1, 4, 20])
def test_files_beside_rows_elsewhere_count_once_and_the_rows_as_often_as_the_hub_states(
    times: int, elsewhere: Callable[..., list[int | None]], make_tree: Callable[..., Path], tmp_path: Path, sampled: None
) -> None:
    elsewhere(times * 2000)
    own = f"{make_tree(projects=30, files=4)}/**/*.txt"
    # Most of these bytes are dropped, and none of the rows.
    for number in range(120):
        (tmp_path / "code" / f"project{number % 30}" / f"empty{number}.txt").write_text(" " * 4000, encoding="utf-8")
    size = size_corpus(CorpusSettings(paths=(own,), hub=HubSettings(dataset="a/b")), SMALL, tmp_path / "cache")
    rows = write_rows(tmp_path / "all.jsonl", range(50_000, 50_000 + 100 * times))
    real = prepare(CorpusSettings(paths=(own,), jsonl=(str(rows),)), SMALL, tmp_path / "cache")
    splits = ("train", "validation", "test")
    assert size.disk_bytes == pytest.approx(2 * sum(len(real.tokens(split)) for split in splits), rel=0.15)


def test_tokens_of_rows_elsewhere_weigh_as_much_as_there_are_rows(
    elsewhere: Callable[..., list[int | None]], tmp_path: Path
) -> None:
    """The tokenizer needs a token for each byte of the files, and fewer for the rows."""
    code = CorpusSettings(jsonl=(str(write_rows(tmp_path / "code.jsonl", range(400))),))
    prepare(code, SMALL, tmp_path / "cache").tokenizer.save(tmp_path / "tokenizer.json")
    tokenizer = TokenizerSettings(file=str(tmp_path / "tokenizer.json"), vocab_size=300)
    for number in range(60):
        draw = random.Random(number)
        text = "".join(f"{''.join(draw.choices(string.ascii_uppercase, k=24))}\n" for _ in range(80))
        (tmp_path / f"noise{number}.txt").write_text(text, encoding="utf-8")
    hub, own = HubSettings(dataset="a/b"), (f"{tmp_path}/noise*.txt",)

    def tokens(stated: int, **sources: Any) -> int:
        elsewhere(stated)
        return size_corpus(CorpusSettings(**sources), tokenizer, tmp_path / "cache").train_tokens

    beside = tokens(40_000, hub=hub, paths=own)
    assert beside == pytest.approx(tokens(40_000, hub=hub) + tokens(0, paths=own), rel=0.1)


def test_of_rows_that_are_here_the_whole_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampled: None) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", range(400))
    monkeypatch.setattr(estimate, "is_near", lambda settings, cache: True)
    monkeypatch.setattr(
        "autonas.data.sources.find_rows", lambda settings, cache: found_file(rows, "a/b/train", "a/b/train", jsonl=True)
    )
    size = size_corpus(CorpusSettings(hub=HubSettings(dataset="a/b")), SMALL, tmp_path / "cache")
    assert size.sampled_documents
    assert size.whole_known
