"""What an architecture costs, by arithmetic: parameters, FLOPs, KV cache, memory. Nothing is built, and torch is not needed.

Equal to the built model for every point of a space (tests/test_cost.py), but for the activations in `training_bytes`,
an estimate. A FLOP count takes a multiply-add as 2 and counts the matrix products (projections, feed-forward,
attention, head); norms, activations, softmax, rotations and the embedding's look-up are left out, as is usual: together
they are below 3 % at width 128 and up.

Symbols: L layers, d width, H query heads, K key-value heads, D = d / H, f inner width of the feed-forward, V
vocabulary, C context.
"""

from __future__ import annotations

from autonas.arch import ArchSpec
from autonas.trial import TrainingSettings


def param_breakdown(spec: ArchSpec) -> dict[str, int]:
    """Parameters by part: embedding, positions, attention, feed_forward, norms, head (0 when tied)."""
    norm = spec.width * (2 if spec.norm == "layernorm" else 1)
    return {
        "embedding": spec.vocab_size * spec.width,
        "positions": spec.context_length * spec.width if spec.position == "learned" else 0,
        "attention": spec.layers * _attention_matrices(spec),
        "feed_forward": spec.layers * _feed_forward_matrices(spec),
        "norms": (2 * spec.layers + 1) * norm,
        "head": 0 if spec.tied_embeddings else spec.vocab_size * spec.width,
    }


def count_params(spec: ArchSpec) -> int:
    """All parameters: 2Vd + L(4d² + 2df + 2n) + n for an ungated multi-head model with an untied head, n those of one norm."""
    return sum(param_breakdown(spec).values())


def forward_flops_per_token(spec: ArchSpec, context: int | None = None) -> int:
    """FLOPs of one token's forward pass, the mean over the positions of a causal window of `context` (default: the spec's)."""
    return sum(flops_breakdown(spec, context).values())


def flops_breakdown(spec: ArchSpec, context: int | None = None) -> dict[str, int]:
    """The same by part: projections (of the attention), attention (its two products), feed_forward, head."""
    window = spec.context_length if context is None else context
    return {
        "projections": 2 * spec.layers * _attention_matrices(spec),
        # Position t attends to t + 1 tokens, (C + 1) / 2 on average, by two products of d multiply-adds each.
        "attention": spec.layers * 2 * spec.width * (window + 1),
        "feed_forward": 2 * spec.layers * _feed_forward_matrices(spec),
        "head": 2 * spec.vocab_size * spec.width,
    }


def training_flops_per_token(spec: ArchSpec) -> int:
    """Forward and backward: three times the forward pass, since each product has two gradients."""
    return 3 * forward_flops_per_token(spec)


def decode_flops_per_token(spec: ArchSpec, context: int) -> int:
    """FLOPs of making one token with a KV cache, when it attends to `context` tokens, itself included."""
    return 2 * _matrix_params(spec) + spec.layers * 4 * spec.width * context


def kv_bytes(spec: ArchSpec, tokens: int, bytes_per_value: int = 2) -> int:
    """Bytes of the keys and values of `tokens` tokens, all layers together."""
    return 2 * spec.layers * spec.kv_heads * spec.head_width * tokens * bytes_per_value


def inference_bytes(spec: ArchSpec, bytes_per_value: int = 2, context: int | None = None) -> int:
    """Bytes to serve one sequence: the weights, and the KV cache at `context` tokens (default: the spec's context length)."""
    tokens = spec.context_length if context is None else context
    return count_params(spec) * bytes_per_value + kv_bytes(spec, tokens, bytes_per_value)


def moment_values(spec: ArchSpec, training: TrainingSettings) -> int:
    """Numbers that the optimizer remembers from step to step: two for each parameter by AdamW, one where Muon updates it.

    The slow part of the gradients, where they are filtered, is another one.
    """
    parts = param_breakdown(spec)
    params = sum(parts.values())
    saved = parts["attention"] + parts["feed_forward"] if training.optimizer == "muon" else 0
    return (3 if training.grokfast else 2) * params - saved


def training_bytes(
    spec: ArchSpec, batch_tokens: int, training: TrainingSettings | None = None, bytes_per_value: int = 4
) -> int:
    """Bytes at the peak of a training step on `batch_tokens` tokens, in windows of the context length: an estimate.

    Weights, gradients and what the optimizer remembers in float32 are exact. Activations, in numbers of `bytes_per_value`, are
    those kept for the backward pass and three times the logits (themselves, their log-softmax, their gradient). The measured
    peak of a plain float32 step on a CPU is 0.8 to 1.0 of the whole: gradients are made while activations are freed. `training`
    says which optimizer, and how many copies of weights and moments there are to go back to; None: AdamW without copies.
    """
    training = training or TrainingSettings(rollbacks=0)
    lasting = count_params(spec) + moment_values(spec, training)
    state = 4 * (count_params(spec) + (1 + training.num_copies) * lasting)
    activations = batch_tokens * (saved_values_per_token(spec) + 3 * spec.vocab_size)
    return state + bytes_per_value * activations


def saved_values_per_token(spec: ArchSpec) -> int:
    """Numbers that autograd keeps for each token of a training forward pass, up to the logits, on the CPU in float32."""
    width, inner = spec.width, spec.ffn_width
    # A norm keeps its input, its output and its statistics; RMSNorm its normalised input as well.
    norm = 2 * width + 2 if spec.norm == "layernorm" else 3 * width + 1
    feed_forward = inner * (4 if spec.gated else 2)
    masks = 2 * width + inner if spec.residual_dropout > 0 else 0
    layer = 2 * norm + _attention_values(spec) + feed_forward + masks
    return spec.layers * layer + norm


def _attention_values(spec: ArchSpec) -> int:
    """Between the norm before the attention and the output projection, the latter's input included."""
    if spec.attention_dropout > 0:
        # Dropout on the probabilities takes the plain kernel: q, k, v and the output, and three T × T matrices a head.
        return 4 * spec.width + 3 * spec.heads * spec.context_length
    rotated = (spec.heads + spec.kv_heads) * spec.head_width if spec.position == "rope" else 0
    return rotated + (spec.heads + 2 * spec.kv_heads) * spec.head_width + spec.heads + spec.width


def _attention_matrices(spec: ArchSpec) -> int:
    """Fused query, key and value projection, and the output's: 4d² when K = H."""
    return spec.width * (spec.heads + 2 * spec.kv_heads) * spec.head_width + spec.width**2


def _feed_forward_matrices(spec: ArchSpec) -> int:
    return (3 if spec.gated else 2) * spec.width * spec.ffn_width


def _matrix_params(spec: ArchSpec) -> int:
    """Weights that each token is multiplied with: all matrices and the head, which may be the embedding's own."""
    return spec.layers * (_attention_matrices(spec) + _feed_forward_matrices(spec)) + spec.vocab_size * spec.width
