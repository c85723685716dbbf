"""Which architecture is which class of `transformers`, exactly: its configuration, and where each part of the weights goes.

A class is listed only where it computes what our model computes: the same norms with their biases and epsilon, pre-norm
residuals one after the other, exact GELU, rope over whole heads with halves as pairs, scores divided by the root of the head's
width. What it has beyond that (biases of linear layers) is zero. Those that look alike and are not: BLOOM (GELU by tanh),
Falcon (ALiBi divided by the root of the head's width), MPT (norms without bias), OPT (positions from 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.exporting.parts import Parts
from autonas.model.blocks import NORM_EPSILON
from autonas.model.positions import ROPE_BASE

_ACTIVATIONS: Final = {"gelu": "gelu", "geglu": "gelu", "silu": "silu", "swiglu": "silu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeClass:
    """A class of `transformers`: `config` are the arguments of its configuration, `names` those of its weights.

    `tensors` and `parts` carry weights there and back; `zeros` are the biases it has and our model does not, by their length.
    """

    model_type: str
    architecture: str
    config: Callable[[ArchSpec], dict[str, Any]]
    names: Callable[[ArchSpec], dict[str, str]]  # of our parts to theirs, where one is the other
    fused: Callable[[ArchSpec, int], str] | None = None  # the name of a layer's query, key and value in one
    interleaved: bool = True  # them, head by head
    transposed: bool = False  # matrices of a layer are (inputs, outputs)
    zeros: Callable[[ArchSpec], dict[str, int]] = lambda spec: {}

    def tensors(self, spec: ArchSpec, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights under the class's names."""
        names = self.names(spec)
        found = {names[part]: self._turned(part, tensor) for part, tensor in parts.items() if part in names}
        if self.fused is not None:
            for layer in range(spec.layers):
                heads = [parts[f"blocks.{layer}.{name}"] for name in ("query", "key", "value")]
                found[self.fused(spec, layer)] = self._turned(f"blocks.{layer}.query", self._joined(spec, heads))
        found |= {name: torch.zeros(length) for name, length in self.zeros(spec).items()}
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def parts(self, spec: ArchSpec, tensors: Mapping[str, Tensor]) -> Parts:
        """The inverse of `tensors`. Raises KeyError where a weight is missing."""
        absent = set() if not spec.tied_embeddings else {"unembedding"}
        names = self.names(spec)
        found = {part: self._turned(part, tensors[name]) for part, name in names.items() if part not in absent}
        if self.fused is not None:
            for layer in range(spec.layers):
                rows = self._turned(f"blocks.{layer}.query", tensors[self.fused(spec, layer)])
                for name, part in zip(("query", "key", "value"), self._parted(spec, rows), strict=True):
                    found[f"blocks.{layer}.{name}"] = part
        return {name: part.contiguous() for name, part in found.items()}

    def _turned(self, part: str, tensor: Tensor) -> Tensor:
        return tensor.T if self.transposed and part.startswith("blocks.") and tensor.ndim == 2 else tensor

    def _joined(self, spec: ArchSpec, heads: list[Tensor]) -> Tensor:
        if not self.interleaved:
            return torch.cat(heads)
        stacked = [tensor.view(spec.heads, spec.head_width, spec.width) for tensor in heads]
        return torch.cat(stacked, dim=1).reshape(-1, spec.width)  # query, key, value of head 0, then of head 1, …

    def _parted(self, spec: ArchSpec, rows: Tensor) -> tuple[Tensor, ...]:
        keys = spec.kv_heads * spec.head_width
        if not self.interleaved:
            return tuple(torch.split(rows, [spec.width, keys, keys]))
        heads = rows.view(spec.heads, 3 * spec.head_width, spec.width).chunk(3, dim=1)
        return tuple(head.reshape(-1, spec.width) for head in heads)


def native_class(spec: ArchSpec) -> NativeClass | None:
    """The class of `transformers` that is exactly `spec`; None where there is none."""
    if spec.position == "rope":
        if spec.norm == "rmsnorm":
            return LLAMA if spec.gated else ARCEE
        if spec.gated:
            return STABLELM
        return GPT_NEOX if spec.kv_heads == spec.heads else STARCODER2
    if spec.position == "learned" and spec.norm == "layernorm" and not spec.gated:
        if spec.kv_heads == spec.heads:
            return GPT2
        if spec.kv_heads == 1:
            return GPT_BIGCODE
    return None


