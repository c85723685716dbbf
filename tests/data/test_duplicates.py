from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from autonas.data.duplicates import SIMILARITY, jaccard, near_duplicates, shingle_hashes, sketch
from tests.data.conftest import source_text


def firsts(texts: list[str]) -> list[int]:
    return near_duplicates([sketch(text) for text in texts])


def edited(text: str, edits: int, seed: int) -> str:
    """`text` with so many lines replaced."""
    draw = random.Random(seed)
    lines = text.splitlines(keepends=True)
    for number in draw.sample(range(len(lines)), edits):
        lines[number] = f"edit{draw.random()}\n"
    return "".join(lines)


def test_lightly_edited_copies_are_found_and_others_are_not() -> None:
    originals = [source_text(seed, lines=200) for seed in range(10)]
    copies = [edited(text, 2, seed) for seed, text in enumerate(originals)]
    assert firsts(originals + copies) == [*range(10), *range(10)]


def test_spaces_and_line_ends_do_not_hide_a_copy() -> None:
    text = source_text(0)
    assert firsts([text, text.replace("\n", "\r\n"), text.replace("    ", "\t")]) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_the_connected_components_of_exact_similarity(seed: int) -> None:
    draw = random.Random(seed)
    texts = [source_text(seed, lines=60)]
    for step in range(25):
        texts.append(edited(draw.choice(texts), draw.choice((1, 2, 3, 10)), seed * 100 + step))
    sets = [shingle_hashes(text) for text in texts]
    component = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if jaccard(sets[i], sets[j]) >= SIMILARITY:
                low, high = sorted((component[i], component[j]))
                component = [low if value == high else value for value in component]
    assert firsts(texts) == component


def test_the_same_texts_give_the_same_hashes_in_every_process() -> None:
    program = "from autonas.data.duplicates import shingle_hashes; print(shingle_hashes('a b c d e f g').tolist())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert runs == {f"{shingle_hashes('a b c d e f g').tolist()}\n".encode()}


def test_texts_shorter_than_a_shingle_are_compared_whole() -> None:
    assert firsts(["a = 1", "a  =  1", "b = 1", "", "", "a"]) == [0, 0, 2, 3, 4, 5]


def test_many_copies_are_not_compared_pairwise() -> None:
    # 20,000 equal stubs: pairwise this would be 200 million comparisons and hours.
    assert set(near_duplicates([sketch(source_text(0, lines=3))] * 20_000)) == {0}
