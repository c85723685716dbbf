"""Which weights become a run's model: those beyond chance better, and the last where nobody can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autonas.best_weights import BestWeights, Look
from autonas.errors import CheckpointError
from autonas.model.transformer import build_model
from autonas.training.checkpoint import load_model
from autonas.trial import DocumentLosses
from tests.training.conftest import tiny_spec

SIZES = (900, 1100, 1000, 1000, 1000, 1000)


def look(tokens: int, loss: float, *, noise: float = 0.0, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> Look:
    """Documents of unlike difficulty, and a model whose loss differs between them by `noise`."""
    rng = np.random.default_rng(seed)
    difficulty = np.linspace(-1.0, 1.0, len(sizes))
    difficulty -= np.average(difficulty, weights=sizes)
    off = rng.normal(0.0, noise, len(sizes)) if noise else np.zeros(len(sizes))
    off -= np.average(off, weights=sizes)
    nats = (loss + difficulty + off) * np.array(sizes)
    return Look(tokens=tokens, documents=DocumentLosses(nats=tuple(nats.tolist()), tokens=sizes, bytes=sizes))


def kept(path: Path, *looks: Look) -> BestWeights:
    best = BestWeights(path)
    for seed, each in enumerate(looks):
        best.see(build_model(tiny_spec(), seed), each)
    return best


def test_the_lowest_loss_is_kept_and_known_to_who_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    kept(path, look(100, 3.0), look(200, 2.5), look(300, 2.7), look(400, 2.5))
    again = BestWeights(path)
    assert again.look == look(200, 2.5)
    model, note = load_model(path)
    assert note["tokens"] == 200
    expected = build_model(tiny_spec(), 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))


def test_a_difference_that_all_documents_share_decides_however_unlike_they_are(tmp_path: Path) -> None:
    best = kept(tmp_path / "best", look(100, 2.50))
    verdict = best.verdict(look(400, 2.53, noise=0.005))
    assert verdict.best
    assert verdict.text.startswith("those after 100 tokens: their loss is lower by 0.0300 ± 0.0")
    assert "on the 6,000 tokens of the evaluations on the way, paired by document" in verdict.text


def test_a_difference_within_its_interval_leaves_the_last(tmp_path: Path) -> None:
    verdict = kept(tmp_path / "best", look(100, 2.50)).verdict(look(400, 2.53, noise=0.2))
    assert not verdict.best
    assert verdict.text.startswith("the last: the lowest loss on the way, after 100 tokens, is lower by 0.0300 ± 0.")


@pytest.mark.parametrize("loss", [2.5, 2.4])
def test_the_last_stay_when_they_are_as_good(tmp_path: Path, loss: float) -> None:
    assert not kept(tmp_path / "best", look(100, 2.50)).verdict(look(400, loss)).best


def test_one_document_decides_nothing(tmp_path: Path) -> None:
    best = kept(tmp_path / "best", look(100, 2.0, sizes=(500,)))
    verdict = best.verdict(look(400, 3.0, sizes=(500,)))
    assert not verdict.best
    assert "is one document" in verdict.text


def test_other_documents_are_not_compared(tmp_path: Path) -> None:
    best = kept(tmp_path / "best", look(100, 2.0))
    other = look(400, 3.0, sizes=(100, 200, 300))
    assert not best.verdict(other).best
    best.see(build_model(tiny_spec(), 5), other)
    assert best.look == other


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    kept(path, look(100, 2.0))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        BestWeights(path)
