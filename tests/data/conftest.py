"""Small corpora of unlike texts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare

WORDS = [
    f"{a}{b}{c}" for a in ("re", "un", "co", "de") for b in ("lo", "mi", "tu", "sa", "ve") for c in ("ad", "er", "ing", "ion")
]


def source_text(seed: int, lines: int = 40) -> str:
    """Something like a program, unlike that of any other seed."""
    draw = random.Random(seed)
    return "".join(
        f"{'    ' * draw.randrange(3)}{draw.choice(WORDS)} = {draw.choice(WORDS)}({draw.choice(WORDS)}, {draw.choice(WORDS)})\n"
        for _ in range(lines)
    )


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Writes `projects` folders of `files` unlike files each and returns the folder above them."""

    def make(projects: int = 6, files: int = 3, seed: int = 0) -> Path:
        root = tmp_path / "code"
        for project in range(projects):
            for number in range(files):
                path = root / f"project{project}" / "src" / f"file{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source_text(seed + 1000 * project + number), encoding="utf-8")
        return root

    return make


@pytest.fixture
def settings(make_tree: Callable[..., Path]) -> CorpusSettings:
    return CorpusSettings(paths=(f"{make_tree()}/**/*.txt",))


@pytest.fixture
def dataset(settings: CorpusSettings, tmp_path: Path) -> Dataset:
    return prepare(settings, TokenizerSettings(vocab_size=300), tmp_path / "cache")
