"""What one dimension of a space may be: a range of whole numbers, a range of numbers, a few options, or one fixed value.

A domain knows nothing of the others; what goes together is the business of rules.py and of `ArchSpec`. Distances are
normalised to 0…1 per dimension, which is what "nearest" means throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

Value = bool | int | float | str

_GRID_POINTS = 9  # of a continuous range, where a few representative values are wanted


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int:
    """Whole numbers from `low` to `high`, both included, `step` apart; `log` draws small ones as often as large ones."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        assert self.low <= self.high and self.step >= 1 and (self.high - self.low) % self.step == 0, self
        assert not self.log or (self.low >= 1 and self.step == 1), self

    @property
    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    def contains(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def convert(self, value: Value) -> int:
        return int(value)

    def values(self, most: int) -> tuple[int, ...]:
        """All values where there are at most `most`; else that many spread over the range, ends included."""
        if self.size <= most:
            return tuple(range(self.low, self.high + 1, self.step))
        spread = sorted({round(index * (self.size - 1) / (most - 1)) for index in range(most)})
        return tuple(self.low + self.step * index for index in spread)

    def neighbours(self, value: Value) -> tuple[int, ...]:
        """The values next to `value` in the range; the nearer end when it lies outside."""
        if not self.contains(value):
            return (self.clip(value),)
        number = int(value)
        return tuple(n for n in (number - self.step, number + self.step) if self.low <= n <= self.high)

    def clip(self, value: Value) -> int:
        """The nearest value of the range; its low end when `value` is no number."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return self.low
        steps = round((min(max(value, self.low), self.high) - self.low) / self.step)
        return self.low + self.step * steps

    def outwards(self, start: Value) -> Iterator[int]:
        """Every value, nearest to `start` first (by their difference; the smaller of two equally near)."""
        centre = self.clip(start)
        yield centre
        for far in range(self.step, max(centre - self.low, self.high - centre) + 1, self.step):
            yield from (value for value in (centre - far, centre + far) if self.low <= value <= self.high)

    def distance(self, first: Value, second: Value) -> float:
        return _range_distance(self.low, self.high, self.log, first, second)

    def draw(self, rng: Generator) -> int:
        if not self.log:
            return self.low + self.step * int(rng.integers(self.size))
        drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(max(round(drawn), self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Float:
    """Numbers from `low` to `high`, both included; `log` draws each order of magnitude equally often."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        assert math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high, self
        assert not self.log or self.low > 0, self

    @property
    def size(self) -> None:
        return None

    def contains(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def convert(self, value: Value) -> float:
        return float(value)

    def values(self, most: int) -> tuple[float, ...]:
        """Values spread over the range, ends included: at most `most`, and no more than a few."""
        num_points = max(2, min(most, _GRID_POINTS))
        return tuple(self._at(index / (num_points - 1)) for index in range(num_points))

    def neighbours(self, value: Value) -> tuple[float, ...]:
        """The next grid values below and above `value`."""
        if not self.contains(value):
            return (self.clip(value),)
        grid = self.values(_GRID_POINTS)
        below = [point for point in grid if point < float(value)]
        above = [point for point in grid if point > float(value)]
        return (*below[-1:], *above[:1])

    def clip(self, value: Value) -> float:
        """The nearest value of the range; its low end when `value` is no number."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return self.low
        return min(max(float(value), self.low), self.high)

    def outwards(self, start: Value) -> Iterator[float]:
        """`start` and a few values spread over the range, nearest first."""
        centre = self.clip(start)
        yield centre
        yield from sorted((v for v in self.values(_GRID_POINTS) if v != centre), key=lambda v: self.distance(centre, v))

    def distance(self, first: Value, second: Value) -> float:
        return _range_distance(self.low, self.high, self.log, first, second)

    def draw(self, rng: Generator) -> float:
        return self._at(float(rng.uniform()))

    def _at(self, share: float) -> float:
        if share in (0.0, 1.0):
            return self.high if share else self.low
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A few options: numbers, names, or true and false. In `kv_heads`, "heads" stands for as many as `heads`."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        assert self.options and all(self.options.index(o) == i for i, o in enumerate(self.options)), self

    @property
    def size(self) -> int:
        return len(self.options)

    def contains(self, value: object) -> bool:
        return self._option(value) is not None

    def convert(self, value: Value) -> Value:
        option = self._option(value)
        assert option is not None, value
        return option

    def _option(self, value: object) -> Value | None:
        """The option that a value is; None for none of them."""
        if value in self.options:
            first = self.options[self.options.index(value)]
            if type(first) is type(value):  # nearly always
                return first
        return next((option for option in self.options if _same(option, value)), None)

    def values(self, most: int) -> tuple[Value, ...]:
        """All options, however many: the user wrote each of them."""
        del most
        return self.options

    def neighbours(self, value: Value) -> tuple[Value, ...]:
        return tuple(option for option in self.options if not _same(option, value))

    def clip(self, value: Value) -> Value:
        """The nearest option; the first where nothing is near."""
        return min(self.options, key=lambda option: self.distance(option, value))

    def outwards(self, start: Value) -> Iterator[Value]:
        """Every option, nearest to `start` first."""
        yield from sorted(self.options, key=lambda option: self.distance(option, start))

    def distance(self, first: Value, second: Value) -> float:
        """0 for the same option; between numbers their share of the options' range; else 1."""
        if _same(first, second):
            return 0.0
        numbers = [float(option) for option in self.options if is_number(option)]
        if is_number(first) and is_number(second) and len(numbers) > 1:
            return min(abs(float(first) - float(second)) / (max(numbers) - min(numbers)), 1.0)
        return 1.0

    def draw(self, rng: Generator) -> Value:
        return self.options[int(rng.integers(len(self.options)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One value, the same in every architecture of the space."""

    value: Value

    @property
    def size(self) -> int:
        return 1

    def contains(self, value: object) -> bool:
        return _same(self.value, value)

    def convert(self, value: Value) -> Value:
        del value
        return self.value

    def values(self, most: int) -> tuple[Value, ...]:
        del most
        return (self.value,)

    def neighbours(self, value: Value) -> tuple[Value, ...]:
        return () if _same(self.value, value) else (self.value,)

    def clip(self, value: Value) -> Value:
        del value
        return self.value

    def outwards(self, start: Value) -> Iterator[Value]:
        del start
        yield self.value

    def distance(self, first: Value, second: Value) -> float:
        return 0.0 if _same(first, second) else 1.0

    def draw(self, rng: Generator) -> Value:
        del rng
        return self.value


Domain = Int | Float | Choice | Fixed


def product_size(domains: Sequence[Domain]) -> int | None:
    """The number of combinations; None when one of them is continuous."""
    total = 1
    for domain in domains:
        if domain.size is None:
            return None
        total *= domain.size
    return total


def _same(first: object, second: object) -> bool:
    """Equal, where 4 is 4.0 but 1 is not true."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def _range_distance(low: float, high: float, log: bool, first: Value, second: Value) -> float:
    if not (is_number(first) and is_number(second)):
        return 0.0 if _same(first, second) else 1.0
    a, b = float(first), float(second)
    if a == b or low == high:
        return 0.0 if a == b else 1.0
    if log and a > 0 and b > 0:
        return min(abs(math.log(a) - math.log(b)) / (math.log(high) - math.log(low)), 1.0)
    return min(abs(a - b) / (high - low), 1.0)
