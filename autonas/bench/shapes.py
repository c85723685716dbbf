"""The models that are compared: four sizes, each in three styles of the same work, so that every peer meets its nearest kin."""

from __future__ import annotations

import dataclasses
from typing import Literal

from autonas.arch import ArchSpec
from autonas.errors import RequestError

Style = Literal["own", "llama", "gpt"]

# `large` is the 29 M model of search_spaces/strong_regularisation.yaml, without its dropout and smoothing.
SHAPES: dict[str, ArchSpec] = {
    "tiny": ArchSpec(layers=2, width=64, heads=2, kv_heads=2, vocab_size=2048),
    "small": ArchSpec(layers=2, width=128, heads=4, kv_heads=4, vocab_size=2048),
    "medium": ArchSpec(layers=6, width=384, heads=6, kv_heads=6),
    "large": ArchSpec(layers=8, width=512, heads=8, kv_heads=8, ffn_multiplier=3.0, norm="layernorm", tied_embeddings=False),
}


def shape(name: str, style: Style = "own", *, context: int = 256, dropout: float = 0.0, smoothing: float = 0.0) -> ArchSpec:
    """The shape called `name`, dressed as Llama (swiglu, rmsnorm, rope) or GPT-2 (gelu, layernorm, learned positions, tied).

    A gated feed-forward gets two thirds of the inner width, as Llama has it: parameters and FLOPs stay the same.

    Raises:
        RequestError: there is no shape of this name.
        InfeasibleArch: a context, dropout or smoothing that cannot be.
    """
    if name not in SHAPES:
        raise RequestError(f"there is no shape {name!r}; choose of {', '.join(SHAPES)}")
    spec = dataclasses.replace(
        SHAPES[name],
        context_length=context,
        attention_dropout=dropout,
        residual_dropout=dropout,
        label_smoothing=smoothing,
    )
    if style == "llama":
        inner = round(spec.ffn_width * 2 / 3 / 8) * 8
        return dataclasses.replace(
            spec, activation="swiglu", norm="rmsnorm", position="rope", ffn_multiplier=inner / spec.width
        )
    if style == "gpt":
        return dataclasses.replace(
            spec, activation="gelu", norm="layernorm", position="learned", ffn_multiplier=4.0, tied_embeddings=True
        )
    return spec
