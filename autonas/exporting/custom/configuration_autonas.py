"""The configuration of a model trained by autonas, for `transformers`. It goes with the weights; autonas is not needed."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PretrainedConfig


class AutonasConfig(PretrainedConfig):
    """A decoder-only pre-norm transformer without biases in its linear layers.

    `norm`: layernorm, rmsnorm. `activation`: gelu, silu, or gated geglu, swiglu. `position`: rope, alibi, learned.
    """

    model_type = "autonas"
    keys_to_ignore_at_inference = ("past_key_values",)
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "num_key_value_heads": "kv_heads",
        "intermediate_size": "ffn_width",
        "max_position_embeddings": "context_length",
    }

    def __init__(
        self,
        vocab_size: int = 8000,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        kv_heads: int = 4,
        ffn_width: int = 512,
        norm: str = "rmsnorm",
        norm_epsilon: float = 1e-5,
        activation: str = "gelu",
        position: str = "rope",
        rope_base: float = 10000.0,
        context_length: int = 256,
        attention_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        use_cache: bool = True,
        tie_word_embeddings: bool = True,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.layers = layers
        self.width = width
        self.heads = heads
        self.kv_heads = kv_heads
        self.ffn_width = ffn_width
        self.norm = norm
        self.norm_epsilon = norm_epsilon
        self.activation = activation
        self.position = position
        self.rope_base = rope_base
        self.context_length = context_length
        self.attention_dropout = attention_dropout
        self.residual_dropout = residual_dropout
        self.use_cache = use_cache
        super().__init__(**{**others, "tie_word_embeddings": tie_word_embeddings})
