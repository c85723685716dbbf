from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.kernels import find_kernels
from autonas.model import native_decode
from autonas.model.decode import PATHS, generate
from autonas.model.native_decode import NativeDecoder, NativeReader, NativeSteps, native_decoder
from autonas.model.sampling import GREEDY, Sampling, choose_tokens
from autonas.model.steps import Choice
from autonas.model.transformer import Transformer, build_model, eval_mode

FAMILIES = list(itertools.product(NORMS, ACTIVATIONS, POSITIONS, (True, False), (1, 2, 4)))


def lively(spec: ArchSpec, dtype: torch.dtype = torch.float32) -> Transformer:
    """Initial weights are small: scaled, so that attention and logits matter."""
    model = build_model(spec, 0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)
    return model.to(dtype)


def begun(model: Transformer, prompts: list[list[int]], num_new: int) -> NativeSteps:
    decoder = native_decoder(model)
    assert decoder is not None, PATHS.reasons
    choice = Choice(sampling=GREEDY, uniforms=None, seen=None)
    return NativeSteps(decoder, [tuple(prompt) for prompt in prompts], list(range(len(prompts))), choice, num_new)


def last_logits(model: Transformer, prompts: list[list[int]]) -> torch.Tensor:
    """By full passes."""
    with eval_mode(model):
        return torch.stack([model(torch.tensor([prompt]))[0, -1] for prompt in prompts])


def near(found: torch.Tensor, expected: torch.Tensor, share: float = 2e-5) -> bool:
    return torch.allclose(found, expected.to(found.dtype), rtol=0, atol=share * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize(("norm", "activation", "position", "tied", "kv_heads"), FAMILIES)
def test_every_family_has_the_logits_of_full_passes(
    norm: str, activation: str, position: str, tied: bool, kv_heads: int
) -> None:
    spec = ArchSpec(
        layers=2,
        width=24,  # heads of 6: no whole vectors
        heads=4,
        kv_heads=kv_heads,
        ffn_multiplier=2.5,
        norm=norm,
        activation=activation,
        position=position,
        tied_embeddings=tied,
        vocab_size=70,
        context_length=40,
    )
    model = lively(spec)
    prompts = [[5, 6, 7], [9] * 20, [1], [2, 3] * 8, [4, 60]]
    steps = begun(model, prompts, 6)
    assert near(steps.logits, last_logits(model, prompts))
    for _ in range(5):
        tokens = steps.made[steps.count - 1].tolist()
        prompts = [[*prompt, token] for prompt, token in zip(prompts, tokens, strict=True)]
        steps.step()
        expected = last_logits(model, prompts)
        assert near(steps.logits, expected)
        assert steps.made[steps.count - 1].tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_any_number_of_rows_and_threads(rows: int, threads: int) -> None:
    spec = ArchSpec(layers=1, width=40, heads=5, kv_heads=5, vocab_size=130, context_length=64)
    model = lively(spec)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        prompts = [[(3 * row + i) % 130 for i in range(1 + 7 * row)] for row in range(rows)]
        steps = begun(model, prompts, 2)
        assert near(steps.logits, last_logits(model, prompts))
        steps.step()
        prompts = [[*prompt, token] for prompt, token in zip(prompts, steps.made[0].tolist(), strict=True)]
        assert near(steps.logits, last_logits(model, prompts))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kept", [1, 5, 70])
@pytest.mark.parametrize("temperature", [0.3, 1.5])
def test_tokens_are_drawn_as_by_torch(kept: int, temperature: float) -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=70, context_length=32)
    steps = begun(lively(spec), [[1]] * 200, 2)
    generator = torch.Generator().manual_seed(kept)
    # Rounded, so that many are equal; and one row of equal ones alone.
    steps.logits.copy_((torch.randn(200, 70, generator=generator) * 4).round() / 2)
    steps.logits[7] = 0.0
    uniforms = torch.rand(1, 200, generator=generator, dtype=torch.float64)
    uniforms[0, :2] = torch.tensor([0.0, 1.0 - 2.0**-53])
    sampling = Sampling(temperature=temperature, top_k=kept)
    steps._choice = Choice(sampling=sampling, uniforms=uniforms, seen=None)
    assert steps._choose(0).tolist() == choose_tokens(steps.logits, sampling, uniforms[0]).tolist()
    steps._choice = Choice(sampling=GREEDY, uniforms=None, seen=None)
    assert steps._choose(0).tolist() == steps.logits.argmax(-1).tolist()


