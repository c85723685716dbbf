"""A curriculum's windows: a pure function of their number, with exact mixes, caps and filters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.curriculum import Curriculum, Stage
from autonas.data.batches import Windows
from autonas.data.stages import Source, StagedWindows, interleaved, quotas, stage_edges
from autonas.errors import RecipeError

CONTEXT = 8


def source(first: int, lengths: list[int], difficulty: list[float] | None = None, of_corpus: bool = True) -> Source:
    """Documents whose tokens are `first`, `first` + 1, … so that each token tells its document."""
    tokens = np.concatenate([np.full(length, first + number) for number, length in enumerate(lengths)]).astype(np.uint16)
    hard = None if difficulty is None else np.array(difficulty)
    return Source(tokens=tokens, starts=np.cumsum([0, *lengths]), difficulty=hard, of_corpus=of_corpus)


def shown(windows: StagedWindows, stage: int) -> np.ndarray:
    """The inputs of a stage's windows."""
    plan = windows.plans[stage]
    first, last = plan.begins // CONTEXT, plan.ends // CONTEXT
    return windows.take(first, last - first)[:, :-1]


def staged(sources: dict[str, Source], *stages: Stage, windows: int = 60, seed: int = 0) -> StagedWindows:
    return StagedWindows(sources, Curriculum(stages=stages), CONTEXT, seed, windows * CONTEXT)


def test_one_stage_of_everything_shows_what_there_is() -> None:
    lengths = [9, 30, 12, 50]
    windows = staged({"a": source(0, lengths)}, Stage(share=1.0), windows=12)
    plain = Windows(source(0, lengths).tokens, CONTEXT, 0)
    assert plain.num_windows == 12
    assert sorted(windows.starts(0, 12).tolist()) == sorted(plain.starts(0, 12).tolist())


@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=3),
    shares=st.lists(st.floats(0.1, 1.0), min_size=1, max_size=3),
    total=st.integers(4, 90),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_windows_do_not_depend_on_how_they_are_taken(
    counts: list[int], shares: list[float], total: int, cuts: list[int]
) -> None:
    sources = {str(number): source(100 * number, [20] * count) for number, count in enumerate(counts)}
    stages = [Stage(share=share / sum(shares)) for share in shares]
    windows = staged(sources, *stages, windows=total)
    whole = windows.take(0, total + 10)
    pieces, first = [], 0
    for cut in cuts * 30:
        pieces.append(windows.take(first, cut))
        first += cut
        if first >= total + 10:
            break
    np.testing.assert_array_equal(np.concatenate(pieces)[: total + 10], whole[: min(first, total + 10)])
    again = staged(sources, *stages, windows=total)
    np.testing.assert_array_equal(again.take(0, total), whole[:total])
    assert again.name == windows.name and again.content == windows.content
    assert windows.num_windows == total and windows.plans[-1].ends == total * CONTEXT


@given(shares=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6), more=st.integers(0, 90))
def test_every_stage_has_a_window_and_as_near_as_may_be_its_share(shares: list[float], more: int) -> None:
    shares, total = [share / sum(shares) for share in shares], len(shares) + more
    edges = stage_edges(shares, total)
    assert edges[0] == 0 and edges[-1] == total
    assert all(last > first for first, last in itertools.pairwise(edges))
    if all(share * total >= 2 for share in shares):
        assert all(abs(edge - total * share) <= 0.51 for edge, share in zip(edges[1:], np.cumsum(shares), strict=True))


def test_every_prefix_of_a_stage_has_its_mix() -> None:
    sources = {"a": source(0, [400]), "b": source(1, [400]), "c": source(2, [400])}
    windows = staged(sources, Stage(share=1.0, sources=(("a", 0.5), ("b", 0.3), ("c", 0.2))), windows=100)
    owners = shown(windows, 0)[:, 0]
    for count in range(1, 101):
        for number, share in enumerate((0.5, 0.3, 0.2)):
            assert abs((owners[:count] == number).sum() - share * count) <= 1.0
    assert [stream.windows for stream in windows.plans[0].streams] == [50, 30, 20]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    weights=st.lists(st.floats(0.05, 10.0), min_size=5, max_size=5),
    epochs=st.floats(0.5, 5.0),
    share=st.floats(0.05, 0.99),
)
@settings(max_examples=200, deadline=None)
def test_quotas_add_up_respect_the_cap_and_follow_the_weights(
    sizes: list[int], weights: list[float], epochs: float, share: float
) -> None:
    chosen = {str(number): source(number, [size * CONTEXT + 1]) for number, size in enumerate(sizes)}
    named = tuple((str(number), weights[number]) for number in range(len(sizes)))
    stage = Stage(share=1.0, sources=named, max_epochs=epochs)
    most = [int(size * epochs) for size in sizes]
    windows = int(share * sum(most))
    counts = quotas(chosen, stage, windows, 1, CONTEXT)
    assert sum(counts) == windows
    assert all(0 <= count <= limit for count, limit in zip(counts, most, strict=True))
    free = [number for number, (count, limit) in enumerate(zip(counts, most, strict=True)) if count + 1 < limit]
    for one in free:
        for other in free:  # those that the cap does not touch keep the ratio of their weights, to a window
            assert counts[one] + 1 >= (counts[other] - 1) * weights[one] / weights[other] - 1e-6


