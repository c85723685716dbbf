"""One architecture with its regularisation, as a frozen record. Does not know how it is built, searched or priced."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autonas.errors import InfeasibleArch

NORMS = ("layernorm", "rmsnorm")
ACTIVATIONS = ("gelu", "silu", "geglu", "swiglu")
GATED_ACTIVATIONS = ("geglu", "swiglu")
POSITIONS = ("rope", "alibi", "learned")

# The worth of a structural dimension shows in a short trial; that of a horizon-bound one only near the end of a long run over
# repeated data (dropout 0.2 loses by 0.19 nats after one epoch and wins by 0.04 after fourteen).
STRUCTURAL = ("layers", "width", "heads", "kv_heads", "ffn_multiplier", "norm", "activation", "position", "tied_embeddings")
HORIZON_BOUND = ("attention_dropout", "residual_dropout", "label_smoothing", "learning_rate", "weight_decay", "batch_tokens")
DIMENSIONS = STRUCTURAL + HORIZON_BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchSpec:
    """A decoder-only pre-norm transformer, named by its content.

    `learning_rate` (the base rate, at width 128), `weight_decay` and `batch_tokens` are None unless the space names them: the
    study's own are used then. The feed-forward's inner width is `int(width * ffn_multiplier)`.

    Raises:
        InfeasibleArch: a value is out of its range, or two of them do not go together; `rule` names what is broken.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_multiplier: float = 4.0
    norm: str = "rmsnorm"
    activation: str = "gelu"
    position: str = "rope"
    tied_embeddings: bool = True
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    label_smoothing: float = 0.0
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_tokens: int | None = None
    vocab_size: int = 8000
    context_length: int = 256

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "kv_heads", "vocab_size", "context_length"):
            self._check_int(name, getattr(self, name), least=1)
        if self.batch_tokens is not None:
            self._check_int("batch_tokens", self.batch_tokens, least=1)
        self._check_float("ffn_multiplier", least=0.0, below=math.inf)
        for name in ("attention_dropout", "residual_dropout", "label_smoothing"):
            self._check_float(name, least=0.0, below=1.0)
        for name in ("learning_rate", "weight_decay"):
            if getattr(self, name) is not None:
                self._check_float(name, least=0.0, below=math.inf)
        if self.learning_rate == 0.0:
            raise InfeasibleArch("learning_rate > 0", "learning_rate is 0.0, which trains nothing; give a positive rate")
        for name, allowed in (("norm", NORMS), ("activation", ACTIVATIONS), ("position", POSITIONS)):
            if getattr(self, name) not in allowed:
                raise InfeasibleArch(name, f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        if not isinstance(self.tied_embeddings, bool):
            raise InfeasibleArch("tied_embeddings", f"tied_embeddings is {self.tied_embeddings!r}; write true or false")
        self._check_shape()

    def _check_shape(self) -> None:
        if self.width % self.heads:
            raise InfeasibleArch("width % heads == 0", f"width {self.width} is not a multiple of {self.heads} heads")
        if self.heads % self.kv_heads:
            raise InfeasibleArch("heads % kv_heads == 0", f"{self.heads} heads cannot share {self.kv_heads} kv_heads equally")
        if self.position == "rope" and self.head_width % 2:
            raise InfeasibleArch(
                "rope needs an even head width", f"rope rotates pairs, but width / heads = {self.head_width} is odd"
            )
        if self.ffn_width < 1:
            raise InfeasibleArch("ffn_multiplier", f"int({self.width} * {self.ffn_multiplier}) leaves no feed-forward width")

    @staticmethod
    def _check_int(name: str, value: object, least: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InfeasibleArch(name, f"{name} is {value!r}; it must be a whole number of at least {least}")

    def _check_float(self, name: str, least: float, below: float) -> None:
        value = getattr(self, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value < below:
            raise InfeasibleArch(name, f"{name} is {value!r}; it must be a number with {least:g} <= {name} < {below:g}")
        # 4 and 4.0 are the same architecture and must have the same fingerprint.
        object.__setattr__(self, name, float(value))

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def ffn_width(self) -> int:
        return int(self.width * self.ffn_multiplier)

    @property
    def gated(self) -> bool:
        return self.activation in GATED_ACTIVATIONS

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of SHA-256 over the canonical JSON: the name of this architecture everywhere."""
        return _digest(self.to_dict())

    @property
    def inference_fingerprint(self) -> str:
        """As `fingerprint`, without the dimensions that do not touch inference (dropout, smoothing, optimisation)."""
        return _digest({name: value for name, value in self.to_dict().items() if name not in HORIZON_BOUND})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping with the space file's names; optimisation dimensions that are None are left out."""
        # dataclasses.asdict copies deeply, which takes twenty times as long.
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArchSpec:
        """The inverse of `to_dict`; `kv_heads` may be left out and is `heads` then.

        Raises:
            InfeasibleArch: an unknown or a missing name, or a value that cannot be.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InfeasibleArch("unknown name", f"a spec has no {unknown[0]!r}; its names are {', '.join(sorted(known))}")
        missing = [name for name in ("layers", "width", "heads") if name not in values]
        if missing:
            raise InfeasibleArch("missing name", f"the spec lacks {missing[0]!r}")
        return cls(**{"kv_heads": values["heads"], **values})


_FIELDS = tuple(field.name for field in dataclasses.fields(ArchSpec))


def spec_text(spec: ArchSpec) -> str:
    """An architecture in one line: 4 × 128, 4/2 heads, ffn 4 swiglu, rmsnorm, rope, tied."""
    heads = (
        f"{spec.heads}/{spec.kv_heads} heads" if spec.kv_heads != spec.heads else f"{spec.heads} head{'s' * (spec.heads > 1)}"
    )
    parts = [f"{spec.layers} × {spec.width}", heads, f"ffn {spec.ffn_multiplier:g} {spec.activation}", spec.norm, spec.position]
    parts.append("tied" if spec.tied_embeddings else "untied")
    dropouts = (spec.attention_dropout, spec.residual_dropout)
    if any(dropouts):
        parts.append(f"dropout {dropouts[0]:.2g}/{dropouts[1]:.2g}")
    if spec.label_smoothing:
        parts.append(f"smoothing {spec.label_smoothing:.2g}")
    for name, value in (("rate", spec.learning_rate), ("decay", spec.weight_decay), ("batch", spec.batch_tokens)):
        if value is not None:
            parts.append(f"{name} {value:.3g}")
    return ", ".join(parts)


def _digest(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
