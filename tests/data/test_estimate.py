from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autonas.data import estimate
from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.data.estimate import CorpusSize, size_corpus
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


@pytest.mark.parametrize("stated", [8000, None])
def test_rows_elsewhere_are_sampled_and_scaled_to_what_the_hub_states(
    stated: int | None, make_tree: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    sample = make_tree(projects=30)

    def find(corpus: CorpusSettings, cache: Path) -> list[object]:
        from autonas.data.sources import find_files

        assert corpus.hub is not None
        asked.append(corpus.hub.max_documents)
        return list(find_files(CorpusSettings(paths=(f"{sample}/**/*.txt",))))

    monkeypatch.setattr(estimate, "is_near", lambda settings, cache: False)
    monkeypatch.setattr(estimate, "count_rows", lambda settings: stated)
    monkeypatch.setattr(estimate, "find_files", find)
    size = size_corpus(CorpusSettings(hub=HubSettings(dataset="a/b")), SMALL, tmp_path)
    assert asked == [2000], "no more is fetched for a plan"
    assert size.whole_known == (stated is not None)
    local = prepare(CorpusSettings(paths=(f"{sample}/**/*.txt",)), SMALL, tmp_path / "cache")
    scale = (stated or 2000) / 2000
    assert size.train_tokens == pytest.approx(scale * len(local.tokens("train")), rel=0.25)
