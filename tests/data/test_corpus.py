from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from autonas.data.corpus import CorpusSettings, collect, corpus_fingerprint
from autonas.data.duplicates import SIMILARITY, jaccard, shingle_hashes
from autonas.data.sources import find_files
from autonas.errors import CorpusError
from tests.data.conftest import source_text


def test_every_document_found_is_kept_or_dropped_for_a_reason(make_tree: Callable[..., Path]) -> None:
    root = make_tree()
    spoiled = {
        "empty": b"  \n",
        "binary": b"a\0b",
        "undecodable": b"caf\xe9 au lait",
        "generated": b"# @generated\n" + source_text(7).encode(),
        "exact duplicate": source_text(0).encode(),
        "near duplicate": source_text(1).encode().replace(b"\n", b" # \n", 1),
    }
    for reason, data in spoiled.items():
        (root / f"{reason}.txt").write_bytes(data)
    documents, report = collect(CorpusSettings(paths=(f"{root}/**/*.txt",)))
    assert report.dropped == dict.fromkeys(spoiled, 1)
    assert report.found == len(documents) + len(spoiled) == 18 + len(spoiled)
    assert Counter(report.documents) == Counter(document.split for document in documents)
    assert all(report.dropped_examples[reason] for reason in spoiled)


def test_no_near_duplicates_are_left_across_the_split(make_tree: Callable[..., Path]) -> None:
    root = make_tree(projects=10)
    for project in range(10):  # a copy of each project's file, edited a little, in the next project
        text = source_text(1000 * project).replace("\n", f"\nnote{project}\n", 1)
        (root / f"project{(project + 1) % 10}" / "copied.txt").write_text(text, encoding="utf-8")
    documents, report = collect(CorpusSettings(paths=(f"{root}/**/*.txt",), validation_share=0.2, test_share=0.2))
    assert report.dropped == {"near duplicate": 10}
    sets = [shingle_hashes(document.text) for document in documents]
    for i, document in enumerate(documents):
        for j in range(i):
            if documents[j].split != document.split:
                assert jaccard(sets[i], sets[j]) < SIMILARITY


def test_the_same_files_give_the_same_corpus(settings: CorpusSettings) -> None:
    first, second = collect(settings), collect(settings)
    assert first == second
    assert corpus_fingerprint(first[0]) == corpus_fingerprint(second[0])


def test_the_fingerprint_tells_apart_whatever_differs(settings: CorpusSettings) -> None:
    documents, _ = collect(settings)
    changes = [{"name": "other"}, {"project": "other"}, {"text": documents[0].text + " "}, {"split": "test"}]
    variants = [[dataclasses.replace(documents[0], **change), *documents[1:]] for change in changes]  # type: ignore[arg-type]
    assert len({corpus_fingerprint(variant) for variant in [documents, *variants, documents[1:], documents[::-1]]}) == 7


def test_max_bytes_limits_the_train_split_alone(settings: CorpusSettings) -> None:
    documents, report = collect(settings)
    limit = report.bytes["train"] // 2
    limited, after = collect(dataclasses.replace(settings, max_bytes=limit))
    assert limit // 2 < after.bytes["train"] <= limit
    assert [d for d in limited if d.split != "train"] == [d for d in documents if d.split != "train"]
    assert {d.name for d in limited} < {d.name for d in documents}
    assert after.dropped == {"over max_bytes": len(documents) - len(limited)}


def test_max_bytes_smaller_than_any_document_is_refused(settings: CorpusSettings) -> None:
    with pytest.raises(CorpusError, match="max_bytes"):
        collect(dataclasses.replace(settings, max_bytes=3))


def test_a_corpus_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"none of 3 documents can be used \(empty 3\)"):
        collect(CorpusSettings(paths=(f"{tmp_path}/*.txt",)))


def test_a_file_that_goes_away_is_dropped_from_a_pattern_and_refused_by_name(make_tree: Callable[..., Path]) -> None:
    root = make_tree()
    gone = root / "project0" / "src" / "file0.txt"
    pattern, literal = CorpusSettings(paths=(f"{root}/**/*.txt",)), CorpusSettings(paths=(str(gone), f"{root}/**/*.txt"))
    by_pattern, by_name = find_files(pattern), find_files(literal)
    gone.unlink()
    assert collect(pattern, by_pattern)[1].dropped == {"unreadable": 1}
    with pytest.raises(CorpusError, match=r"file0\.txt: cannot be read"):
        collect(literal, by_name)


def test_the_interpreters_library_makes_a_sound_corpus() -> None:
    documents, report = collect(CorpusSettings())
    total = sum(report.bytes.values())
    assert total > 5_000_000
    assert report.bytes["validation"] / total == pytest.approx(0.05, rel=0.15)
    assert report.bytes["test"] / total == pytest.approx(0.05, rel=0.15)
    assert report.dropped["generated"] > 100
    assert not [document.name for document in documents if "encodings" in document.name]
    assert report.licences["PSF-2.0"] > 400
