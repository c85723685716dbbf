"""Optimizers whose one base rate is fair to every width and depth. The rate over time is in schedule.py, the update itself in
flat_optimizer.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.model.transformer import Transformer
from autonas.training.flat import flatten
from autonas.training.flat_optimizer import FlatOptimizer
from autonas.training.muon import HiddenMatrices
from autonas.training.precision import autocast_dtype
from autonas.trial import TrainingSettings

BASE_WIDTH = 128
BASE_LAYERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """A role's rate: base * factor * (128 / width) ** width_power * (2 / layers) ** depth_power."""

    factor: float
    width_power: float = 0.0
    depth_power: float = 0.0
    decays: bool = False

    def rate(self, base: float, spec: ArchSpec) -> float:
        shape = (BASE_WIDTH / spec.width) ** self.width_power * (BASE_LAYERS / spec.layers) ** self.depth_power
        return base * self.factor * float(shape)


# Powers of width: what Adam needs for features of constant size (µP, arXiv 2203.03466; with standard initial values and full
# alignment, arXiv 2407.05872, table 1). A tied matrix is bound by its use as a head. Power of depth: arXiv 2310.02244.
# Checked, and factors found, on the standard library's source (BPE of 2,048, batches of 4 x 256, 256 K tokens, cooled, seed 0):
#     hidden, best of rates x2 apart    2 layers, width 32: 3e-3, 160: 6e-4 | width 64, 1 layer: 1.5e-3, 6 layers: 7.5e-4
#     tied                              2 layers, width 32: 2.4e-2 to 4.8e-2, 160: 6e-3 to 1.2e-2
#     embedding; head (untied)          2 layers, width 32: 4e-2 or more; 4e-2 | width 128: 4e-2; 2.5e-3
#     position (learned)                width 64: 1e-3 is better than 6e-3 (by 0.03 nats) and 3e-2 (by 0.19)
#     gain                              width 64: 1e-3 to 1.6e-2 differ by 0.002 nats
# One rate for tied and hidden matrices cost 0.4 nats at width 32. With these rules base rates of 7.5e-4 and 1.5e-3 differ by at
# most 0.013 nats at (2 layers, width 32), (6, 64) and (2, 160). Embeddings and heads do not decay: rare tokens would fade.
RULES: dict[str, RateRule] = {
    "hidden": RateRule(factor=1.0, width_power=1.0, depth_power=0.5, decays=True),
    "tied": RateRule(factor=10.0, width_power=1.0),
    "head": RateRule(factor=5.0, width_power=1.0),
    "embedding": RateRule(factor=30.0),
    "position": RateRule(factor=1.0),
    "gain": RateRule(factor=1.0),
}


# Muon's rate is of a matrix whose singular values are all about sqrt(max(1, rows / columns)). Were features moved by all of
# them alike, one rate would serve every width (arXiv 2310.17813); by as much root mean square as Adam moves a weight, it would
# fall as the root of the width (arXiv 2502.16982, where the scale is 0.2 sqrt(max(rows, columns)) and ours falls as the width).
# Measured as above (213 K tokens and a cooldown of a fifth, swiglu), the rest at a base rate of 1.5e-3; losses by rate of the
# hidden matrices, and AdamW's at its best base rate:
#     momentum .95                   .0038   .0075   .015    .030    .060    AdamW
#     2 layers, width 128            4.708   4.521   4.501   4.675   4.978   4.592
#     2 layers, width 32             4.972   4.865   4.767   4.790   4.938   4.857
#     6 layers, width 64  (/ sqrt 3) 4.845   4.739   4.590   4.585   4.656   4.720
#     momentum .9   2 x 128: .0105 4.442, .018 4.456, .024 4.494; 2 x 32: .012 4.765, .024 4.740; 6 x 64: .012 4.542, .024 4.524
#     2 x 256, 102 K tokens: .0085 5.006, .017 5.032
# So the root of the width, and nothing for the depth. Queries, keys and values, and gate and value, made orthogonal as the one
# matrix that they are stored in are worse: at .0105 by .14 and .13 nats (2 x 128, two seeds), and by .11 and .12 (6 x 64).
MUON_RULE = RateRule(factor=8.0, width_power=0.5, decays=True)


# One rate and one decay for every weight, whatever its role and shape: what `rate_scaling: none` asks for.
PLAIN = RateRule(factor=1.0, decays=True)


