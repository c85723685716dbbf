"""What may be built: named dimensions, rules over them, and limits on what an architecture costs.

Structural dimensions are searched; horizon-bound ones (dropout, smoothing, optimisation) are held at stated defaults unless
the space says to sample them, because a short trial cannot judge them. Knows neither samplers nor files: loading.py reads one
from YAML. Costs come from the `price` it is given, so that this package and cost.py need not know each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autonas.arch import DIMENSIONS, HORIZON_BOUND, STRUCTURAL, ArchSpec
from autonas.errors import InfeasibleArch
from autonas.space import nearest
from autonas.space.domains import Domain, Fixed, Value, product_size
from autonas.space.limits import Limits
from autonas.space.rules import Rule, parse_rule

REQUIRED = ("layers", "width", "heads")
# What a dimension is that the space leaves out. Optimisation (learning_rate, weight_decay, batch_tokens) is the study's own.
DEFAULTS: Mapping[str, Value] = {
    "kv_heads": "heads",
    "ffn_multiplier": 4.0,
    "norm": "rmsnorm",
    "activation": "gelu",
    "position": "rope",
    "tied_embeddings": True,
    "attention_dropout": 0.0,
    "residual_dropout": 0.0,
    "label_smoothing": 0.0,
}
# What `ArchSpec` enforces anyway, as rules: they guide the search for something legal.
CORE_RULES = tuple(
    map(parse_rule, ("width % heads == 0", "heads % kv_heads == 0", "position != 'rope' or width // heads % 2 == 0"))
)
_MOST_CHECKS = 5_000
_ANCHOR_DRAWS = 500


def no_price(spec: ArchSpec) -> Mapping[str, float]:
    """The price of a space without arithmetic limits."""
    del spec
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """`domains` has every dimension of the file; `defaults` the value at which a horizon-bound one is held.

    Params, as a sampler draws them, map the names in `searched` to values of their domains; other dimensions may be added and
    are then used instead of what they are held at. "heads" as a value of kv_heads stands for as many as heads.
    """

    name: str
    domains: Mapping[str, Domain]
    rules: tuple[Rule, ...] = ()
    limits: Limits = field(default_factory=Limits)
    vocab_size: int
    context_length: int
    defaults: Mapping[str, Value] = field(default_factory=dict)
    sample_horizon_bound: bool = False
    price: Callable[[ArchSpec], Mapping[str, float]] = field(default=no_price, repr=False)
    structural: tuple[str, ...] = field(init=False)  # structural dimensions that vary
    horizon_bound: tuple[str, ...] = field(init=False)  # horizon-bound dimensions that vary
    searched: tuple[str, ...] = field(init=False)  # what a sampler draws
    held: Mapping[str, Value] = field(init=False)  # every other dimension that has a value

    def __post_init__(self) -> None:
        assert set(self.domains) <= set(DIMENSIONS) and set(self.domains) >= set(REQUIRED), tuple(self.domains)
        varying = [name for name, domain in self.domains.items() if not isinstance(domain, Fixed)]
        structural = tuple(name for name in STRUCTURAL if name in varying)
        horizon_bound = tuple(name for name in HORIZON_BOUND if name in varying)
        searched = structural + (horizon_bound if self.sample_horizon_bound else ())
        fixed = {name: domain.value for name, domain in self.domains.items() if isinstance(domain, Fixed)}
        values = {**DEFAULTS, **self.defaults, **fixed}
        held = {name: values[name] for name in DIMENSIONS if name in values and name not in searched}
        for name, value in (
            ("structural", structural),
            ("horizon_bound", horizon_bound),
            ("searched", searched),
            ("held", held),
        ):
            object.__setattr__(self, name, value)

    @property
    def searched_domains(self) -> dict[str, Domain]:
        return {name: self.domains[name] for name in self.searched}

    def decode(self, params: Mapping[str, Any]) -> ArchSpec:
        """The architecture that `params` describe.

        Raises:
            InfeasibleArch: they break a rule (`rule` is its text as in the file), do not fit together (the core's own rules),
                or are missing, unknown or out of their domain (`rule` is the name).
        """
        values = self._values(params)
        for rule in self.rules:
            if not rule.holds(values):
                named = ", ".join(f"{name} {values[name]}" for name in sorted(rule.names))
                raise InfeasibleArch(rule.text, f"{named}: the rule `{rule.text}` does not hold")
        return ArchSpec(**values)

    def screen(self, spec: ArchSpec) -> None:
        """Compare what arithmetic knows of `spec` with the limits.

        Raises:
            InfeasibleArch: it is beyond one; `rule` is the limit's place in the space file, such as limits.params.max.
        """
        if self.limits.arithmetic:
            self.limits.screen(self.price(spec))

    def broken(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """All the rules that `params` break, in the file's order, and then the core's own one that they break first."""
        values = self._values(params)
        texts = [rule.text for rule in self.rules if not rule.holds(values)]
        try:
            ArchSpec(**values)
        except InfeasibleArch as error:
            texts.append(error.rule)
        return tuple(dict.fromkeys(texts))

    def legal(self, params: Mapping[str, Any]) -> bool:
        """Whether `params` describe an architecture within every rule and every arithmetic limit."""
        try:
            self.screen(self.decode(params))
        except InfeasibleArch:
            return False
        return True

    def size(self) -> int | None:
        """The number of distinct params, legal or not; None when a searched dimension is continuous."""
        return product_size([self.domains[name] for name in self.searched])

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """Params drawn at random from the domains, legal or not."""
        return {name: self.domains[name].draw(rng) for name in self.searched}

    def every(self) -> Iterator[dict[str, Value]]:
        """All params of a space without continuous dimensions, in a fixed order."""
        size = self.size()
        assert size is not None, "a continuous space cannot be enumerated"
        values = [domain.values(size) for domain in self.searched_domains.values()]
        return (dict(zip(self.searched, combination, strict=True)) for combination in itertools.product(*values))

    def legal_share(self, samples: int = 2_000, seed: int = 0) -> float:
        """The share of the space that is legal: counted if it has at most `samples` params, else estimated by draws."""
        size = self.size()
        if size is not None and size <= samples:
            return sum(map(self.legal, self.every())) / size
        rng = np.random.default_rng(seed)
        return sum(self.legal(self.draw(rng)) for _ in range(samples)) / samples

    def distance(self, first: Mapping[str, Value], second: Mapping[str, Value]) -> float:
        """The sum of the normalised (0…1) distances of two params over the searched dimensions."""
        return nearest.distance(self.searched_domains, first, second)

    def nearest_legal(self, params: Mapping[str, Any]) -> dict[str, Value] | None:
        """The legal params nearest to `params` (of the searched dimensions; others keep what they are held at).

        Exact in normalised distance while it is among the 600 nearest points; else a legal point that was built near `params`
        or drawn, and moved towards them for as long as it stays legal. The same for the same params. None when nothing legal
        was found.
        """
        domains, names = self.searched_domains, self.deciding
        start = {name: domain.clip(params.get(name, domain.values(2)[0])) for name, domain in domains.items()}
        found = nearest.nearest(domains, start, names, self.legal)
        if found is not None:
            return found
        anchor = self._anchor(start)
        return None if anchor is None else nearest.pull_back(domains, start, anchor, names, self.legal)

    def nearest_within_rules(self, params: Mapping[str, Any], most_checks: int) -> dict[str, Value] | None:
        """Params that meet all rules, though perhaps not the limits, built near `params` one dimension after the other."""
        domains, names = self.searched_domains, self.deciding
        start = {name: domain.clip(params.get(name, domain.values(2)[0])) for name, domain in domains.items()}
        # Which dimension should be chosen first depends on the rules: try the usual order, then the widest ranges first.
        for order in (names, tuple(sorted(names, key=lambda name: -(domains[name].size or 0)))):
            holds = self._holds(self._decidable(order))
            point = nearest.construct(domains, start, order, holds, most_checks)
            if point is not None and not self.broken(point):
                return {name: point[name] for name in self.searched}
        return None

    def extremes(self) -> tuple[ArchSpec, ArchSpec] | None:
        """The legal architectures with the fewest and with the most parameters, by local search; None when nothing is legal."""
        start = self.nearest_legal({})
        if start is None:
            return None

        def params_of(params: dict[str, Value]) -> float | None:
            return self.price(self.decode(params))["params"] if self.legal(params) else None

        def minus_params_of(params: dict[str, Value]) -> float | None:
            num_params = params_of(params)
            return None if num_params is None else -num_params

        low = nearest.smallest(self.searched_domains, start, self.deciding, params_of)
        high = nearest.smallest(self.searched_domains, start, self.deciding, minus_params_of)
        return self.decode(low), self.decode(high)

    @property
    def deciding(self) -> tuple[str, ...]:
        """The searched dimensions on which it can depend whether params are legal."""
        named = {name for rule in self.rules for name in rule.names}
        return tuple(name for name in self.searched if name in STRUCTURAL or name in named)

    def _holds(self, decidable: Mapping[str, list[Rule]]) -> Callable[[Mapping[str, Value], str], bool]:
        """Whether partial params, to which a name was just added, meet the rules that this makes decidable."""
        constants = {**self.held, "vocab_size": self.vocab_size, "context_length": self.context_length}

        def holds(partial: Mapping[str, Value], name: str) -> bool:
            if not decidable[name]:
                return True
            values = {**constants, **partial}
            if values.get("kv_heads") == "heads" and "heads" in values:
                values["kv_heads"] = values["heads"]
            return all(rule.holds(values) for rule in decidable[name])

        return holds

    def _decidable(self, names: tuple[str, ...]) -> dict[str, list[Rule]]:
        """The rules, the core's own included, that can be judged once each of `names` has its value, and not before."""
        decidable: dict[str, list[Rule]] = {name: [] for name in names}
        for rule in (*CORE_RULES, *self.rules):
            needed = rule.names | ({"heads"} if "kv_heads" in rule.names else frozenset())
            last = [name for name in names if name in needed][-1:]
            if last:
                decidable[last[0]].append(rule)
        return decidable

    def _anchor(self, start: dict[str, Value]) -> dict[str, Value] | None:
        """Some legal params: built within the rules and then brought within the limits, or drawn."""
        domains, names = self.searched_domains, self.deciding
        built = self.nearest_within_rules(start, _MOST_CHECKS) or self.nearest_within_rules({}, _MOST_CHECKS)
        if built is not None:
            mended = nearest.smallest(domains, built, names, self._excess, enough=0.0)
            if self.legal(mended):
                return mended
        rng = np.random.default_rng(0)
        draws = (start | {name: domains[name].draw(rng) for name in names} for _ in range(_ANCHOR_DRAWS))
        return next((draw for draw in draws if self.legal(draw)), None)

    def _excess(self, params: Mapping[str, Any]) -> float | None:
        """How far params are beyond the limits (see `Limits.excess`); None when they break a rule."""
        try:
            return self.limits.excess(self.price(self.decode(params)))
        except InfeasibleArch:
            return None

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Every value that `ArchSpec` takes, from params, with "heads" resolved."""
        values: dict[str, Any] = dict(self.held)
        for name, value in params.items():
            domain = self.domains.get(name)
            if domain is None:
                raise InfeasibleArch("unknown name", f"{name!r} is not a dimension of the space {self.name}")
            if not domain.contains(value):
                raise InfeasibleArch(name, f"{name} is {value!r}, which the space {self.name} does not hold")
            values[name] = domain.convert(value)
        for name in self.searched:
            if name not in params:
                raise InfeasibleArch("missing name", f"the params lack {name!r}, a dimension of the space {self.name}")
        if values["kv_heads"] == "heads":
            values["kv_heads"] = values["heads"]
        return values | {"vocab_size": self.vocab_size, "context_length": self.context_length}
