"""Timing one thing against a reference, block by block, on a machine that has other things to do.

The candidate and the reference run in short blocks in turn (A B, B A, A B, …), so that what slows one slows the other, and the
result is a ratio: of the times that each has in its quickest tenth of blocks, as noise only ever adds. At least 20 warm-ups and
15 blocks; an attempt is rejected and repeated when it was noisy. What is timed, and on which device, is in latency.py.

A shared processor falls to half its speed for spells of 10 ms to 7 s, and then what waits for the host slows more than what
computes: a ratio of that time is another one. So after a noisy attempt all attempts count together, and are enough once
the reference had its own known speed in so many blocks: then the candidate's quickest tenth is of such moments, too.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from autonas.trial import Score

_TENTH = 10  # percentile
_RESAMPLES = 400

# Runs the timed thing so many times over and returns the seconds that took, until the device has really finished.
Timed = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a comparison is timed. `max_spread` is of the ratios, IQR over median; the drift is the reference's."""

    warm_ups: int = 20
    blocks: int = 21
    block_s: float = 0.005
    max_spread: float = 0.05  # 0.02 on a GPU
    max_drift: float = 0.03
    max_others: float = 0.25  # share of this process's cores that other processes may use
    repeats: int = 3
    quick_blocks: int = 40  # of the reference at its own speed, in noisy attempts that are enough together
    quick_share: float = 0.05  # how far from its known time a reference is still at its own speed
    search_s: float = 2.5  # how long for, beyond the repeats
    watch_s: float = 6.0  # how long the reference's own time is looked for on a machine that is never quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Seconds per call of the interleaved blocks of one attempt, and what others did meanwhile (share of the device)."""

    candidate: tuple[float, ...]
    reference: tuple[float, ...]
    calls: int  # of the candidate in a block
    others: float = 0.0

    @property
    def ratios(self) -> NDArray[np.float64]:
        ratios: NDArray[np.float64] = np.divide(self.candidate, self.reference)
        return ratios

    @property
    def ratio(self) -> float:
        """That of the candidate's quickest tenth to the reference's."""
        return float(np.percentile(self.candidate, _TENTH) / np.percentile(self.reference, _TENTH))

    @property
    def spread(self) -> float:
        """Interquartile range of the ratios over their median: the block CV."""
        low, middle, high = np.percentile(self.ratios, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def reference_s(self) -> float:
        return float(np.median(self.reference))

    @property
    def reference_drift(self) -> float:
        """Change of the reference from the first half of the blocks to the second, as a share."""
        half = len(self.reference) // 2
        first, second = float(np.median(self.reference[:half])), float(np.median(self.reference[half:]))
        return abs(second / first - 1)


def run_blocks(candidate: Timed, reference: Timed, protocol: Protocol, others: Callable[[], float] | None = None) -> Blocks:
    """One attempt. `others` tells the share of the device that other processes used since it was asked last."""
    calls = [_calls_per_block(timed, protocol) for timed in (candidate, reference)]
    if others is not None:
        others()
    seconds: tuple[list[float], list[float]] = ([], [])
    for block in range(protocol.blocks):
        # The order turns, so that a steady drift of the machine cancels.
        for which in (0, 1) if block % 2 == 0 else (1, 0):
            timed = (candidate, reference)[which]
            seconds[which].append(timed(calls[which]) / calls[which])
    return Blocks(
        candidate=tuple(seconds[0]),
        reference=tuple(seconds[1]),
        calls=calls[0],
        others=others() if others is not None else 0.0,
    )


def _calls_per_block(timed: Timed, protocol: Protocol) -> int:
    """Warm up, then choose how many calls fill a block."""
    warm_ups = protocol.warm_ups
    timed(warm_ups // 2)  # the first calls allocate and choose kernels
    each = timed(warm_ups - warm_ups // 2) / (warm_ups - warm_ups // 2)
    return max(1, min(10_000, math.ceil(protocol.block_s / max(each, 1e-9))))


def complaints(blocks: Blocks, protocol: Protocol, reference_s: float | None) -> tuple[str, ...]:
    """Why an attempt is to be rejected; nothing when it was quiet. `reference_s` is the reference's known time."""
    found = []
    if blocks.spread > protocol.max_spread:
        found.append(f"block CV {blocks.spread:.1%} > {protocol.max_spread:.0%}")
    if blocks.reference_drift > protocol.max_drift:
        found.append(f"reference drifted {blocks.reference_drift:.1%} > {protocol.max_drift:.0%}")
    if reference_s is not None and abs(blocks.reference_s / reference_s - 1) > protocol.max_drift:
        found.append(f"reference off its known time by {blocks.reference_s / reference_s - 1:+.1%}")
    if blocks.others > protocol.max_others:
        found.append(f"other processes used {blocks.others:.0%} of the device")
    return tuple(found)


def reference_off(note: str) -> float | None:
    """The share by which the reference was off its known time, as the note of `latency_score` says; None when it was not."""
    found = re.search(r"reference off its known time by ([+-][\d.]+)%", note)
    return float(found[1]) / 100 if found else None


def together(attempts: Sequence[Blocks]) -> Blocks:
    """The blocks of all attempts as one."""
    return Blocks(
        candidate=tuple(second for blocks in attempts for second in blocks.candidate),
        reference=tuple(second for blocks in attempts for second in blocks.reference),
        calls=max(blocks.calls for blocks in attempts),
    )


def num_quick(blocks: Blocks, protocol: Protocol, reference_s: float) -> int:
    """In how many blocks the reference had its own known speed."""
    return int((np.abs(np.array(blocks.reference) / reference_s - 1) <= protocol.quick_share).sum())


def halves(attempts: Sequence[Blocks]) -> tuple[float, float]:
    """The ratios of the first half of the attempts and of the second."""
    half = max(len(attempts) // 2, 1)
    return together(attempts[:half]).ratio, together(attempts[-half:]).ratio


def _enough(attempts: Sequence[Blocks], protocol: Protocol, reference_s: float) -> bool:
    """Whether noisy attempts are enough together: the reference was often enough at its own speed, and both halves agree."""
    first, second = halves(attempts)
    agree = abs(first / second - 1) <= protocol.max_spread
    return agree and num_quick(together(attempts), protocol, reference_s) >= protocol.quick_blocks


def attempt_until_quiet(
    attempt: Callable[[], Blocks],
    protocol: Protocol,
    reference_s: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Blocks], tuple[str, ...]]:
    """All attempts made, and the last one's complaints: none when it was quiet, or when all together are enough.

    At most `protocol.repeats` repeats, or as many as `protocol.search_s` has room for.
    """
    begun = clock()
    attempts: list[Blocks] = []
    while True:
        attempts.append(attempt())
        found = complaints(attempts[-1], protocol, reference_s)
        if not found or (reference_s is not None and _enough(attempts, protocol, reference_s)):
            return attempts, ()
        if len(attempts) > protocol.repeats and (reference_s is None or clock() - begun >= protocol.search_s):
            return attempts, found


def own_time(attempt: Callable[[], Blocks], protocol: Protocol, clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds that a call of the reference takes by itself: the median of the quickest attempt, as noise only ever adds.

    Every latency of this machine is scaled by it, so one bad moment must not decide. A shared processor can fall to half its
    speed for seconds, for causes that are not to be seen from here, and attempts within such a spell agree. So attempts go on
    until two quiet ones agree with the quickest of all, or for `protocol.watch_s`.
    """
    begun = clock()
    medians: list[float] = []
    quiet: list[float] = []
    while True:
        blocks = attempt()
        medians.append(blocks.reference_s)
        if not complaints(blocks, protocol, None):
            quiet.append(blocks.reference_s)
        quickest = min(medians)
        confirmed = sum(seconds <= quickest * (1 + protocol.max_drift) for seconds in quiet) >= 2
        if confirmed or clock() - begun >= protocol.watch_s:
            return quickest


def latency_score(
    attempts: Sequence[Blocks], found: tuple[str, ...], reference_s: float, unit: str, protocol: Protocol | None = None
) -> Score:
    """The score in milliseconds: ratio x the reference's time, of the last attempt when that was quiet, else of all together.

    The interval is a bootstrap's over pairs of blocks, 95 %; of several attempts it also holds the ratios of both halves. When
    there was no quiet, it holds those of all attempts, the quartiles of all blocks and the ratio of the two quickest. It does
    not hold the error of the reference's own time, which is common to all architectures.
    """
    protocol = protocol or Protocol()
    quiet = not complaints(attempts[-1], protocol, reference_s)
    best = attempts[-1] if quiet else together(attempts)
    bounds = [ratio_interval(best)]
    if not quiet:
        bounds += [(ratio, ratio) for ratio in halves(attempts)]
    if found:
        bounds += [(blocks.ratio, blocks.ratio) for blocks in attempts]
        bounds.append((float(np.percentile(best.ratios, 25)), float(np.percentile(best.ratios, 75))))
        bounds.append((min(best.candidate) / min(best.reference),) * 2)
    scale = reference_s * 1000
    note = (
        f"{best.ratio:.4g} x reference of {scale:.4g} ms; IQR {best.spread:.1%}, "
        f"p95 {float(np.percentile(best.ratios, 95)) * scale:.4g} ms, {len(best.ratios)} blocks of {best.calls}"
    )
    if not quiet:
        note += f", {num_quick(best, protocol, reference_s)} of them beside a reference at its known speed"
    if found:
        note += f"; noisy after {len(attempts) - 1} repeats: {', '.join(found)}"
    return Score(
        value=best.ratio * scale,
        low=min(low for low, _ in bounds) * scale,
        high=max(high for _, high in bounds) * scale,
        unit=unit,
        n=len(best.ratios),
        note=note,
    )


def ratio_interval(blocks: Blocks) -> tuple[float, float]:
    """95 % of the ratios of as many pairs of blocks drawn again and again; the same for the same blocks."""
    drawn = np.random.default_rng(0).integers(len(blocks.ratios), size=(_RESAMPLES, len(blocks.ratios)))
    tenths = [np.percentile(np.array(seconds)[drawn], _TENTH, axis=1) for seconds in (blocks.candidate, blocks.reference)]
    low, high = np.percentile(tenths[0] / tenths[1], (2.5, 97.5))
    return min(float(low), blocks.ratio), max(float(high), blocks.ratio)


class OthersOnCpu:
    """How much of this process's cores other processes used since the last call, as a share of those cores."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._busy, self._own, self._total = self._read()

    def __call__(self) -> float:
        busy, own, total = self._read()
        others = (busy - self._busy) - (own - self._own)
        elapsed = total - self._total
        self._busy, self._own, self._total = busy, own, total
        return min(1.0, max(0.0, others / elapsed)) if elapsed > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        cores = psutil.cpu_times(percpu=True)
        if hasattr(os, "sched_getaffinity"):
            allowed = os.sched_getaffinity(0)
            cores = [times for core, times in enumerate(cores) if core in allowed] or cores
        # Guest time is contained in user time; waiting for a disk is idling.
        idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in cores)
        total = sum(sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0) for times in cores)
        own = self._process.cpu_times()
        return total - idle, own.user + own.system, total
