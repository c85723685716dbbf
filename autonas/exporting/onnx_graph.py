"""The decoder of an architecture as an ONNX graph with its KV cache, built node by node.

Not traced: a graph that is written is the same for every version of torch, and its axes (rows, new tokens, tokens in the cache)
are free because nothing in it has their size. Standard operators of opset 20 alone.

Shapes: B rows, T new tokens, P tokens in the cache, S = P + T keys, H query heads, K key-value heads, G = H / K queries of a
key-value head, D width of a head, d width, V vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.model.blocks import NORM_EPSILON
from autonas.model.positions import ROPE_BASE, alibi_slopes

OPSET: Final = 20
_IR_VERSION: Final = 10
# What is added to the score of a key that may not be seen. Not an infinity: a row that sees nothing, padding, stays finite.
_UNSEEN: Final = -1e30


def build_graph(spec: ArchSpec, weights: Mapping[str, Tensor], *, share_embedding: bool = True) -> onnx.ModelProto:
    """The graph of `spec` with the weights of a model's `state_dict`.

    Inputs: `input_ids` (B, T), `attention_mask` (B, S), which is 0 where a row is padded on its left, and for each layer
    `past_key_values.N.key` and `.value` (B, K, P, D); P may be 0. Outputs: `logits` (B, T, V), and `present.N.key` and
    `.value` (B, K, S, D). Without `share_embedding`, tied embeddings are stored twice, so that both can be quantised.
    """
    graph = _Graph({name: weight.detach().cpu().float().numpy() for name, weight in weights.items()})
    past = [f"past_key_values.{layer}.{kind}" for layer in range(spec.layers) for kind in ("key", "value")]
    present = [f"present.{layer}.{kind}" for layer in range(spec.layers) for kind in ("key", "value")]
    frame = _Frame(graph, spec)
    x = graph.op("Gather", graph.weight("embedding.weight"), "input_ids")  # (B, T, d)
    if spec.position == "learned":
        x = graph.op("Add", x, graph.op("Gather", graph.weight("position_embedding.weight"), frame.positions))
    for layer in range(spec.layers):
        block = f"blocks.{layer}."
        mixed = _attention(graph, spec, frame, _norm(graph, spec, x, block + "attention_norm"), layer)
        x = graph.op("Add", x, mixed)
        x = graph.op("Add", x, _feed_forward(graph, spec, _norm(graph, spec, x, block + "feed_forward_norm"), block))
    x = _norm(graph, spec, x, "final_norm")
    if spec.tied_embeddings and share_embedding:
        head = graph.op("Transpose", "embedding.weight", perm=[1, 0])
    else:
        name = "embedding.weight" if spec.tied_embeddings else "unembedding.weight"
        head = graph.weight(name, transposed=True)
    graph.op("MatMul", x, head, output="logits")
    cache: list[str | int | None] = ["batch", spec.kv_heads, "past", spec.head_width]
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "total"]),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, cache) for name in past),
    ]
    grown: list[str | int | None] = ["batch", spec.kv_heads, "total", spec.head_width]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", spec.vocab_size]),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, grown) for name in present),
    ]
    made = helper.make_graph(graph.nodes, "decoder", inputs, outputs, initializer=graph.initializers)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="autonas"
    )
    helper.set_model_props(model, {"autonas.spec": json.dumps(spec.to_dict())})
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants as they come."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights
        self._names: set[str] = set()

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output, which is returned."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        names = [f"split_{len(self.nodes)}_{number}" for number in range(len(sizes))]
        inputs = [x, self.constant(np.array(sizes, dtype=np.int64))]
        self.nodes.append(helper.make_node("Split", inputs, names, name=f"Split_{len(self.nodes)}", axis=axis))
        return names

    def weight(self, name: str, *, transposed: bool = False) -> str:
        """A weight under its own name; a matrix that stands on the right of a product is stored turned."""
        stored = f"{name}.transposed" if transposed and f"{name}" in self._names else name
        array = self._weights[name]
        return self._keep(stored, np.ascontiguousarray(array.T) if transposed else array)

    def constant(self, array: NDArray[Any]) -> str:
        return self._keep(f"constant_{len(self.initializers)}", array)

    def _keep(self, name: str, array: NDArray[Any]) -> str:
        if name not in self._names:
            self._names.add(name)
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))


class _Frame:
    """What a pass knows of positions, made once for all layers: as `autonas.model.blocks.Frame`."""

    def __init__(self, graph: _Graph, spec: ArchSpec) -> None:
        zero, one = graph.whole(0), graph.whole(1)
        places = graph.op("Max", graph.op("Sub", graph.op("CumSum", "attention_mask", one), one), zero)  # (B, S)
        total = graph.op("Shape", "attention_mask", start=1, end=2)  # (1,)
        start = graph.op("Sub", total, graph.op("Shape", "input_ids", start=1, end=2))
        self.positions = graph.op("Slice", places, start, total, one)  # (B, T)
        scalar = graph.constant(np.array(0, dtype=np.int64))
        step = graph.constant(np.array(1, dtype=np.int64))
        slots = graph.op("Range", scalar, graph.op("Squeeze", total), step)  # (S,)
        queries = graph.op("Slice", slots, start, total, zero)  # (T,)
        earlier = graph.op("LessOrEqual", slots, graph.op("Unsqueeze", queries, one))  # (T, S)
        real = graph.op("Unsqueeze", graph.op("Cast", "attention_mask", to=TensorProto.BOOL), graph.whole(1, 2, 3))
        seen = graph.op("And", earlier, real)  # (B, 1, 1, T, S)
        self.cos = self.sin = ""
        bias = graph.constant(np.zeros((1, 1, 1, 1, 1), dtype=np.float32))
        if spec.position == "alibi":
            keys = graph.op("Unsqueeze", places, one)  # (B, 1, S)
            distance = graph.op("Sub", keys, graph.op("Unsqueeze", self.positions, graph.whole(2)))  # (B, T, S)
            distance = graph.op("Unsqueeze", graph.op("Cast", distance, to=TensorProto.FLOAT), graph.whole(1, 2))
            slopes = np.array(alibi_slopes(spec.heads), dtype=np.float32).reshape(1, spec.kv_heads, -1, 1, 1)
            bias = graph.op("Mul", distance, graph.constant(slopes))  # (B, K, G, T, S)
        unseen = graph.constant(np.array(_UNSEEN, dtype=np.float32))
        self.bias = graph.op("Where", seen, bias, unseen)
        if spec.position == "rope":
            # In float64, as rope_tables: float32 loses up to 1e-3 radians at position 10,000.
            pairs = np.arange(0, spec.head_width, 2, dtype=np.float64)
            rates = graph.constant(ROPE_BASE ** (-pairs / spec.head_width))
            places64 = graph.op("Cast", graph.op("Unsqueeze", self.positions, graph.whole(2, 3)), to=TensorProto.DOUBLE)
            angles = graph.op("Mul", places64, rates)  # (B, T, 1, D/2)
            self.cos = graph.op("Cast", graph.op("Cos", angles), to=TensorProto.FLOAT)
            self.sin = graph.op("Cast", graph.op("Sin", angles), to=TensorProto.FLOAT)

    def rotate(self, graph: _Graph, x: str, half: int) -> str:
        """Every pair (x[i], x[i + D/2]) of `x` (B, T, heads, D) by its position's angle."""
        first, second = graph.split(x, [half, half], axis=3)
        turned = graph.op("Sub", graph.op("Mul", first, self.cos), graph.op("Mul", second, self.sin))
        other = graph.op("Add", graph.op("Mul", second, self.cos), graph.op("Mul", first, self.sin))
        return graph.op("Concat", turned, other, axis=3)


