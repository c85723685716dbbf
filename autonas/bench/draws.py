"""Architectures drawn by seed, for benches that need many: half of them anywhere in a space, half of nearly equal size."""

from __future__ import annotations

import random

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.cost import count_params

SPACE = "1-6 layers, width 32-256 by 32, 2-8 heads (or shared), ffn 2-4, every norm, activation and position, V 2048, C 256"
EQUALS = slice(0, None, 2)
_NEAR = 0.05  # either side of the target: any two are within 10 % of one another


def draw_specs(count: int, seed: int = 0) -> list[ArchSpec]:
    """`count` different architectures; those of the slice `EQUALS` are within 10 % parameters of one another."""
    draws = random.Random(seed)
    target = count_params(ArchSpec(layers=3, width=128, heads=4, kv_heads=4, vocab_size=2048))
    found: dict[str, ArchSpec] = {}
    while len(found) < count:
        spec = _draw(draws)
        anywhere = len(found) % 2 == 1
        if anywhere or abs(count_params(spec) / target - 1) <= _NEAR:
            found.setdefault(spec.inference_fingerprint, spec)
    return list(found.values())


def _draw(draws: random.Random) -> ArchSpec:
    heads = draws.choice((2, 4, 8))
    return ArchSpec(
        layers=draws.randint(1, 6),
        width=32 * draws.randint(1, 8),
        heads=heads,
        kv_heads=draws.choice((1, 2, heads)),
        ffn_multiplier=draws.choice((2.0, 3.0, 4.0)),
        norm=draws.choice(NORMS),
        activation=draws.choice(ACTIVATIONS),
        position=draws.choice(POSITIONS),
        tied_embeddings=draws.random() < 0.5,
        vocab_size=2048,
    )
