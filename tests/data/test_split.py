from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.data.records import SPLITS, Document
from autonas.data.split import assign_splits
from autonas.errors import CorpusError


def documents(sizes: dict[str, list[int]]) -> list[Document]:
    return [
        Document(name=f"{project}/f{number}/x.py", project=project, text="x" * size)
        for project, lengths in sizes.items()
        for number, size in enumerate(lengths)
    ]


corpora = st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 5000), min_size=1, max_size=4), min_size=3, max_size=30)
shares = st.floats(0.01, 0.25)


@given(corpora, shares, shares, st.integers())
def test_every_split_is_filled_and_no_project_straddles(
    sizes: dict[str, list[int]], validation: float, test: float, seed: int
) -> None:
    corpus = documents(sizes)
    splits, split_by = assign_splits(corpus, validation_share=validation, test_share=test, seed=seed)
    assert split_by == "project"
    assert set(splits) == set(SPLITS)
    homes = defaultdict(set)
    for document, split in zip(corpus, splits, strict=True):
        homes[document.project].add(split)
    assert all(len(home) == 1 for home in homes.values())


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_met_in_bytes_when_projects_are_many(seed: int) -> None:
    draw = random.Random(seed)
    corpus = documents({f"p{n}": [int(draw.lognormvariate(8, 1))] for n in range(300)})
    splits, _ = assign_splits(corpus, validation_share=0.05, test_share=0.1, seed=seed)
    weights: Counter[str] = Counter()
    for document, split in zip(corpus, splits, strict=True):
        weights[split] += document.num_bytes
    assert weights["validation"] / weights.total() == pytest.approx(0.05, rel=0.11)
    assert weights["test"] / weights.total() == pytest.approx(0.1, rel=0.11)


def test_one_large_project_does_not_speak_for_a_whole_share() -> None:
    corpus = documents({"large": [5000], **{f"p{n}": [100] for n in range(950)}})
    for seed in range(20):
        splits, _ = assign_splits(corpus, validation_share=0.05, test_share=0.05, seed=seed)
        assert splits[0] == "train"


@given(corpora, st.integers(), st.randoms(use_true_random=False))
def test_the_split_depends_on_names_and_not_on_their_order(
    sizes: dict[str, list[int]], seed: int, shuffle: random.Random
) -> None:
    corpus = documents(sizes)
    first, _ = assign_splits(corpus, validation_share=0.1, test_share=0.1, seed=seed)
    mixed = corpus.copy()
    shuffle.shuffle(mixed)
    again, _ = assign_splits(mixed, validation_share=0.1, test_share=0.1, seed=seed)
    chosen = {document.project: split for document, split in zip(mixed, again, strict=True)}
    assert [chosen[document.project] for document in corpus] == first


def test_another_seed_makes_another_split() -> None:
    corpus = documents({f"p{n}": [100] for n in range(100)})
    splits = {tuple(assign_splits(corpus, validation_share=0.1, test_share=0.1, seed=seed)[0]) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize(("folders", "split_by"), [(3, "folder"), (1, "document")])
def test_with_fewer_than_three_projects_smaller_groups_are_split(folders: int, split_by: str) -> None:
    corpus = [Document(name=f"p/{n % folders}/{n}.py", project="p", text="x" * (n + 1)) for n in range(9)]
    splits, by = assign_splits(corpus, validation_share=0.1, test_share=0.1, seed=0)
    assert by == split_by
    assert set(splits) == set(SPLITS)


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(CorpusError, match="2 usable"):
        assign_splits(documents({"a": [1], "b": [1]}), validation_share=0.1, test_share=0.1, seed=0)
