"""The order in which a model sees the tokens of a curriculum: stage by stage, each of its own documents and mix of sources.

Which documents there are, and how difficult they are, comes from outside (run_data.py). As in batches.py everything follows
from the number of a window: batches, interruptions and learning-rate schedules know nothing of stages.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.curriculum import Curriculum, Stage
from autonas.data.batches import Windows, permutation
from autonas.errors import RecipeError

Tokens = NDArray[np.unsignedinteger[Any]]
Floats = NDArray[np.float64]
_SAME: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Documents of one origin, laid end to end: number i is `tokens[starts[i]:starts[i + 1]]`."""

    tokens: Tokens
    starts: NDArray[np.int64]  # (n + 1,)
    difficulty: Floats | None = None  # (n,) nats per token of a small model; None where nobody asks
    of_corpus: bool = True  # shown where a stage names no sources; others are shown where they are named

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What one stage shows of one source."""

    source: str
    documents: int
    tokens: int  # of those documents, each once
    windows: int  # that the stage shows of it
    epochs: float
    difficulty: float | None  # nats per token of the small model, over those tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What one stage shows: where it begins and ends in the run's tokens, and its streams."""

    begins: int
    ends: int
    streams: tuple[Stream, ...]

    @property
    def difficulty(self) -> float | None:
        """Mean over what is shown, nats per token of the small model."""
        known = [(one.windows, one.difficulty) for one in self.streams if one.difficulty is not None]
        if len(known) < len(self.streams):
            return None
        return sum(windows * value for windows, value in known) / sum(windows for windows, _ in known)


