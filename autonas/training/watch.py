"""What a training's curve says against it: a watch over every step's loss and gradient norm, read when the training has ended.

It ends nothing (guards.py does); it says what should not be believed. Costs some microseconds a step, and knows a step by its
tokens, loss and gradient norm alone. Its whole state goes to JSON, so that a resumed training finds what the whole one would.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autonas.training.trend import Curve, can_judge, find_rise
from autonas.trial import Finding

NORMS = 128  # steps of which the running median is taken
_FEWEST_NORMS = 32
ABOVE_MEDIAN = 10.0
MEAN_STEPS = 64  # horizon of the running mean that is held against the floor
COPYING_NATS = 0.1  # above the floor, where no causal model of text comes before it has met the text
BELOW = 1e-3  # of the floor: rounding
STILL_STEPS = 32
STILL_NATS = 1e-9
_MOST_BINS = 1024

Lowest = tuple[float, int]  # a running mean of the loss, and the tokens where it was


class Watch:
    """Of one training, whose epochs have `epoch_tokens`; `floor` is the least loss that its label smoothing allows.

    At `boundaries` (tokens) other texts begin to be shown: a loss may be higher behind one than before it.
    """

    def __init__(
        self, *, step_tokens: int, warmup_tokens: int, epoch_tokens: int, floor: float, boundaries: Sequence[int] = ()
    ) -> None:
        self._step_tokens, self._warmup_tokens, self._epoch_tokens = step_tokens, warmup_tokens, epoch_tokens
        self._floor = floor
        self._boundaries = tuple(boundaries)
        self._first: int | None = None  # the tokens at which the first step began
        self._norms: deque[float] = deque()
        self._ordered: list[float] = []
        self._spikes: dict[str, Any] = {"count": 0, "first": 0, "last": 0, "factor": 0.0, "at": 0, "norm": 0.0}
        self._steps, self._sum = 0, 0.0  # of the running mean
        self._lowest: Lowest | None = None
        self._lowest_of_first: Lowest | None = None  # of the first epoch
        self._still = (0.0, 0, 0)  # the loss that stands still, for how many steps, since which tokens
        self._stillest = (0.0, 0, 0)
        # Sums of the losses of so many steps each, in order; when there are too many, two become one.
        self._bin_steps = 1
        self._bins: list[float] = []
        self._partial, self._partial_steps = 0.0, 0

    def see(self, tokens: int, loss: float, gradient_norm: float) -> None:
        """The step that ended at `tokens`; both values are finite."""
        if self._first is None:
            self._first = tokens - self._step_tokens
        self._see_norm(tokens, gradient_norm)
        decay = 1.0 - 1.0 / MEAN_STEPS
        self._steps += 1
        self._sum = decay * self._sum + (1.0 - decay) * loss
        if self._steps >= MEAN_STEPS:
            mean = self._sum / (1.0 - decay**self._steps)
            if self._lowest is None or mean < self._lowest[0]:
                self._lowest = (mean, tokens)
                if tokens <= self._first + self._epoch_tokens:
                    self._lowest_of_first = self._lowest
        value, steps, since = self._still
        self._still = (value, steps + 1, since) if abs(loss - value) < STILL_NATS and steps else (loss, 1, tokens)
        if self._still[1] > self._stillest[1]:
            self._stillest = self._still
        self._bin(loss)

    def _see_norm(self, tokens: int, norm: float) -> None:
        if len(self._norms) >= _FEWEST_NORMS and tokens > self._warmup_tokens:
            median = self._ordered[len(self._ordered) // 2]
            if norm > ABOVE_MEDIAN * median > 0.0:
                found, factor = self._spikes, norm / median
                found["count"] += 1
                found["first"], found["last"] = found["first"] or tokens, tokens
                if factor > found["factor"]:
                    found.update(factor=factor, at=tokens, norm=norm)
        if len(self._norms) == NORMS:
            del self._ordered[bisect_left(self._ordered, self._norms.popleft())]
        self._norms.append(norm)
        insort(self._ordered, norm)

    def _bin(self, loss: float) -> None:
        self._partial += loss
        self._partial_steps += 1
        if self._partial_steps < self._bin_steps:
            return
        self._bins.append(self._partial)
        self._partial, self._partial_steps = 0.0, 0
        if len(self._bins) == _MOST_BINS:
            self._bins = [one + other for one, other in zip(self._bins[::2], self._bins[1::2], strict=True)]
            self._bin_steps *= 2

    def findings(self, stable_end: int | None = None) -> tuple[Finding, ...]:
        """What was found by now. From `stable_end` on the training cools down, which would hide a rise before it."""
        found = (self._norm_finding(), self._rise_finding(stable_end), self._still_finding())
        alarms = (Finding(check=check, severity="alarm", text=text) for check, text in filter(None, found))
        floor = self._floor_finding()
        return (*alarms, *(() if floor is None else (floor,)))

    def looked(self, stable_end: int | None = None) -> str:
        """Which steps it saw and what it could judge by them, for an outcome's checks: a training may be too short for a check.

        "steps 1 to 1,350: constant loss, rising loss, gradient norm": the names of its checks, with blanks.
        """
        steps, first = self._steps, self._first or 0
        judged = {
            "constant loss": steps >= STILL_STEPS,
            "rising loss": any(can_judge(curve, end) for curve, end in self._curves(stable_end)),
            "gradient norm": steps > _FEWEST_NORMS and first + steps * self._step_tokens > self._warmup_tokens,
            "smoothing floor": bool(self._floor) and steps >= MEAN_STEPS,
        }
        begun = first // self._step_tokens
        names = ", ".join(name for name, could in judged.items() if could)
        return f"steps {begun + 1:,} to {begun + steps:,}: {names or 'too few to judge anything by'}"

    def _norm_finding(self) -> tuple[str, str] | None:
        found = self._spikes
        if not found["count"]:
            return None
        times = "once" if found["count"] == 1 else f"{found['count']:,} times"
        place = f"at {found['first']:,} tokens"
        if found["count"] > 1:
            place = f"between {found['first']:,} and {found['last']:,} tokens"
        return "gradient_norm", (
            f"the gradient norm was above {ABOVE_MEDIAN:g} times its running median {times}, {place}; "
            f"at the highest it was {found['factor']:.3g} times, a norm of {found['norm']:.3g}, at {found['at']:,} tokens"
        )

    def _rise_finding(self, stable_end: int | None) -> tuple[str, str] | None:
        rises = (find_rise(curve, end) for curve, end in self._curves(stable_end))
        rise = next(filter(None, rises), None)
        return None if rise is None else ("rising_loss", rise)

    def _curves(self, stable_end: int | None) -> Iterator[tuple[Curve, int | None]]:
        """What a rise is looked for in, with the end of what is stable in it: the whole, or each stage of a curriculum."""
        means = [total / self._bin_steps for total in self._bins]
        each, first = self._bin_steps * self._step_tokens, self._first or 0
        if not self._boundaries:
            whole = Curve(
                first=first, bin_tokens=each, means=means, warmup_tokens=self._warmup_tokens, epoch_tokens=self._epoch_tokens
            )
            yield whole, stable_end
            return
        # Each stage is judged as an epoch is that stands alone: by its second half.
        last = first + each * len(means)
        for begins, ends in zip((0, *self._boundaries), (*self._boundaries, max(last, self._boundaries[-1])), strict=True):
            inside = [number for number in range(len(means)) if begins <= first + each * number <= ends - each]
            if inside and ends > begins:
                stage = Curve(
                    first=first + each * inside[0] - begins,
                    bin_tokens=each,
                    means=[means[number] for number in inside],
                    warmup_tokens=max(self._warmup_tokens - begins, 0),
                    epoch_tokens=ends - begins,
                    offset=begins,
                )
                yield stage, None if stable_end is None else max(stable_end - begins, 0)

    def _floor_finding(self) -> Finding | None:
        """Near the floor is an alarm in the first epoch. Later the loss may come there by learning by heart: a note."""
        if not self._floor or self._lowest is None:
            return None
        floor = f"the {self._floor:.4f} that label smoothing leaves to a model that knows every target"
        mean = self._lowest[0]
        if mean < self._floor * (1.0 - BELOW):
            text = f"{_says(self._lowest)}, below {floor}: that is impossible, the loss is not what it is said to be"
            return Finding(check="smoothing_floor", severity="alarm", text=text)
        first = self._lowest_of_first
        if first is not None and first[0] < self._floor + COPYING_NATS:
            text = f"{_says(first)}, within {COPYING_NATS:g} of {floor}: as good as copying its targets"
            return Finding(check="smoothing_floor", severity="alarm", text=text)
        if mean < self._floor + COPYING_NATS:
            text = (
                f"{_says(self._lowest)}, within {COPYING_NATS:g} of {floor}: it has learnt by heart what came again and again, "
                "or copies its targets; the gap to validation loss tells which"
            )
            return Finding(check="smoothing_floor", severity="note", text=text)
        return None

    def _still_finding(self) -> tuple[str, str] | None:
        value, steps, since = self._stillest
        if steps < STILL_STEPS:
            return None
        return "constant_loss", (
            f"the training loss was {value:.6g} nats in {steps:,} steps in a row, from {since:,} tokens on: "
            "no loss of different batches is the same"
        )

    def state(self) -> dict[str, Any]:
        return {
            "first": self._first,
            "norms": list(self._norms),
            "spikes": dict(self._spikes),
            "mean": [self._steps, self._sum],
            "lowest": self._lowest,
            "lowest_of_first": self._lowest_of_first,
            "still": self._still,
            "stillest": self._stillest,
            "bin_steps": self._bin_steps,
            "bins": list(self._bins),
            "partial": [self._partial, self._partial_steps],
        }

    @property
    def spikes(self) -> dict[str, Any]:
        """Gradient norms out of bounds so far."""
        return dict(self._spikes)

    @spikes.setter
    def spikes(self, found: Mapping[str, Any]) -> None:
        self._spikes = dict(found)

    def restore(self, state: Mapping[str, Any]) -> None:
        self._first = state["first"]
        self._norms = deque(state["norms"])
        self._ordered = sorted(self._norms)
        self._spikes = dict(state["spikes"])
        self._steps, self._sum = state["mean"]
        self._lowest, self._lowest_of_first = (_two(state.get(name)) for name in ("lowest", "lowest_of_first"))
        self._still, self._stillest = (_three(state[name]) for name in ("still", "stillest"))
        self._bin_steps, self._bins = state["bin_steps"], list(state["bins"])
        self._partial, self._partial_steps = state["partial"]


def _says(lowest: Lowest) -> str:
    return f"the mean training loss was {lowest[0]:.4f} nats at {lowest[1]:,} tokens"


def _two(values: Any) -> Lowest | None:
    return None if values is None else (values[0], values[1])


def _three(values: Any) -> tuple[float, int, int]:
    value, steps, since = values
    return value, steps, since
