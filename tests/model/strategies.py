"""Random architectures for property tests: every choice of the space, at sizes that build in milliseconds."""

from __future__ import annotations

from hypothesis import strategies as st

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec


@st.composite
def specs(draw: st.DrawFn, *, dropout: bool = False, min_context: int = 2) -> ArchSpec:
    position = draw(st.sampled_from(POSITIONS))
    heads = draw(st.integers(1, 6))
    kv_heads = draw(st.sampled_from([k for k in range(1, heads + 1) if heads % k == 0]))
    head_width = draw(st.sampled_from((2, 4, 8, 16) if position == "rope" else (1, 3, 4, 8, 16)))
    width = heads * head_width
    return ArchSpec(
        layers=draw(st.integers(1, 3)),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        ffn_multiplier=draw(st.sampled_from((1.0, 1.5, 8 / 3, 3.0, 4.0))),
        norm=draw(st.sampled_from(NORMS)),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        position=position,
        tied_embeddings=draw(st.booleans()),
        attention_dropout=draw(st.sampled_from((0.0, 0.3))) if dropout else 0.0,
        residual_dropout=draw(st.sampled_from((0.0, 0.3))) if dropout else 0.0,
        vocab_size=draw(st.integers(2, 60)),
        context_length=draw(st.integers(min_context, 24)),
    )