class StagedWindows(Windows):
    """Windows of a curriculum over a run of `total_tokens`. Behind its end the last stage goes on.

    Windows of a stage's sources are interleaved evenly: at every point of a stage each source has had its share, to one window.
    A source's own windows come in a new permutation every epoch; documents cross the ends of windows and not of sources.

    Raises:
        RecipeError: a stage has no documents, or fewer than `max_epochs` of them allow.
    """

    def __init__(
        self, sources: Mapping[str, Source], curriculum: Curriculum, context: int, seed: int, total_tokens: int
    ) -> None:
        total = max(-(-total_tokens // context), len(curriculum.stages))
        edges = stage_edges([stage.share for stage in curriculum.stages], total)
        arrays: list[Tokens] = []
        starts: list[NDArray[np.int64]] = []
        plans: list[StagePlan] = []
        offset = 0
        for number, (stage, first, last) in enumerate(zip(curriculum.stages, edges[:-1], edges[1:], strict=True), 1):
            chosen = choose(sources, stage, number, context)
            counts = quotas(chosen, stage, last - first, number, context)
            order = interleaved(counts)
            found = np.zeros(last - first, dtype=np.int64)
            streams = []
            for index, (name, part) in enumerate(chosen.items()):
                whole = (len(part.tokens) - 1) // context
                found[order == index] = offset + context * _endless(whole, counts[index], (seed, number, index))
                arrays.append(part.tokens)
                offset += len(part.tokens)
                streams.append(_stream(name, part, counts[index], whole))
            starts.append(found)
            plans.append(StagePlan(begins=first * context, ends=last * context, streams=tuple(streams)))
        super().__init__(np.concatenate(arrays), context, seed)
        self._starts = np.concatenate(starts)
        self._last = len(starts[-1])
        self.plans = tuple(plans)
        self.content = hashlib.sha256(self._tokens.tobytes()).hexdigest()[:16]
        self.name = f"{self.content} {hashlib.sha256(self._starts.tobytes()).hexdigest()[:16]}"

    @property
    def num_windows(self) -> int:
        """Of the whole run."""
        return len(self._starts)

    @property
    def first_pass(self) -> int:
        """Windows of the first stage that are shown before one of them comes again; later stages may show what was shown."""
        first = self.plans[0]
        return min((first.ends - first.begins) // self._context, *(self._until_again(one) for one in first.streams))

    def _until_again(self, stream: Stream) -> int:
        plan = self.plans[0]
        whole = (plan.ends - plan.begins) // self._context
        return whole if stream.epochs <= 1.0 else max(int(whole / stream.epochs), 1)

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Tokens at which a stage ends and another begins."""
        return tuple(plan.ends for plan in self.plans[:-1])

    def starts(self, first: int, count: int) -> NDArray[np.int64]:
        """Where those windows start in the tokens, (count,)."""
        numbers = np.arange(first, first + count)
        behind = numbers - len(self._starts)
        wrapped = np.where(behind >= 0, len(self._starts) - self._last + behind % self._last, numbers)
        found: NDArray[np.int64] = self._starts[wrapped]
        return found


def stage_edges(shares: Sequence[float], windows: int) -> list[int]:
    """Where each stage of a run begins, and where the last ends, in windows: by its share, and each has one at least."""
    count = len(shares)
    edges = [round(windows * float(share)) for share in np.cumsum([0.0, *shares])]
    for number in range(1, count + 1):
        edges[number] = min(max(edges[number], edges[number - 1] + 1), windows - (count - number))
    return edges


def choose(sources: Mapping[str, Source], stage: Stage, number: int, context: int) -> dict[str, Source]:
    """The documents of a stage by source, in their order; those of a source that has fewer than a window are left out.

    Raises:
        RecipeError: a source that is named has no such documents, or none has.
    """
    wanted = [name for name, _ in stage.sources] or [name for name, source in sources.items() if source.of_corpus]
    # One ranking for all sources: the easiest documents of all, and not of each.
    bounds = _bounds([sources[name] for name in wanted], stage.difficulty) if stage.is_ranked else None
    found = {}
    for name in wanted:
        source = sources[name]
        lengths = source.lengths
        kept = lengths >= stage.min_tokens
        if stage.max_tokens is not None:
            kept &= lengths <= stage.max_tokens
        if bounds is not None:
            assert source.difficulty is not None, name
            kept &= (source.difficulty >= bounds[0]) & (source.difficulty <= bounds[1])
        part = _only(source, np.flatnonzero(kept))
        if len(part.tokens) > context:
            found[name] = part
        elif stage.sources:
            raise RecipeError(
                f"curriculum.stages[{number - 1}]: its filters leave {len(part.tokens):,} tokens of {name!r}, fewer than a "
                f"window of {context:,} + 1; widen them, or leave the source out"
            )
    if not found:
        raise RecipeError(f"curriculum.stages[{number - 1}]: its filters leave no window of {context:,} + 1 tokens; widen them")
    return found


def quotas(chosen: Mapping[str, Source], stage: Stage, windows: int, number: int, context: int) -> list[int]:
    """How many of a stage's windows each source gives: by its weight, as far as `max_epochs` lets it; whole numbers.

    What one may not give, the others do by their weights.

    Raises:
        RecipeError: all of them together may not give so many.
    """
    sizes = np.array([(len(part.tokens) - 1) // context for part in chosen.values()], dtype=np.float64)
    given = dict(stage.sources)
    weights = np.array([given.get(name, size) for name, size in zip(chosen, sizes, strict=True)])
    most = np.full(len(sizes), math.inf) if stage.max_epochs is None else np.floor(sizes * stage.max_epochs)
    if most.sum() < windows:
        raise RecipeError(
            f"curriculum.stages[{number - 1}]: it shows {windows * context:,} tokens, and {stage.max_epochs:g} epochs of its "
            f"sources have {int(most.sum()) * context:,}; allow more epochs, name more sources, or give it a smaller share"
        )
    shares = np.zeros(len(sizes))
    free = np.ones(len(sizes), dtype=bool)
    while True:
        left = windows - shares[~free].sum()
        shares[free] = left * weights[free] / weights[free].sum()
        over = free & (shares > most + _SAME)
        if not over.any():
            break
        shares[over] = most[over]
        free &= ~over
    return _rounded(shares, windows, most)


def interleaved(counts: Sequence[int]) -> NDArray[np.int64]:
    """Which source each window of a stage is from, (sum of counts,): the i-th of n windows of each stands at (i + 1/2) / n."""
    places = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    owners = np.repeat(np.arange(len(counts)), counts)
    order: NDArray[np.int64] = owners[np.argsort(places, kind="stable")]
    return order


def _rounded(shares: Floats, total: int, most: Floats) -> list[int]:
    """Whole numbers near `shares` with their exact sum: the largest remainders are rounded up."""
    counts = np.floor(shares + _SAME)
    for index in np.argsort(counts - shares, kind="stable"):
        if counts.sum() >= total:
            break
        if counts[index] < most[index]:
            counts[index] += 1
    for index in range(len(counts)):  # where those rounded up had no room
        counts[index] += min(max(total - counts.sum(), 0.0), most[index] - counts[index])
    return [int(count) for count in counts]


def _endless(windows: int, count: int, seed: tuple[int, int, int]) -> NDArray[np.int64]:
    """The first `count` of the endless sequence of epochs over `windows`."""
    epochs = [permutation((*seed, epoch), windows) for epoch in range(-(-count // windows))]
    return np.concatenate([np.zeros(0, dtype=np.int64), *epochs])[:count]


def _bounds(sources: Sequence[Source], wanted: tuple[float, float]) -> tuple[float, float]:
    """Between which difficulties the documents lie that hold the wanted shares of the tokens.

    A document belongs to where its middle token lies, so that ranges that touch share no document.
    """
    difficulty = np.concatenate([source.difficulty for source in sources if source.difficulty is not None])
    lengths = np.concatenate([source.lengths for source in sources]).astype(np.float64)
    order = np.argsort(difficulty, kind="stable")
    middles = (np.cumsum(lengths[order]) - lengths[order] / 2) / lengths.sum()
    inside = order[(middles >= wanted[0]) & (middles < wanted[1] + (wanted[1] == 1.0))]
    if len(inside) == 0:
        return math.inf, -math.inf
    return float(difficulty[inside].min()), float(difficulty[inside].max())


def _only(source: Source, numbers: NDArray[np.int64]) -> Source:
    """Some documents of a source, laid end to end."""
    if len(numbers) == len(source.starts) - 1:
        return source
    parts = [source.tokens[source.starts[number] : source.starts[number + 1]] for number in numbers]
    return Source(
        tokens=np.concatenate(parts) if parts else source.tokens[:0],
        starts=np.concatenate(([0], np.cumsum(source.lengths[numbers]))),
        difficulty=None if source.difficulty is None else source.difficulty[numbers],
        of_corpus=source.of_corpus,
    )


def _stream(name: str, part: Source, count: int, whole: int) -> Stream:
    mean = None
    if part.difficulty is not None:
        mean = float(np.average(part.difficulty, weights=part.lengths))
    return Stream(
        source=name,
        documents=len(part.starts) - 1,
        tokens=len(part.tokens),
        windows=count,
        epochs=count / whole,
        difficulty=mean,
    )
