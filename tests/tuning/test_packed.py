"""Packed examples: the loss is that of each by itself, whoever is beside it and whatever fills the rows behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.model.transformer import Transformer, build_model
from autonas.tuning import packed
from autonas.tuning.encoding import Encoded
from autonas.tuning.packed import lay_out, pack, solution_nats

CPU = torch.device("cpu")
SPECS = {
    "rope": ArchSpec(layers=2, width=16, heads=4, kv_heads=2, vocab_size=50, context_length=32),
    "alibi": ArchSpec(layers=2, width=16, heads=2, kv_heads=2, vocab_size=50, context_length=32, position="alibi"),
    "learned": ArchSpec(
        layers=1, width=16, heads=2, kv_heads=1, vocab_size=50, context_length=32, position="learned", norm="layernorm"
    ),
    "gated": ArchSpec(
        layers=3, width=16, heads=2, kv_heads=2, vocab_size=50, context_length=32, activation="swiglu", tied_embeddings=False
    ),
}


def drawn(count: int, seed: int = 0, longest: int = 20) -> list[Encoded]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        tokens = tuple(random.integers(0, 50, size=random.integers(4, longest)).tolist())
        found.append(Encoded(tokens=tokens, prompt=int(random.integers(1, len(tokens) - 1))))
    return found


def alone(model: Transformer, example: Encoded) -> Tensor:
    """The nats of the example's targets, by the model itself."""
    tokens = torch.tensor([example.tokens])
    nats = F.cross_entropy(model(tokens[:, :-1])[0], tokens[0, 1:], reduction="none")
    return nats[example.prompt - 1 :]


def model_of(name: str) -> Transformer:
    model = build_model(SPECS[name], 3).eval()
    with torch.no_grad():
        for weight in model.parameters():  # large ones, so that what differs shows
            weight.mul_(3.0)
    return model


@pytest.mark.parametrize("name", SPECS)
def test_every_target_has_the_loss_it_has_in_its_example_alone(name: str) -> None:
    model, examples = model_of(name), drawn(5)
    together = solution_nats(model, pack(lay_out(examples), CPU))
    torch.testing.assert_close(together, torch.cat([alone(model, each) for each in examples]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_the_gradient_is_that_of_the_examples_sums_over_all_targets(name: str) -> None:
    model, examples = model_of(name), drawn(4, seed=1)
    solution_nats(model, pack(lay_out(examples), CPU)).mean().backward()  # type: ignore[no-untyped-call]
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    targets = sum(each.solution for each in examples)
    for each in examples:
        (alone(model, each).sum() / targets).backward()  # type: ignore[no-untyped-call]
    expected = [weight.grad for weight in model.parameters() if weight.grad is not None]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_what_fills_the_rows_behind_an_example_is_never_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LONGEST_SQUARE", 0)
    model, batch = model_of(name), pack(lay_out(drawn(5)), CPU)

    def losses_and_gradients() -> list[Tensor]:
        model.zero_grad()
        nats = solution_nats(model, batch)
        nats.sum().backward()  # type: ignore[no-untyped-call]
        return [nats.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]

    before = losses_and_gradients()
    filled: list[Any] = []

    def with_garbage(self: Tensor, *shape: int) -> Tensor:
        filled.append(shape)
        return torch.full(shape, 37.0, dtype=self.dtype)

    monkeypatch.setattr(torch.Tensor, "new_zeros", with_garbage)
    after = losses_and_gradients()
    assert filled, "rows were filled"
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_long_neighbour_which_adds_padding_changes_nothing() -> None:
    model, short = model_of("rope"), drawn(1)[0]
    long = Encoded(tokens=tuple(range(33)), prompt=30)
    by_itself = solution_nats(model, pack(lay_out([short]), CPU))
    beside = solution_nats(model, pack(lay_out([short, long]), CPU))[: short.solution]
    torch.testing.assert_close(by_itself, beside, rtol=1e-5, atol=1e-6)


def test_the_prompt_carries_no_loss_and_end_of_text_does() -> None:
    example = Encoded(tokens=(0, 5, 6, 7, 8, 0), prompt=3)
    layout = lay_out([example, Encoded(tokens=(0, 1, 2, 0), prompt=2)])
    count = len(layout.owners)
    assert layout.arrays[4][:count].tolist() == [7, 8, 0, 2, 0], "targets: the solutions with their end-of-text"
    assert layout.arrays[3][:count].tolist() == [2, 3, 4, 6, 7]
    assert layout.owners.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("name", SPECS)
def test_attention_by_example_is_that_of_padded_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_of(name), pack(lay_out(drawn(6)), CPU)
    by_products = solution_nats(model, batch)
    monkeypatch.setattr(packed, "LONGEST_SQUARE", 0)
    torch.testing.assert_close(by_products, solution_nats(model, batch), rtol=1e-4, atol=1e-5)
