"""Whether a space holds anything at all, and if not, which of its rules and limits is to blame.

Cheap first: one legal point found near the small end settles it. Only a space that seems empty is enumerated, or drawn from
when it is too large for that, to name the fewest conditions that cannot hold together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autonas.errors import InfeasibleArch
from autonas.space import nearest
from autonas.space.domains import Choice, Domain, Fixed, Int, Value, product_size
from autonas.space.limits import Limits
from autonas.space.rules import Rule
from autonas.space.space import Space

# About four seconds at most, and only for a space in which nothing legal was found.
MOST_CHECKED = 500_000  # points times rules
MOST_ENUMERATED = 20_000  # points, where one rule or one divisor is looked at
NUM_DRAWS = 20_000
# The dimensions on which the core's own rules depend; see ArchSpec.
CORE_NAMES = ("width", "heads", "kv_heads", "ffn_multiplier", "position")

Values = dict[str, Value]


def dead_head_count(space: Space) -> tuple[str, Value, str] | None:
    """A head count written in the space that can never be used: its dimension, the value, and what it fails to divide."""
    for name, divided in (("heads", "width"), ("kv_heads", "heads")):
        domain = space.domains.get(name)
        options = domain.options if isinstance(domain, Choice) else (domain.value,) if isinstance(domain, Fixed) else ()
        for option in options:
            if isinstance(option, int) and not _divides_any(option, space.domains[divided]):
                return name, option, divided
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptiness:
    """Why a space holds nothing: the place in the file that is to blame, and the complaint, which goes on from it."""

    place: str
    message: str


def find_emptiness(space: Space) -> Emptiness | None:
    """Why nothing in `space` is legal, naming the conditions and a remedy; None when something is."""
    start = space.nearest_within_rules({}, MOST_CHECKED)
    if start is not None and space.nearest_legal(start) is not None:
        return None
    for index, rule in enumerate(space.rules):
        if not _ever(space, rule):
            widen = ", ".join(sorted(rule.names))
            change = "leave this format out" if rule.export else "change the rule"
            message = f"`{rule.text}` is impossible: nothing in the space meets it; {change} or widen {widen}"
            return Emptiness(place="export" if rule.export else f"rules[{index}]", message=message)
    unlimited = replace(space, limits=Limits())
    if start is None:
        start, broken, exact = _search(unlimited)
        if start is None:
            return Emptiness(place="space", message=_rules_complaint(broken, exact))
    return _limits_emptiness(space, unlimited, start)


def _divides_any(count: int, domain: Domain) -> bool:
    if isinstance(domain, Int) and domain.size > MOST_ENUMERATED:
        return True
    values = domain.values(MOST_ENUMERATED)
    return count >= 1 and any(isinstance(value, int) and value % count == 0 for value in values)


def _ever(space: Space, rule: Rule) -> bool:
    """Whether some values of its names meet `rule` on its own; True when there are too many to be sure."""
    names = rule.names | ({"heads"} if "kv_heads" in rule.names else set())
    searched = [name for name in space.searched if name in names]
    size = product_size([space.domains[name] for name in searched])
    if size is None or size > MOST_ENUMERATED:
        return True
    constants: Values = {**space.held, "vocab_size": space.vocab_size, "context_length": space.context_length}
    for combination in itertools.product(*(space.domains[name].values(size) for name in searched)):
        values = constants | dict(zip(searched, combination, strict=True))
        if values.get("kv_heads") == "heads" and "heads" in values:  # absent where the rule speaks of neither
            values["kv_heads"] = values["heads"]
        if rule.holds(values):
            return True
    return False


def _search(space: Space) -> tuple[Values | None, frozenset[str], bool]:
    """A point within all rules; or the fewest of them that never hold together, and whether that is certain."""
    names = [name for name in space.searched if name in CORE_NAMES or any(name in rule.names for rule in space.rules)]
    size = product_size([space.domains[name] for name in names])
    exact = size is not None and size * (len(space.rules) + 1) <= MOST_CHECKED
    broken_sets: set[frozenset[str]] = set()
    for params in _every(space, names) if exact else _draws(space):
        broken = frozenset(space.broken(params))
        if not broken:
            return params, frozenset(), exact
        broken_sets.add(broken)
    blamed = frozenset[str]().union(*broken_sets)
    for text in sorted(blamed):
        # Drop what is not needed: without it there is still no point that breaks none of the rest.
        if all(broken & (blamed - {text}) for broken in broken_sets):
            blamed -= {text}
    return None, blamed, exact


def _every(space: Space, names: Sequence[str]) -> Iterator[Values]:
    """All combinations of `names`; the other dimensions, on which no rule depends, stay at their first value."""
    first = {name: space.domains[name].values(2)[0] for name in space.searched}
    for combination in itertools.product(*(space.domains[name].values(MOST_CHECKED) for name in names)):
        yield first | dict(zip(names, combination, strict=True))


def _draws(space: Space) -> Iterator[Values]:
    rng = np.random.default_rng(0)
    return (space.draw(rng) for _ in range(NUM_DRAWS))


def _rules_complaint(broken: frozenset[str], exact: bool) -> str:
    how = "no architecture" if exact else f"none of {NUM_DRAWS:,} architectures drawn"
    named = " and ".join(f"`{text}`" for text in sorted(broken))
    return f"is empty: {how} meets {named}{' together' if len(broken) > 1 else ''}; relax one of them or widen the space"


def _limits_emptiness(space: Space, unlimited: Space, start: Values) -> Emptiness:
    for name in space.limits.arithmetic:
        least, most = space.limits.bounds(name)
        if most is not None and (reached := _extreme(unlimited, start, name, sign=1)) > most:
            message = f"is {most:,}, but even the smallest architecture has {name} {reached:,}; raise it or allow smaller ones"
            return Emptiness(place=f"limits.{name}.max", message=message)
        if least is not None and (reached := _extreme(unlimited, start, name, sign=-1)) < least:
            message = f"is {least:,}, but even the largest architecture has {name} {reached:,}; lower it or allow larger ones"
            return Emptiness(place=f"limits.{name}.min", message=message)
    named = " and ".join(f"limits.{name}" for name in space.limits.arithmetic)
    return Emptiness(place="limits", message=f"no architecture was found within {named}; widen them, or the space")


def _extreme(space: Space, start: Values, name: str, sign: int) -> float:
    def cost(params: Values) -> float | None:
        try:
            return sign * space.price(space.decode(params))[name]
        except InfeasibleArch:
            return None

    point = nearest.smallest(space.searched_domains, start, space.deciding, cost)
    return space.price(space.decode(point))[name]
