"""What a search takes beside its trainings: trials a second, and the wait for a proposal, of an objective that costs nothing.

A study of ours and one of Optuna alone (null_study.py) grow in turns, block by block. The wait is taken around stated numbers
of trials; up to there both are filled up with trials drawn at random, where they have not been searched so far. A proposal is
there when it stands in the ledger: reading, deciding and writing count. Both have searched another study before.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml

from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.null_study import Ask, Contestant, OurStudy, PeerStudy
from autonas.bench.statistics import paired_ratio, spread
from autonas.recipe import Recipe, load_recipe

RATE_GOAL, RATE_TRIALS = 100.0, 1_000  # trials a second, over the first so many
ASK_GOALS_MS = {1_000: 100.0, 10_000: 300.0}  # the 95th percentile around so many trials
PEER = "Optuna"
_BLOCK = 50  # trials of a turn
_WARM_UP = 20  # trials of a study before, of which nothing is told
_ASKS, _PEER_ASKS = 100, 20  # around each number of trials
_OURS_S, _PEER_S = 180.0, 45.0  # the most that growing a study may take, and that a peer may take at a time
_RUNGS = (4_000_000, 12_000_000, 36_000_000)
_SPACE: dict[str, Any] = {
    "name": "null",
    "corpus": {"sources": ["python-stdlib"]},
    "tokenizer": {"algorithm": "bpe", "vocab_size": 8000},
    "context_length": 256,
    # Every draw is legal: the peer knows no rules.
    "space": {
        "layers": {"int": [2, 16]},
        "width": {"choice": [128, 256, 384, 512, 768]},
        "heads": {"choice": [2, 4, 8]},
        "kv_heads": {"choice": [1, 2, "heads"]},
        "ffn_multiplier": {"choice": [2, 2.5, 3, 4]},
        "norm": {"choice": ["layernorm", "rmsnorm"]},
        "activation": {"choice": ["gelu", "silu", "geglu", "swiglu"]},
        "position": {"choice": ["rope", "alibi", "learned"]},
        "tied_embeddings": {"choice": [True, False]},
    },
    "objectives": ["val_loss", "params"],
}


def measure(
    *,
    trials: int = RATE_TRIALS,
    sampler: str | None = None,
    seed: int = 0,
    marks: Sequence[int] = tuple(ASK_GOALS_MS),
    say: Say = lambda text: None,
) -> Findings:
    """Rows of a study grown to so many trials by its policy, and of the asks around `marks`.

    Raises:
        RecipeError: there is no such sampler.
    """
    with tempfile.TemporaryDirectory(prefix="autonas-ledger-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        recipe = _recipe(Path(folder, "space.yaml"), trials + _ASKS, sampler, seed)  # it ends before the policy would
        _warm_up(recipe, Path(folder, "warm-up"))
        ours, peer = OurStudy(recipe, Path(folder, "ours")), PeerStudy(recipe, Path(folder, "peer.log"))
        flush_ms = _flush_ms(Path(folder, "flush"))
        rows = _growth(ours, peer, trials, say)
        for mark in sorted(marks):
            rows += _around(ours, peer, mark, say)
    rows.append(Row(metric="one flush of 2 kB to the disk, median", unit="ms", ours=flush_ms))
    search = recipe.search
    conditions = {
        "device": "cpu",
        "threads": 1,
        "sampler": search.sampler,
        "scheduler": search.scheduler,
        "rungs": list(search.rungs),
        "space": _SPACE["space"],
        "objectives": list(recipe.objectives),
        "flags": {PEER: f"{peer.sampler}, its default; journal file; every trial scored once, at the end"},
    }
    return Findings(rows=rows, conditions=conditions)


def _recipe(path: Path, trials: int, sampler: str | None, seed: int) -> Recipe:
    budget = {"trials": trials, "rungs": list(_RUNGS), "repeats": 0}
    path.write_text(yaml.safe_dump({**_SPACE, "budget": budget}), encoding="utf-8")
    return load_recipe(str(path), sampler=sampler, seed=seed)


def _warm_up(recipe: Recipe, folder: Path) -> None:
    """Another study of both, short: what a process imports and does only once is no part of a trial."""
    folder.mkdir()
    for contestant in (OurStudy(recipe, folder / "ours"), PeerStudy(recipe, folder / "peer.log")):
        contestant.search(_WARM_UP)


def _flush_ms(path: Path) -> float:
    seconds = []
    with path.open("ab") as file:
        for _ in range(50):
            begun = time.perf_counter()
            file.write(bytes(2048))
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(seconds))


def _growth(ours: OurStudy, peer: PeerStudy, trials: int, say: Say) -> list[Row]:
    """Trials a second of both, in turns; the peer drops out when it has had its time."""
    blocks, peers = list[_Turn](), list[_Turn]()
    left_s = max(_OURS_S, 3 * trials / RATE_GOAL)
    while ours.begun < trials and left_s > 0:
        blocks.append(_turn(ours, min(_BLOCK, trials - ours.begun), left_s))
        left_s -= blocks[-1].seconds
        peer_left_s = _PEER_S - sum(turn.seconds for turn in peers)
        if peer_left_s > 0:
            peers.append(_turn(peer, blocks[-1].trials, peer_left_s))
        say(f"{ours.begun:,} trials, {1 / blocks[-1].each_s:.0f} a second")
    if len(peers) > 1 and peers[-1].trials < blocks[len(peers) - 1].trials:
        peers.pop()  # cut off: of other trials than ours
    rows = [_rate_row(blocks, trials), _ratio_row(blocks[: len(peers)], peers)]
    each = {what: 1e3 * seconds / ours.begun for what, seconds in ours.spent.items()}
    return rows + [Row(metric=f"{what}, of a trial's time", unit="ms", ours=value) for what, value in each.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    trials: int
    seconds: float

    @property
    def each_s(self) -> float:
        return self.seconds / max(self.trials, 1)


def _turn(contestant: Contestant, count: int, most_s: float) -> _Turn:
    """So many more trials, or those for which there is time."""
    before, begun = contestant.begun, time.monotonic()
    contestant.search(count, begun + most_s)
    return _Turn(trials=contestant.begun - before, seconds=time.monotonic() - begun)


def _rate(turns: Sequence[_Turn]) -> float:
    return sum(turn.trials for turn in turns) / sum(turn.seconds for turn in turns)


def _rate_row(blocks: Sequence[_Turn], trials: int) -> Row:
    reached = sum(turn.trials for turn in blocks)
    picks = np.random.default_rng(0).integers(len(blocks), size=(2000, len(blocks)))
    low, high = np.percentile([_rate([blocks[int(i)] for i in pick]) for pick in picks], (2.5, 97.5))
    rate = _rate(blocks)
    return Row(
        metric=f"trials a second, over the first {reached:,}",
        unit="trials/s",
        ours=rate,
        low=float(low),
        high=float(high),
        goal=RATE_GOAL,
        met=bool(rate >= RATE_GOAL and reached >= min(trials, RATE_TRIALS)),
        note="" if reached >= trials else f"{trials:,} were wanted, and the time was up",
    )


def _ratio_row(blocks: Sequence[_Turn], peers: Sequence[_Turn]) -> Row:
    each, peer_each = [turn.each_s for turn in blocks], [turn.each_s for turn in peers]
    ratio = paired_ratio(each, peer_each)
    return Row(
        metric=f"trials a second, over the first {sum(turn.trials for turn in blocks):,}",
        unit="trials/s",
        ours=_rate(blocks),
        peer=_rate(peers),
        peer_name=PEER,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        spread=spread(each),
        peer_spread=spread(peer_each),
        note=f"the peer had {_PEER_S:.0f} s; each trial of ours has up to {len(_RUNGS)} rungs, the peer's one",
    )


def _around(ours: OurStudy, peer: PeerStudy, mark: int, say: Say) -> list[Row]:
    """The asks of both around so many trials, in turns."""
    asks = min(_ASKS, mark)
    first, rows, resumed = mark - asks // 2, list[Row](), None
    if ours.begun < first:
        say(f"filling up to {first:,} trials")
        ours.fill(first)
        read_s = ours.go_on(trials=first + 2 * asks)
        ours.search(1)
        resumed = ours.asks[-1]
        metric, note = f"first ask when going on at {first:,} trials", f"reading the study before it took {read_s:.2f} s"
        rows.append(Row(metric=metric, unit="ms", ours=1e3 * resumed.seconds, note=note))
    say(f"asking around {mark:,} trials")
    peer.fill(first)
    known, deadline, peer_left_s = len(peer.asks), time.monotonic() + _OURS_S, _PEER_S
    while True:
        ours_left = ours.begun < first + asks and time.monotonic() < deadline
        peers_left = peer_left_s > 0 and len(peer.asks) < known + _PEER_ASKS
        if not (ours_left or peers_left):
            break
        if ours_left:
            ours.search(max(asks // _PEER_ASKS, 1), deadline)
        if peers_left:
            peer_left_s -= _turn(peer, 1, peer_left_s).seconds
    near = [ask for ask in ours.asks if first <= ask.trials < first + asks and ask is not resumed]
    return [*rows, *_ask_rows(near, peer.asks[known:], mark)]


def _ask_rows(asks: Sequence[Ask], peer_asks: Sequence[Ask], mark: int) -> list[Row]:
    """The 95th percentile of ours with its interval, and medians beside the peer's, of which there are few."""
    goal, metric = ASK_GOALS_MS.get(mark), f"ask around {mark:,} trials"
    if not asks:
        return [not_measured(f"{metric}, 95th percentile", "there was no time left", goal=goal, unit="ms")]
    ms, deciding_ms = (1e3 * np.array(values) for values in zip(*((a.seconds, a.deciding_s) for a in asks), strict=True))
    peer_ms = 1e3 * np.array([ask.seconds for ask in peer_asks])
    rng = np.random.default_rng(0)
    highs = np.percentile(ms[rng.integers(len(ms), size=(2000, len(ms)))], 95, axis=1)
    low, high = np.percentile(highs, (2.5, 97.5))
    found = float(np.percentile(ms, 95))
    ratios = np.median(peer_ms[rng.integers(len(peer_ms), size=(2000, len(peer_ms)))], axis=1) / np.median(
        ms[rng.integers(len(ms), size=(2000, len(ms)))], axis=1
    )
    return [
        Row(
            metric=f"{metric}, 95th percentile",
            unit="ms",
            ours=found,
            low=float(low),
            high=float(high),
            goal=goal,
            met=None if goal is None else bool(found <= goal),
            note=f"{len(ms)} asks: median {np.median(ms):.1f} ms, at most {ms.max():.1f}; deciding alone: median "
            f"{np.median(deciding_ms):.1f}, 95th percentile {np.percentile(deciding_ms, 95):.1f}",
        ),
        Row(
            metric=f"{metric}, median",
            unit="ms",
            ours=float(np.median(ms)),
            peer=float(np.median(peer_ms)),
            peer_name=PEER,
            ratio=float(np.median(peer_ms) / np.median(ms)),
            low=float(np.percentile(ratios, 2.5)),
            high=float(np.percentile(ratios, 97.5)),
            spread=spread(ms),
            peer_spread=spread(peer_ms),
            note=f"{len(ms)} asks of ours, {len(peer_ms)} of the peer's",
        ),
    ]
