"""The weights of a model as the parts that other tools know: queries, keys and values apart, the gate apart from the values.

Each layer's are `blocks.N.` and then `attention_norm.weight`, `attention_norm.bias` (layernorm only), `query`, `key`, `value`,
`out`, `feed_forward_norm.weight` and `.bias`, `gate` (gated activations only), `up`, `down`; beside them stand `embedding`,
`position_embedding` (learned positions only), `final_norm.weight` and `.bias`, `unembedding` (untied only). Matrices are
(outputs, inputs). The halves of a head are rope's pairs, as everywhere in autonas.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autonas.arch import ArchSpec

Parts = dict[str, Tensor]


def split_parts(spec: ArchSpec, weights: Mapping[str, Tensor]) -> Parts:
    """The parts of a model's `state_dict`, as contiguous tensors on the host."""
    parts: Parts = {}
    for name, tensor in weights.items():
        weight = tensor.detach().cpu()
        short = name.removesuffix(".weight")
        if short.endswith("attention.qkv"):
            block = short.removesuffix("attention.qkv")
            parts |= zip((block + "query", block + "key", block + "value"), torch.split(weight, _head_rows(spec)), strict=True)
        elif short.endswith("feed_forward.up"):
            block = short.removesuffix("feed_forward.up")
            names = (block + "gate", block + "up") if spec.gated else (block + "up",)
            parts |= zip(names, weight.chunk(len(names)), strict=True)
        elif short.endswith(("attention.out", "feed_forward.down")):
            parts[short.replace("attention.", "").replace("feed_forward.", "")] = weight
        else:
            parts[name if "norm" in name else short] = weight
    return {name: part.contiguous() for name, part in parts.items()}


def join_parts(spec: ArchSpec, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `split_parts`. Raises KeyError where a part is missing."""
    norms = ("weight", "bias") if spec.norm == "layernorm" else ("weight",)
    weights = {"embedding.weight": parts["embedding"]}
    if spec.position == "learned":
        weights["position_embedding.weight"] = parts["position_embedding"]
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        for norm in (block + "attention_norm.", block + "feed_forward_norm."):
            weights |= {norm + kind: parts[norm + kind] for kind in norms}
        weights[block + "attention.qkv.weight"] = torch.cat([parts[block + name] for name in ("query", "key", "value")])
        up = [parts[block + name] for name in (("gate", "up") if spec.gated else ("up",))]
        weights[block + "feed_forward.up.weight"] = torch.cat(up)
        weights[block + "attention.out.weight"] = parts[block + "out"]
        weights[block + "feed_forward.down.weight"] = parts[block + "down"]
    weights |= {f"final_norm.{kind}": parts[f"final_norm.{kind}"] for kind in norms}
    if not spec.tied_embeddings:
        weights["unembedding.weight"] = parts["unembedding"]
    return weights


def _head_rows(spec: ArchSpec) -> list[int]:
    keys = spec.kv_heads * spec.head_width
    return [spec.width, keys, keys]