def _modern(spec: ArchSpec, **more: Any) -> dict[str, Any]:
    """What the classes that came after Llama have in common."""
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.width,
        "intermediate_size": spec.ffn_width,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "hidden_act": _ACTIVATIONS[spec.activation],
        "max_position_embeddings": spec.context_length,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
        "tie_word_embeddings": spec.tied_embeddings,
        **more,
    }


def _classic(spec: ArchSpec, **more: Any) -> dict[str, Any]:
    """What GPT-2 and its kin have in common. Dropout is what it was trained with, for who goes on to train it."""
    return {
        "vocab_size": spec.vocab_size,
        "n_embd": spec.width,
        "n_inner": spec.ffn_width,
        "n_layer": spec.layers,
        "n_head": spec.heads,
        "n_positions": spec.context_length,
        "activation_function": _ACTIVATIONS[spec.activation],
        "layer_norm_epsilon": NORM_EPSILON,
        "resid_pdrop": spec.residual_dropout,
        "attn_pdrop": spec.attention_dropout,
        "embd_pdrop": 0.0,
        "tie_word_embeddings": spec.tied_embeddings,
        **more,
    }


def _layered(spec: ArchSpec, top: Mapping[str, str], layer: str, inside: Mapping[str, str]) -> dict[str, str]:
    """Names of parts: those at the top, and those inside each layer; norms have biases where the architecture's do."""
    found = {part: name for part, name in top.items() if part != "position_embedding" or spec.position == "learned"}
    for number in range(spec.layers):
        found |= {f"blocks.{number}.{part}": f"{layer.format(number)}{name}" for part, name in inside.items()}
    norms = {part: name for part, name in found.items() if part.endswith("norm.weight")}
    biases = {part.replace(".weight", ".bias"): name.replace(".weight", ".bias") for part, name in norms.items()}
    return found | biases if spec.norm == "layernorm" else found


_MODERN_TOP: Final = {
    "embedding": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
    "unembedding": "lm_head.weight",
}
_MODERN_ATTENTION: Final = {
    "attention_norm.weight": "input_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "out": "self_attn.o_proj.weight",
    "feed_forward_norm.weight": "post_attention_layernorm.weight",
}
_PLAIN_MLP: Final = {"up": "mlp.up_proj.weight", "down": "mlp.down_proj.weight"}
_GATED_MLP: Final = {"gate": "mlp.gate_proj.weight", **_PLAIN_MLP}
_GPT2_LAYER: Final = {
    "attention_norm.weight": "ln_1.weight",
    "out": "attn.c_proj.weight",
    "feed_forward_norm.weight": "ln_2.weight",
    "up": "mlp.c_fc.weight",
    "down": "mlp.c_proj.weight",
}
_GPT2_TOP: Final = {
    "embedding": "transformer.wte.weight",
    "position_embedding": "transformer.wpe.weight",
    "final_norm.weight": "transformer.ln_f.weight",
    "unembedding": "lm_head.weight",
}


def _modern_names(mlp: Mapping[str, str]) -> Callable[[ArchSpec], dict[str, str]]:
    return lambda spec: _layered(spec, _MODERN_TOP, "model.layers.{}.", {**_MODERN_ATTENTION, **mlp})


def _zero_biases(layer: str, lengths: Callable[[ArchSpec], dict[str, int]]) -> Callable[[ArchSpec], dict[str, int]]:
    def zeros(spec: ArchSpec) -> dict[str, int]:
        numbers = range(spec.layers)
        return {f"{layer.format(number)}{name}": length for number in numbers for name, length in lengths(spec).items()}

    return zeros


def _gpt2_biases(spec: ArchSpec) -> dict[str, int]:
    rows = (spec.heads + 2 * spec.kv_heads) * spec.head_width
    width, inner = spec.width, spec.ffn_width
    return {"attn.c_attn.bias": rows, "attn.c_proj.bias": width, "mlp.c_fc.bias": inner, "mlp.c_proj.bias": width}


