"""Small spaces that several tests search, and how to make more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.space.domains import Choice, Domain, Int
from autonas.space.limits import Limits
from autonas.space.rules import parse_rule
from autonas.space.space import Space


def price(spec: ArchSpec) -> Mapping[str, float]:
    return {
        "params": cost.count_params(spec),
        "memory": cost.inference_bytes(spec),
        "flops": cost.forward_flops_per_token(spec),
    }


def make_space(rules: tuple[str, ...] = (), limits: Limits | None = None, **domains: Any) -> Space:
    """A space of 3 x 3 x 3 x 3 x 2 points, of which some are legal; `domains` replace or join its own."""
    usual: dict[str, Domain] = {
        "layers": Int(low=1, high=3),
        "width": Choice(options=(32, 48, 64)),
        "heads": Choice(options=(2, 3, 4)),
        "kv_heads": Choice(options=(1, 2, "heads")),
        "position": Choice(options=("rope", "learned")),
    }
    return Space(
        name="small",
        domains=usual | domains,
        rules=tuple(map(parse_rule, rules)),
        limits=limits or Limits(),
        vocab_size=300,
        context_length=32,
        price=price,
    )