def resolve_settings(spec: ArchSpec, settings: TrainingSettings) -> TrainingSettings:
    """`settings` with the rate, decay and batch that `spec` names in their place."""
    named = {name: getattr(spec, name) for name in ("learning_rate", "weight_decay", "batch_tokens")}
    return dataclasses.replace(settings, **{name: value for name, value in named.items() if value is not None})


def role(name: str, weight: Tensor, spec: ArchSpec) -> str:
    """Which rule of `RULES` the weight `name` follows."""
    if weight.ndim < 2:
        return "gain"
    if name.startswith("blocks."):
        return "hidden"
    if name.startswith("unembedding."):
        return "head"
    if name.startswith("position_embedding."):
        return "position"
    return "tied" if spec.tied_embeddings else "embedding"


def hidden_rate(spec: ArchSpec, settings: TrainingSettings) -> float:
    """AdamW's rate for hidden matrices of that shape, and for low-rank adapters beside them."""
    return (RULES["hidden"] if settings.rate_scaling == "shape" else PLAIN).rate(settings.learning_rate, spec)


def make_optimizer(model: Transformer, spec: ArchSpec, settings: TrainingSettings) -> FlatOptimizer:
    """The settings' optimizer with a group for each role, each with its `peak_rate`; `set_rate` follows a schedule.

    Flattens the model's weights. By `settings.rate_scaling` the roles have rates and decays by `RULES`, or all the same as
    plain AdamW has them.
    """
    settings = resolve_settings(spec, settings)
    role_of = {name: role(name, weight, spec) for name, weight in model.named_parameters()}
    flat = flatten(model, role_of, tuple(RULES))
    by_muon = settings.optimizer == "muon"
    rules = RULES | ({"hidden": MUON_RULE} if by_muon else {}) if settings.rate_scaling == "shape" else {}
    gradients = dict(flat.segments(flat.gradients))
    groups = []
    for kind, weights in flat.segments(flat.weights):
        weights.grad = gradients[kind]
        rule = rules.get(kind, PLAIN)
        peak = rule.rate(settings.learning_rate, spec)
        # Both shrink by rate x decay: that product, the time scale of forgetting, is kept the same at all widths.
        decay = settings.weight_decay * settings.learning_rate / peak if rule.decays else 0.0
        groups.append({"params": [weights], "role": kind, "lr": peak, "peak_rate": peak, "weight_decay": decay})
    muon = None
    if by_muon:
        hidden = {name: place for name, place in flat.places.items() if role_of[name] == "hidden"}
        dtype = autocast_dtype(settings.precision, flat.weights.device)
        muon = HiddenMatrices(hidden, flat.roles["hidden"][0], spec, dtype)
    return FlatOptimizer(
        flat,
        groups,
        (settings.beta1, settings.beta2),
        muon=muon,
        momentum=settings.muon_momentum,
        slow=(settings.grokfast, settings.grokfast_alpha) if settings.grokfast else None,
    )


def set_rate(optimizer: torch.optim.Optimizer, multiplier: float) -> None:
    """Set every group to `multiplier` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_rate"] * multiplier


def moments(optimizer: FlatOptimizer) -> Iterator[tuple[str, Tensor]]:
    """The optimizer's state by name, as it is and not copied: "<weight>.exp_avg" and the like."""
    slices = _slices(optimizer)
    for name, place in optimizer.flat.places.items():
        weights, start = next((w, s) for w, s, end in slices if s <= place.start < end)
        for key, value in optimizer.state[weights].items():
            own = value if value.ndim == 0 else value[place.start - start : place.end - start].view(place.shape)
            yield f"{name}.{key}", own


@torch.no_grad()
def set_moments(optimizer: FlatOptimizer, values: dict[str, Tensor]) -> None:
    """The inverse of `moments`; `values` are copied. Weights without values have moments of zero, as before the first step."""
    for weights, start, end in _slices(optimizer):
        state = optimizer.state[weights]
        for value in state.values():
            value.zero_()
        for name, place in optimizer.flat.places.items():
            if not start <= place.start < end:
                continue
            for key, value in state.items():
                if f"{name}.{key}" in values:
                    own = value if value.ndim == 0 else value[place.start - start : place.end - start].view(place.shape)
                    own.copy_(values[f"{name}.{key}"])


def _slices(optimizer: FlatOptimizer) -> list[tuple[Tensor, int, int]]:
    """The weights of each group, and where they begin and end."""
    return [(group["params"][0], *optimizer.flat.roles[group["role"]]) for group in optimizer.param_groups]