def test_a_cap_that_leaves_too_little_is_refused_with_the_figures() -> None:
    with pytest.raises(RecipeError, match=r"stages\[0\].*shows 480 tokens, and 2 epochs of its sources have 160"):
        staged({"a": source(0, [81])}, Stage(share=1.0, max_epochs=2.0))


def test_an_easier_stage_has_the_easier_documents_and_none_of_the_harder() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(3.0, 1.0, 40).tolist()
    lengths = rng.integers(10, 60, 40).tolist()
    sources = {"a": source(0, lengths[:25], difficulty[:25]), "b": source(25, lengths[25:], difficulty[25:])}
    stages = [Stage(share=1 / 3, difficulty=bounds) for bounds in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.0))]
    windows = staged(sources, *stages, windows=300)
    seen = [set(np.unique(shown(windows, number)).tolist()) for number in range(3)]
    assert not seen[0] & seen[1] and not seen[1] & seen[2] and not seen[0] & seen[2]
    hardest = [max(difficulty[number] for number in one) for one in seen]
    easiest = [min(difficulty[number] for number in one) for one in seen]
    assert hardest[0] < easiest[1] and hardest[1] < easiest[2]
    told = [plan.difficulty or 0.0 for plan in windows.plans]
    assert 0.0 < told[0] < told[1] < told[2]
    share = sum(lengths[number] for number in seen[0]) / sum(lengths)
    assert share == pytest.approx(0.3, abs=0.1)


def test_lengths_are_filtered() -> None:
    sources = {"a": source(0, [5, 40, 90, 300])}
    windows = staged(sources, Stage(share=1.0, min_tokens=20, max_tokens=100))
    assert set(np.unique(shown(windows, 0)).tolist()) == {1, 2}
    with pytest.raises(RecipeError, match="leave no window"):
        staged(sources, Stage(share=1.0, min_tokens=1000))


def test_sources_beside_the_corpus_are_shown_where_they_are_named_only() -> None:
    sources = {"a": source(0, [100]), "pairs": source(1, [100], of_corpus=False)}
    windows = staged(sources, Stage(share=0.5), Stage(share=0.5, sources=(("pairs", 1.0),)))
    assert set(np.unique(shown(windows, 0)).tolist()) == {0}
    assert set(np.unique(shown(windows, 1)).tolist()) == {1}
    assert windows.boundaries == (30 * CONTEXT,)


def test_another_seed_is_another_order_of_the_same() -> None:
    sources = {"a": source(0, [30] * 10)}
    one, other = (staged(sources, Stage(share=1.0), windows=37, seed=seed) for seed in (0, 1))
    assert one.name != other.name and one.content == other.content
    assert sorted(one.starts(0, 37).tolist()) == sorted(other.starts(0, 37).tolist())
    assert one.starts(0, 37).tolist() != other.starts(0, 37).tolist()


@pytest.mark.parametrize(("share", "expected"), [(0.1, 6), (0.9, 37)])
def test_the_first_pass_ends_where_something_comes_again(share: float, expected: int) -> None:
    stages = (Stage(share=share), Stage(share=1.0 - share))
    windows = staged({"a": source(0, [30 * 10])}, *stages, windows=60)
    assert windows.first_pass == expected
    starts = windows.starts(0, windows.first_pass)
    assert len(set(starts.tolist())) == len(starts)


def test_interleaving_is_fair_to_unequal_counts() -> None:
    order = interleaved([3, 9, 0]).tolist()
    assert order == [1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1]
