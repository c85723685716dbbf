from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autonas.training.early_stopping import best_of, is_stale, stale_text


def probes(*losses: float) -> list[tuple[int, float]]:
    return [(1000 * (number + 1), loss) for number, loss in enumerate(losses)]


def test_patience_is_counted_from_the_last_gain() -> None:
    assert not is_stale(probes(3.0, 2.5, 2.5), 2, 0.0)
    assert is_stale(probes(3.0, 2.5, 2.5, 2.5), 2, 0.0)
    assert not is_stale(probes(3.0, 2.5, 2.5, 2.4), 2, 0.0)
    assert not is_stale([], 1, 0.0)
    assert not is_stale(probes(2.0, 3.0, 4.0), None, 0.0)


def test_a_gain_must_be_larger_than_min_delta() -> None:
    assert best_of(probes(3.0, 2.95, 2.91), 0.1) == 0
    assert best_of(probes(3.0, 2.95, 2.85), 0.1) == 2, "small gains add up: they are held against the last one that counted"
    assert best_of(probes(3.0, 2.5), 0.5) == 0, "as large is not larger"


@given(st.lists(st.floats(0, 9), max_size=40), st.integers(1, 6), st.floats(0, 1))
def test_it_is_what_one_who_counts_along_finds(losses: list[float], patience: int, min_delta: float) -> None:
    best, bad, stale_at = float("inf"), 0, None
    for number, loss in enumerate(losses):
        if loss < best - min_delta:
            best, bad = loss, 0
        else:
            bad += 1
        if bad >= patience and stale_at is None:
            stale_at = number
    found = next((n for n in range(len(losses)) if is_stale(probes(*losses[: n + 1]), patience, min_delta)), None)
    assert found == stale_at


def test_it_says_why() -> None:
    text = stale_text(probes(3.0, 2.5, 2.6, 2.7), 2, 0.01)
    assert text == (
        "at 4,000 tokens: no gain of more than 0.01 nats in 2 evaluations; lowest 2.5000 at 2,000 tokens, last 2.7000"
    )