@pytest.mark.parametrize("part", [1, 7, 64, 1000])
@pytest.mark.parametrize("shared", [0, 20])
def test_prompts_are_read_in_parts_and_a_common_beginning_once(part: int, shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_decode, "PART_TOKENS", part)
    spec = ArchSpec(layers=3, width=32, heads=4, kv_heads=2, vocab_size=90, context_length=80)
    model = lively(spec)
    beginning = [(7 * i) % 90 for i in range(shared)]
    prompts = [[*beginning, *((11 * row + i) % 90 for i in range(1 + 9 * row))] for row in range(6)]
    steps = begun(model, prompts, 3)
    assert near(steps.logits, last_logits(model, prompts))
    steps.step()
    prompts = [[*prompt, token] for prompt, token in zip(prompts, steps.made[0].tolist(), strict=True)]
    assert near(steps.logits, last_logits(model, prompts))


def test_what_a_cache_was_before_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is not cleared: what vectors are filled up with is read, and must not be seen."""
    spec = ArchSpec(layers=2, width=24, heads=4, kv_heads=2, vocab_size=70, context_length=64)
    model, prompts = lively(spec), [[1, 2, 3], [4] * 17, list(range(50))]
    real = torch.empty

    def dirty(*sizes: Any, **named: Any) -> torch.Tensor:
        found: torch.Tensor = real(*sizes, **named)
        return found.fill_(float("nan")) if found.is_floating_point() else found

    monkeypatch.setattr(torch, "empty", dirty)
    steps = begun(model, prompts, 4)
    steps.step()
    steps.step()
    prompts = [prompt + steps.made[:2, row].tolist() for row, prompt in enumerate(prompts)]
    assert near(steps.logits, last_logits(model, prompts))


def test_bfloat16_is_near() -> None:
    spec = ArchSpec(layers=2, width=64, heads=4, kv_heads=2, activation="swiglu", vocab_size=300, context_length=64)
    model, prompts = lively(spec, torch.bfloat16), [[1, 2, 3], [4] * 9, list(range(60))]
    steps = begun(model, prompts, 4)
    for _ in range(3):
        assert near(steps.logits, last_logits(model, prompts), 5e-2)
        prompts = [[*p, token] for p, token in zip(prompts, steps.made[steps.count - 1].tolist(), strict=True)]
        steps.step()


def test_rows_that_are_left_out_leave_the_others_as_they_were() -> None:
    spec = ArchSpec(layers=2, width=24, heads=4, kv_heads=2, position="alibi", vocab_size=70, context_length=64)
    model = lively(spec, torch.float64)
    decoder = native_decoder(model)
    assert decoder is not None
    prompts, rows = [(1, 2, 3), (4,) * 17, (5, 6)], [0, 0, 1, 2, 2]
    uniforms = torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = torch.zeros(5, 70, dtype=torch.bool)
    steps = NativeSteps(decoder, prompts, rows, Choice(sampling=Sampling(temperature=1.0), uniforms=uniforms, seen=seen), 6)
    texts = [list(prompts[row]) for row in rows]
    for kept in ([0, 1, 2, 3, 4], [1, 2, 4], [0, 2], [1]):
        steps.step()
        texts = [[*text, token] for text, token in zip(texts, steps.made[steps.count - 2].tolist(), strict=True)]
        expected = last_logits(model, texts)
        assert near(steps.logits, expected, 1e-12)
        # Another number for each row: a row that took its neighbour's would say something else.
        drawn = choose_tokens(expected, Sampling(temperature=1.0), uniforms[steps.count - 1], None)
        assert steps.made[steps.count - 1].tolist() == drawn.tolist()
        steps.select(kept)
        texts, uniforms = [texts[row] for row in kept], uniforms[:, kept]


class Damage:
    """Faults of the kernels, as a compiler might make them."""

    @staticmethod
    def weights(patch: pytest.MonkeyPatch) -> None:
        real = NativeDecoder._pack
        patch.setattr(NativeDecoder, "_pack", lambda self, matrix: real(self, matrix * 1.1))

    @staticmethod
    def rotations(patch: pytest.MonkeyPatch) -> None:
        real = NativeDecoder.__init__

        def built(self: NativeDecoder, *arguments: Any) -> None:
            real(self, *arguments)
            self.record.cosine = self.record.sine

        patch.setattr(NativeDecoder, "__init__", built)

    @staticmethod
    def behind_prompts(patch: pytest.MonkeyPatch) -> None:
        real = NativeReader.__call__

        def read(self: NativeReader, tokens: torch.Tensor, *arguments: Any) -> None:
            tokens = tokens.clone()
            tokens[:, 4] -= (tokens[:, 4] > 0).long()
            real(self, tokens, *arguments)

        patch.setattr(NativeReader, "__call__", read)

    @staticmethod
    def long_rows(patch: pytest.MonkeyPatch) -> None:
        """Only from 49 keys on, where the kernels take four vectors of them at a time."""
        real = NativeReader.__call__

        def read(self: NativeReader, tokens: torch.Tensor, prompts: Any, own: Any, wanted: Any, logits: Any) -> None:
            real(self, tokens, prompts, own, wanted, logits)
            if int((tokens[:, 2] + tokens[:, 4]).max()) >= 48:
                logits += 1.0

        patch.setattr(NativeReader, "__call__", read)


@pytest.mark.parametrize("prompt", [[1], [1, 2, 3], list(range(40))])
@pytest.mark.parametrize("damage", [Damage.weights, Damage.rotations, Damage.behind_prompts, Damage.long_rows])
def test_what_is_wrong_is_not_used_and_said(
    prompt: list[int], damage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ArchSpec(layers=2, width=32, heads=4, kv_heads=4, vocab_size=60, context_length=100)
    model = lively(spec)
    monkeypatch.setattr(native_decode, "_PROVED", set())
    expected = generate(model, [prompt], max_new_tokens=8)
    PATHS.clear()
    monkeypatch.setattr(native_decode, "_PROVED", set())
    damage(monkeypatch)
    assert generate(model, [prompt], max_new_tokens=8) == expected
    assert "native" not in PATHS.steps and sum(PATHS.steps.values()) == 7
    (reason,) = PATHS.reasons
    assert "native logits differ" in reason


def test_a_model_whose_weights_broke_is_found_out_by_the_short_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ArchSpec(layers=2, width=32, heads=4, kv_heads=4, vocab_size=60, context_length=100)
    model = lively(spec)
    generate(model, [[1, 2, 3]], max_new_tokens=8)
    PATHS.clear()
    Damage.weights(monkeypatch)
    generate(model, [[1, 2, 3]], max_new_tokens=8)
    assert "native" not in PATHS.steps


def test_without_a_compiler_torch_decodes_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=60, context_length=32))
    expected = generate(model, [[1, 2, 3]], max_new_tokens=8)

    def none(bits: int) -> Any:
        return None, "there is no C compiler"

    PATHS.clear()
    monkeypatch.setattr(native_decode, "find_kernels", none)
    assert generate(model, [[1, 2, 3]], max_new_tokens=8) == expected
    assert PATHS.steps == {"rows": 7} and PATHS.reasons == {"there is no C compiler": 1}


def test_kernels_are_here() -> None:
    """Where they are not, the other tests of this file could not tell a broken path from a missing one."""
    for bits in (16, 32, 64):
        found, reason = find_kernels(bits)
        assert found is not None, reason
