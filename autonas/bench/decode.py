"""Greedy generation side by side: ours and Hugging Face's `generate`, the same weights, prompts and numbers of new tokens.

Nothing is timed before both have shown that they compute the same: logits after the prompts within 1e-3 in float32, and the
same tokens. Where a row's tokens part, the peer's own logits of the two tokens must be within 1e-3 of its highest there (a near
tie, decided by rounding); what follows in that row is not compared.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.device import Bench, describe, resolve
from autonas.bench.generators import Workload, Writing, serve_hugging_face, serve_ours, serve_pupil
from autonas.bench.shapes import shape
from autonas.bench.statistics import paired_ratio, spread
from autonas.bench.text import write_tokens
from autonas.bench.trainers import PEERS as TRAINERS
from autonas.bench.trainers import Task
from autonas.bench.turns import OURS, Block, Contest, Contestant, compile_patience_s
from autonas.errors import AutonasError, RequestError

TOLERANCE = 1e-3  # of logits, float32
PEERS = {"hf": "dynamic", "hf-static": "static"}
_TITLES = {"hf": "generate, dynamic cache", "hf-static": "generate, static cache"}
_PUPIL_STEPS = 60
_ROUNDS = 15
# Prompts, copies of each, and new tokens. The last is what a trial's collapse test asks.
_LOADS = {"cpu": ((1, 1, 64), (16, 1, 64), (56, 4, 64)), "cuda": ((1, 1, 64), (16, 1, 64), (55, 4, 128))}


def measure(
    *,
    shape_name: str = "small",
    peers: Sequence[str] | None = None,
    compile_peers: bool = True,
    device: str = "auto",
    threads: int | None = None,
    seconds: float = 10.0,
    loads: Sequence[tuple[int, int, int]] | None = None,
    paths: Sequence[str] = (),
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """Compare with `peers`, or with both. About `seconds` for each contestant, over all workloads.

    Raises:
        RequestError: an unknown shape or peer, or transformers is not installed and was asked for by name.
        DeviceError: no such device here.
        AutonasError: ours could not be measured.
    """
    here = resolve(device, threads)
    spec = shape(shape_name, "llama")
    unknown = [name for name in peers or () if name not in PEERS]
    if unknown:
        raise RequestError(f"there is no peer {unknown[0]!r}; choose of {', '.join(PEERS)}")
    reason = TRAINERS["llama"].missing(spec, None)
    if reason is not None and "transformers" in reason:
        if peers is not None:
            raise RequestError(f"peer {peers[0]}: {reason}")
        return Findings(rows=[not_measured("generation", reason, peer_name=_TITLES[name]) for name in PEERS])
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        tokens_file, weights_file = Path(folder, "tokens.npy"), Path(folder, "weights.pt")
        text = write_tokens(tokens_file, spec.vocab_size, paths)
        task = Task(
            spec=spec,
            batch_tokens=1024,
            tokens_file=str(tokens_file),
            device=here.device,
            threads=here.threads,
            learning_rate=2e-3,
        )
        say(f"training {shape_name} for {_PUPIL_STEPS} steps, so that its tokens are not all tied")
        with Contestant(serve_pupil, task, _PUPIL_STEPS, str(weights_file), deadline=deadline) as pupil:
            loss = pupil.answer()
        writing = Writing(
            spec=spec,
            weights_file=str(weights_file),
            workloads=_workloads(loads or _LOADS[here.device_type], task.tokens(), spec.context_length),
            device=here.device,
            threads=here.threads,
        )
        rows, said = _compare(writing, list(peers or PEERS), here, compile_peers, seconds, deadline, say)
    conditions = {**describe(here), "shape": shape_name, "spec": spec.to_dict(), "text": text, "trained_to": loss, **said}
    return Findings(rows=rows, conditions=conditions)


def _workloads(loads: Sequence[tuple[int, int, int]], tokens: np.ndarray, context: int) -> tuple[Workload, ...]:
    """Prompts of real text, of 16 tokens up to half the room beside the new ones; one alone has 64."""
    rng = np.random.default_rng(0)
    found = []
    for count, copies, new in loads:
        longest = min(96, context - new)
        lengths = rng.integers(16, longest + 1, size=count) if count > 1 else np.array([min(64, longest)])
        starts = rng.integers(len(tokens) - longest, size=count)
        distinct = [tuple(int(t) for t in tokens[s : s + n]) for s, n in zip(starts, lengths, strict=True)]
        name = f"{count} x {new}" if copies == 1 else f"{count} x {copies} x {new}"
        prompts = tuple(prompt for prompt in distinct for _ in range(copies))
        found.append(Workload(name=name, prompts=prompts, new_tokens=new))
    return tuple(found)


def _compare(
    writing: Writing, names: list[str], here: Bench, compiled: bool, seconds: float, deadline: float, say: Say
) -> tuple[list[Row], dict[str, Any]]:
    with Contest(deadline) as contest:
        contest.enter(OURS, serve_ours, writing)
        for name in names:
            contest.enter(name, serve_hugging_face, writing, PEERS[name], compiled)
        contest.together()
        rows: list[Row] = []
        said: dict[str, Any] = {"workloads": {}}
        for number, load in enumerate(writing.workloads):
            judge = next((contest.running[name] for name in names if name in contest.running), None)
            if judge is None or time.monotonic() >= deadline:
                rows += [_failed_row(name, contest.failed.get(name, "no time left"), load.name, here) for name in names]
                continue
            apart, words, same = _agreement(contest.running[OURS], judge, number, load)
            say(f"{load.name}: logits within {apart:.1e}, {words}")
            left = (deadline - time.monotonic()) / (len(writing.workloads) - number)
            patience_s = compile_patience_s(time.monotonic() + left)
            blocks, first, calls = _time(contest, number, seconds / len(writing.workloads), patience_s)
            for name in names:
                if name in blocks:
                    rows.append(_row(load, name, blocks, calls, here, words, same))
                else:
                    rows.append(_failed_row(name, contest.failed[name], load.name, here))
            said["workloads"][load.name] = {"logits_apart": apart, "tokens": words, "first_call_s": first, "calls": calls}
        said["flags"] = contest.in_turn(("flags",))
    return rows, said


def _agreement(ours: Contestant, judge: Contestant, number: int, load: Workload) -> tuple[float, str, bool]:
    """How far the logits are apart, what is to be said of the tokens, and whether they are the same but for near ties.

    Raises:
        AutonasError: the logits differ, so that the two are different models.
    """
    apart = float(np.abs(ours.ask(("logits", number)) - judge.ask(("logits", number))).max())
    if not apart <= TOLERANCE:
        raise AutonasError(f"the logits of the two differ by {apart:.3g}, more than {TOLERANCE:g}: they are not the same model")
    pairs = zip(load.prompts, ours.ask(("tokens", number)), judge.ask(("tokens", number)), strict=True)
    ties, differ = 0, []
    for row, (prompt, mine, its) in enumerate(pairs):
        place = next((i for i, (a, b) in enumerate(zip(mine, its, strict=True)) if a != b), None)
        if place is None:
            continue
        gap = judge.ask(("gap", [*prompt, *its[:place]], mine[place], its[place]))
        if gap <= TOLERANCE:
            ties += 1
        else:
            differ.append(f"row {row} at {place} by {gap:.3g}")
    if differ:
        return apart, f"THE TOKENS DIFFER: {', '.join(differ[:3])}", False
    same = len(load.prompts) - ties
    return apart, f"tokens identical in {same} of {len(load.prompts)} rows{', near ties in the others' if ties else ''}", True


def _time(
    contest: Contest, number: int, seconds: float, patience_s: float
) -> tuple[dict[str, list[Block]], dict[str, float], int]:
    """Blocks of each, seconds of the first call of each (which may compile), and the calls of a block."""
    first = contest.in_turn(("time", number, 1), patience_s=patience_s)
    warm = contest.in_turn(("time", number, 1))
    slowest = max(block.seconds for block in warm.values())
    calls = max(1, round(0.1 / slowest))
    rounds = min(_ROUNDS, max(5, int(seconds / (calls * slowest))))
    blocks = contest.interleave(("time", number, calls), rounds=rounds, seconds=3 * seconds * len(warm))
    return blocks, {name: block.seconds for name, block in first.items()}, calls


def _row(load: Workload, name: str, blocks: Mapping[str, list[Block]], calls: int, here: Bench, words: str, same: bool) -> Row:
    ours, theirs = ([block.seconds for block in blocks[who]] for who in (OURS, name))
    ratio = paired_ratio(ours, theirs)
    goal = _goal(name, here)
    return Row(
        metric=f"generation, {load.name}",
        unit="tokens/s",
        ours=calls * load.tokens / statistics.median(ours),
        peer=calls * load.tokens / statistics.median(theirs),
        peer_name=_TITLES[name],
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        goal=goal,
        met=same and ratio.value >= goal,
        spread=spread(ours),
        peer_spread=spread(theirs),
        note=words,
    )


def _failed_row(name: str, reason: str, load: str, here: Bench) -> Row:
    metric = f"generation, {load}" if load else "generation"
    return not_measured(metric, reason, peer_name=_TITLES[name], goal=_goal(name, here), unit="tokens/s")


def _goal(name: str, here: Bench) -> float:
    """P8 of the performance goals."""
    if here.device_type == "cpu":
        return 4.0
    return 15.0 if name == "hf" else 2.5