def _llama_config(spec: ArchSpec) -> dict[str, Any]:
    more = {"attention_bias": False, "mlp_bias": False, "attention_dropout": spec.attention_dropout}
    return _modern(spec, rms_norm_eps=NORM_EPSILON, head_dim=spec.head_width, **more)


LLAMA: Final = NativeClass(
    model_type="llama", architecture="LlamaForCausalLM", config=_llama_config, names=_modern_names(_GATED_MLP)
)
# Llama with a feed-forward of two matrices.
ARCEE: Final = NativeClass(
    model_type="arcee", architecture="ArceeForCausalLM", config=_llama_config, names=_modern_names(_PLAIN_MLP)
)
STABLELM: Final = NativeClass(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    config=lambda spec: _modern(
        spec,
        layer_norm_eps=NORM_EPSILON,
        use_qkv_bias=False,
        qk_layernorm=False,
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE, "partial_rotary_factor": 1.0},
        attention_dropout=spec.attention_dropout,
        hidden_dropout=spec.residual_dropout,
    ),
    names=_modern_names(_GATED_MLP),
)
STARCODER2: Final = NativeClass(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    config=lambda spec: _modern(
        spec,
        norm_epsilon=NORM_EPSILON,
        use_bias=False,
        sliding_window=None,
        attention_dropout=spec.attention_dropout,
        residual_dropout=spec.residual_dropout,
    ),
    names=_modern_names({"up": "mlp.c_fc.weight", "down": "mlp.c_proj.weight"}),
)


def _neox_config(spec: ArchSpec) -> dict[str, Any]:
    found = _modern(
        spec,
        layer_norm_eps=NORM_EPSILON,
        use_parallel_residual=False,
        attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE, "partial_rotary_factor": 1.0},
        attention_dropout=spec.attention_dropout,
        hidden_dropout=spec.residual_dropout,
    )
    del found["num_key_value_heads"]
    return found


_NEOX_TOP: Final = {
    "embedding": "gpt_neox.embed_in.weight",
    "final_norm.weight": "gpt_neox.final_layer_norm.weight",
    "unembedding": "lm_head.weight",
}
_NEOX_LAYER: Final = {
    "attention_norm.weight": "input_layernorm.weight",
    "out": "attention.dense.weight",
    "feed_forward_norm.weight": "post_attention_layernorm.weight",
    "up": "mlp.dense_h_to_4h.weight",
    "down": "mlp.dense_4h_to_h.weight",
}
GPT_NEOX: Final = NativeClass(
    model_type="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    config=_neox_config,
    names=lambda spec: _layered(spec, _NEOX_TOP, "gpt_neox.layers.{}.", _NEOX_LAYER),
    fused=lambda spec, layer: f"gpt_neox.layers.{layer}.attention.query_key_value.weight",
    zeros=_zero_biases(
        "gpt_neox.layers.{}.mlp.",
        lambda spec: {"dense_h_to_4h.bias": spec.ffn_width, "dense_4h_to_h.bias": spec.width},
    ),
)
GPT2: Final = NativeClass(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    config=_classic,
    names=lambda spec: _layered(spec, _GPT2_TOP, "transformer.h.{}.", _GPT2_LAYER),
    fused=lambda spec, layer: f"transformer.h.{layer}.attn.c_attn.weight",
    interleaved=False,
    transposed=True,
    zeros=_zero_biases("transformer.h.{}.", _gpt2_biases),
)
GPT_BIGCODE: Final = NativeClass(
    model_type="gpt_bigcode",
    architecture="GPTBigCodeForCausalLM",
    config=lambda spec: _classic(spec, multi_query=True),
    names=lambda spec: _layered(spec, _GPT2_TOP, "transformer.h.{}.", _GPT2_LAYER),
    fused=lambda spec, layer: f"transformer.h.{layer}.attn.c_attn.weight",
    interleaved=False,
    zeros=_zero_biases("transformer.h.{}.", _gpt2_biases),
)
NATIVE_CLASSES: Final = {each.model_type: each for each in (LLAMA, ARCEE, STABLELM, STARCODER2, GPT_NEOX, GPT2, GPT_BIGCODE)}
