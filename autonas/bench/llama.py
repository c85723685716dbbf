"""Our weights in Hugging Face's Llama: the same function, as a test and `bench decode` check before anything is timed."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from autonas.arch import ArchSpec
from autonas.model.blocks import NORM_EPSILON
from autonas.model.positions import ROPE_BASE
from autonas.model.transformer import Transformer


def llama_config(spec: ArchSpec) -> Any:
    """The configuration of the Llama that computes what a model of `spec` computes."""
    assert (spec.activation, spec.norm, spec.position) == ("swiglu", "rmsnorm", "rope"), spec
    return LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.width,
        intermediate_size=spec.ffn_width,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        max_position_embeddings=spec.context_length,
        rms_norm_eps=NORM_EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        tie_word_embeddings=spec.tied_embeddings,
        attention_dropout=spec.attention_dropout,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )


@torch.no_grad()
def to_llama(model: Transformer) -> Any:
    """A LlamaForCausalLM with a copy of the weights of `model`, in their number format and on their device."""
    spec = model.spec
    theirs: Any = LlamaForCausalLM(llama_config(spec))
    query, key = spec.heads * spec.head_width, spec.kv_heads * spec.head_width
    theirs.model.embed_tokens.weight.copy_(model.embedding.weight)
    theirs.model.norm.weight.copy_(model.final_norm.weight)
    if not spec.tied_embeddings:
        theirs.lm_head.weight.copy_(model.unembedding.weight)
    for mine, its in zip(model.blocks, theirs.model.layers, strict=True):
        block: Any = mine
        parts = block.attention.qkv.weight.split([query, key, key])
        for name, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
            getattr(its.self_attn, name).weight.copy_(part)
        its.self_attn.o_proj.weight.copy_(block.attention.out.weight)
        gate, up = block.feed_forward.up.weight.split(spec.ffn_width)
        its.mlp.gate_proj.weight.copy_(gate)
        its.mlp.up_proj.weight.copy_(up)
        its.mlp.down_proj.weight.copy_(block.feed_forward.down.weight)
        its.input_layernorm.weight.copy_(block.attention_norm.weight)
        its.post_attention_layernorm.weight.copy_(block.feed_forward_norm.weight)
    weight = model.embedding.weight
    theirs.to(device=weight.device, dtype=weight.dtype)
    return theirs
