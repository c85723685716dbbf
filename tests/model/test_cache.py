from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas.arch import POSITIONS, ArchSpec
from autonas.errors import RequestError
from autonas.model.cache import KVCache
from autonas.model.decode import make_cache
from autonas.model.transformer import build_model
from tests.model.strategies import specs

checked = settings(derandomize=True, deadline=None, max_examples=100)
# Sums in another order, relative to logits of order 0.1 to 1; float64 shows that nothing else differs.
ALLOWED = {torch.float64: 1e-10, torch.float32: 1e-5}


def random_tokens(spec: ArchSpec, rows: int, length: int) -> Tensor:
    return torch.randint(spec.vocab_size, (rows, length), generator=torch.Generator().manual_seed(3))


@checked
@given(specs(dropout=True), st.data(), st.sampled_from(sorted(ALLOWED, key=str)))
def test_cached_logits_are_those_of_a_full_pass(spec: ArchSpec, data: st.DataObject, dtype: torch.dtype) -> None:
    """Whatever the pieces in which the tokens come, and however many rows."""
    length = spec.context_length
    cuts = sorted({0, length, *data.draw(st.lists(st.integers(1, length), max_size=6))})
    model = build_model(spec, seed=0, dtype=dtype).eval()
    tokens = random_tokens(spec, data.draw(st.integers(1, 3)), length)
    with torch.no_grad():
        cache = make_cache(model, tokens.shape[0], length)
        pieces = [model(tokens[:, a:b], cache) for a, b in itertools.pairwise(cuts)]
        torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=0, atol=ALLOWED[dtype])


@checked
@given(specs(min_context=6), st.data())
def test_rows_of_different_lengths_do_not_see_their_padding(spec: ArchSpec, data: st.DataObject) -> None:
    model = build_model(spec, seed=0, dtype=torch.float64).eval()
    longest = spec.context_length - 3
    lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=4))
    tokens = random_tokens(spec, len(lengths), spec.context_length)
    with torch.no_grad():
        cache = make_cache(model, len(lengths), spec.context_length)
        model(tokens[:, : max(lengths)], cache)
        cache.trim(lengths)
        later = torch.stack([row[n : n + 3] for row, n in zip(tokens, lengths, strict=True)])  # (B, 3)
        pieces = torch.cat([model(later[:, :1], cache), model(later[:, 1:], cache)], 1)
        for row, n in enumerate(lengths):
            alone = model(tokens[row : row + 1, : n + 3])[0, n:]
            torch.testing.assert_close(pieces[row], alone, rtol=0, atol=1e-10)
    assert cache.lengths.tolist() == [n + 3 for n in lengths]


@checked
@given(specs(min_context=6), st.data())
def test_selected_rows_go_on_as_their_originals(spec: ArchSpec, data: st.DataObject) -> None:
    model = build_model(spec, seed=0, dtype=torch.float64).eval()
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5))
    tokens = random_tokens(spec, len(lengths), 6)
    with torch.no_grad():
        cache = make_cache(model, len(lengths), 6)
        model(tokens[:, : max(lengths)], cache)
        cache.trim(lengths)
        chosen = cache.select(rows, max_tokens=6)
        index = torch.tensor(rows)
        step = tokens[:, 5:]
        torch.testing.assert_close(model(step[index], chosen), model(step, cache)[index], rtol=0, atol=1e-10)


def test_what_lies_behind_a_row_is_never_read() -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=1, vocab_size=9, context_length=8)
    for position in POSITIONS:
        model = build_model(dataclasses.replace(spec, position=position), seed=0).eval()
        outputs = []
        for garbage in (0.0, 1e4):
            cache = make_cache(model, 2, 8)
            with torch.no_grad():
                model(random_tokens(spec, 2, 5), cache)
                cache.trim([2, 4])
                for row, length in enumerate((2, 4)):
                    cache.keys[:, row, :, length:] = garbage
                    cache.values[:, row, :, length:] = garbage
                outputs.append(model(torch.tensor([[1], [2]]), cache))
        assert torch.equal(*outputs)


def test_learned_positions_end_at_the_context_behind_a_cache_too() -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, position="learned", vocab_size=9, context_length=4)
    model = build_model(spec, seed=0)
    cache = KVCache(spec, 1, 10)
    model(torch.zeros(1, 4, dtype=torch.int64), cache)
    with pytest.raises(RequestError, match="5 tokens do not fit a context of 4"):
        model(torch.zeros(1, 1, dtype=torch.int64), cache)