def _norm(graph: _Graph, spec: ArchSpec, x: str, name: str) -> str:
    weight = graph.weight(f"{name}.weight")
    if spec.norm == "layernorm":
        bias = graph.weight(f"{name}.bias")
        return graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=NORM_EPSILON)
    square = graph.op("ReduceMean", graph.op("Mul", x, x), graph.whole(-1), keepdims=1)
    size = graph.op("Sqrt", graph.op("Add", square, graph.constant(np.array(NORM_EPSILON, dtype=np.float32))))
    return graph.op("Mul", graph.op("Div", x, size), weight)


def _attention(graph: _Graph, spec: ArchSpec, frame: _Frame, x: str, layer: int) -> str:
    heads, kv_heads, width = spec.heads, spec.kv_heads, spec.head_width
    groups = heads // kv_heads
    qkv = graph.op("MatMul", x, graph.weight(f"blocks.{layer}.attention.qkv.weight", transposed=True))
    qkv = graph.op("Reshape", qkv, graph.whole(0, 0, heads + 2 * kv_heads, width))
    if spec.position == "rope":
        qk, v = graph.split(qkv, [heads + kv_heads, kv_heads], axis=2)
        q, k = graph.split(frame.rotate(graph, qk, width // 2), [heads, kv_heads], axis=2)
    else:
        q, k, v = graph.split(qkv, [heads, kv_heads, kv_heads], axis=2)
    k, v = (graph.op("Transpose", each, perm=[0, 2, 1, 3]) for each in (k, v))  # (B, K, T, D)
    k, v = (
        graph.op("Concat", f"past_key_values.{layer}.{kind}", each, axis=2, output=f"present.{layer}.{kind}")
        for kind, each in (("key", k), ("value", v))
    )  # (B, K, S, D)
    q = graph.op("Mul", q, graph.constant(np.array(1 / math.sqrt(width), dtype=np.float32)))
    q = graph.op("Reshape", graph.op("Transpose", q, perm=[0, 2, 1, 3]), graph.whole(0, kv_heads, groups, -1, width))
    keys = graph.op("Unsqueeze", graph.op("Transpose", k, perm=[0, 1, 3, 2]), graph.whole(2))  # (B, K, 1, D, S)
    scores = graph.op("Add", graph.op("MatMul", q, keys), frame.bias)  # (B, K, G, T, S)
    mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), graph.op("Unsqueeze", v, graph.whole(2)))
    mixed = graph.op("Reshape", mixed, graph.whole(0, heads, -1, width))  # (B, H, T, D)
    mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.whole(0, 0, spec.width))
    return graph.op("MatMul", mixed, graph.weight(f"blocks.{layer}.attention.out.weight", transposed=True))


def _feed_forward(graph: _Graph, spec: ArchSpec, x: str, block: str) -> str:
    hidden = graph.op("MatMul", x, graph.weight(block + "feed_forward.up.weight", transposed=True))
    gate, value = graph.split(hidden, [spec.ffn_width] * 2, axis=2) if spec.gated else (hidden, "")
    if spec.activation in ("gelu", "geglu"):
        gate = graph.op("Gelu", gate, approximate="none")
    else:
        gate = graph.op("Mul", gate, graph.op("Sigmoid", gate))
    hidden = graph.op("Mul", gate, value) if spec.gated else gate
    return graph.op("MatMul", hidden, graph.weight(block + "feed_forward.down.weight", transposed=True))
