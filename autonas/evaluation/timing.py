"""Timing one thing against a reference, block by block, on a machine that has other things to do.

The candidate and the reference run in short blocks in turn (A B, B A, A B, …), so that what slows one slows the other, and the
result is a ratio. At least 20 warm-ups and 15 blocks; the value is the median of the block ratios times the reference's own
time; an attempt is rejected and repeated when it was noisy. What is timed, and on which device, is in latency.py.

A shared processor falls to half its speed for spells of .2 to 7 s, and then what waits for the host slows more than what
computes: a ratio of that time is another one. So of rejected attempts those blocks are used that stand beside a reference at
its own known speed, before, at and after them. The choice looks at the reference alone, and favours no quick candidate's block.
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

_FEW_BLOCKS = 5  # whose median still says more than all of a noisy attempt

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
    least_blocks: int = 15
    search_s: float = 1.2  # how long quiet blocks are looked for, beyond the repeats
    quick_share: float = 0.05  # how far from its known time a reference is still at its own speed
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
        return float(np.median(self.ratios))

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


def quiet_blocks(attempts: Sequence[Blocks], protocol: Protocol, reference_s: float) -> Blocks | None:
    """The blocks of all attempts that stand beside a reference at its known speed; None without any."""
    candidate, reference, calls = [], [], max(blocks.calls for blocks in attempts)
    for blocks in attempts:
        quick = np.abs(np.array(blocks.reference) / reference_s - 1) <= protocol.quick_share
        # A block's neighbours tell of spells that begin or end within it.
        beside = quick & np.append(quick[1:], True) & np.insert(quick[:-1], 0, True)
        candidate += [blocks.candidate[place] for place in np.flatnonzero(beside)]
        reference += [blocks.reference[place] for place in np.flatnonzero(beside)]
    return Blocks(candidate=tuple(candidate), reference=tuple(reference), calls=calls) if candidate else None


def _enough(blocks: Blocks | None, protocol: Protocol) -> bool:
    return blocks is not None and len(blocks.ratios) >= protocol.least_blocks and blocks.spread <= protocol.max_spread


def attempt_until_quiet(
    attempt: Callable[[], Blocks],
    protocol: Protocol,
    reference_s: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Blocks], tuple[str, ...]]:
    """All attempts made, and the last one's complaints: none when it was quiet, or when there are quiet blocks enough.

    At most `protocol.repeats` repeats, or as many as `protocol.search_s` has room for.
    """
    begun = clock()
    attempts: list[Blocks] = []
    while True:
        attempts.append(attempt())
        found = complaints(attempts[-1], protocol, reference_s)
        if not found or (reference_s is not None and _enough(quiet_blocks(attempts, protocol, reference_s), protocol)):
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
    """The score in milliseconds: median ratio × the reference's time.

    It is that of the last attempt when that was quiet, else of the quiet blocks of all. The interval is that of a median
    from order statistics (binomial, 95 %: David & Nagaraja, Order Statistics, 7.1). When there was no quiet, the value is
    that of the few blocks beside a quick reference, or without them that of the attempt whose reference was nearest to its
    known time, and the interval spans all attempts' intervals and quartiles, and the ratio of the quickest blocks, as noise
    only ever adds. It does not hold the error of the reference's own time, which is common to all architectures.
    """
    protocol = protocol or Protocol()
    whole = sum(len(blocks.ratios) for blocks in attempts)
    chosen = quiet_blocks(attempts, protocol, reference_s) if complaints(attempts[-1], protocol, reference_s) else None
    if chosen is not None and found and len(chosen.ratios) < _FEW_BLOCKS:
        chosen = None
    if chosen is None and found:
        best = min(attempts, key=lambda blocks: (abs(blocks.reference_s / reference_s - 1), blocks.spread))
    else:
        best = chosen or attempts[-1]
    bounds = [median_interval(best.ratios)]
    if found:
        bounds += [median_interval(blocks.ratios) for blocks in attempts]
        pooled = np.concatenate([blocks.ratios for blocks in attempts])
        bounds.append((float(np.percentile(pooled, 25)), float(np.percentile(pooled, 75))))
        quickest = min(min(b.candidate) for b in attempts) / min(min(b.reference) for b in attempts)
        bounds.append((quickest, quickest))
    scale = reference_s * 1000
    note = (
        f"{best.ratio:.4g} x reference of {scale:.4g} ms; IQR {best.spread:.1%}, "
        f"p95 {float(np.percentile(best.ratios, 95)) * scale:.4g} ms, {len(best.ratios)} blocks of {best.calls}"
    )
    if chosen is not None:
        note += f", those of {whole} beside a reference at its known speed"
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


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The narrowest symmetric pair of order statistics that holds the median with at least 95 %; the extremes for n < 6."""
    ordered, n = np.sort(values), len(values)
    tail, skipped = 0.0, 0  # P(Binomial(n, 1/2) < skipped)
    while skipped < n // 2 and tail + math.comb(n, skipped) / 2**n <= 0.025:
        tail += math.comb(n, skipped) / 2**n
        skipped += 1
    skipped = max(skipped, 1)
    return float(ordered[skipped - 1]), float(ordered[n - skipped])


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
