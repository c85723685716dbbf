from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autonas.arch import ArchSpec
from autonas.evaluation.coding.likelihood import clustered_score, continuation_nats
from autonas.model.transformer import Transformer, build_model


def one_by_one(model: Transformer, before: list[int], scored: list[int]) -> list[float]:
    """Each token by a forward pass of its own, over as much as the context holds."""
    nats = []
    for place in range(len(scored)):
        inputs = [*before, *scored[:place]][-model.spec.context_length :]
        with torch.no_grad():
            logits = model(torch.tensor([inputs]))[0, -1]
        nats.append(float(F.cross_entropy(logits, torch.tensor(scored[place]))))
    return nats


@pytest.fixture
def small(spec: ArchSpec) -> Transformer:
    return build_model(spec, 3).eval()


def test_it_is_the_nats_of_the_second_part_alone(small: Transformer) -> None:
    generator = np.random.default_rng(0)
    pairs = [
        (generator.integers(0, 1000, before).tolist(), generator.integers(0, 1000, scored).tolist())
        for before, scored in ((1, 1), (5, 12), (40, 3), (2, 30), (20, 1))
    ]
    found = continuation_nats(small, pairs)
    for nats, (before, scored) in zip(found, pairs, strict=True):
        np.testing.assert_allclose(nats, one_by_one(small, before, scored), atol=1e-4)


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_is_scored_in_parts(small: Transformer) -> None:
    generator = np.random.default_rng(1)
    context = small.spec.context_length
    long, short = generator.integers(0, 1000, 2 * context).tolist(), generator.integers(0, 1000, 10).tolist()
    (cropped,) = continuation_nats(small, [(long, short)])
    (exact,) = continuation_nats(small, [(long[-(context + 1 - len(short)) :], short)])
    np.testing.assert_allclose(cropped, exact, atol=1e-5)
    (parts,) = continuation_nats(small, [(short, long)])
    assert len(parts) == len(long) and np.isfinite(parts).all()
    expected = one_by_one(small, short, long[: context // 2])
    np.testing.assert_allclose(parts[: context // 2], expected, atol=1e-4)
    # The first token of the second part has at least half of the context before it.
    place = len(short) + context // 2
    given = [*short, *long][place + context // 2 - 1 - context : place]
    (same,) = continuation_nats(small, [(given, long[context // 2 : context // 2 + 1])])
    assert len(given) > context // 2 and parts[context // 2] == pytest.approx(same[0], abs=1e-4)


def test_dropout_is_off_and_the_mode_is_left_as_it_was(spec: ArchSpec) -> None:
    dropped = build_model(ArchSpec(**{**spec.to_dict(), "residual_dropout": 0.5}), 3).train()
    pairs = [([1, 2, 3], [4, 5, 6])]
    first, second = continuation_nats(dropped, pairs), continuation_nats(dropped, pairs)
    np.testing.assert_array_equal(first[0], second[0])
    assert dropped.training


def test_nothing_to_score_is_nothing(small: Transformer) -> None:
    assert continuation_nats(small, []) == []
    assert [len(nats) for nats in continuation_nats(small, [([1], []), ([1], [2])])] == [0, 1]


def test_way_is_made_between_batches(small: Transformer) -> None:
    calls: list[int] = []
    continuation_nats(small, [([1] * 90, [2, 3])] * 100, lambda: calls.append(1))
    assert len(calls) >= 2


def test_a_score_is_a_ratio_with_an_interval_by_task() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        sizes = generator.integers(5, 60, 20)
        sums = sizes * generator.normal(3.0, 0.5, 20)
        score = clustered_score(sums, sizes, "nats/token", "of a simulation")
        assert score.value == pytest.approx(sums.sum() / sizes.sum())
        covered += score.low <= 3.0 <= score.high
    assert 0.9 <= covered / 300 <= 0.99
    assert "no error estimate" in clustered_score(np.array([6.0]), np.array([2]), "nats/token", "one").note
