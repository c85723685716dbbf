"""Training speed side by side: ours and each peer train the same weights on the same tokens in turn, a few steps each.

Every peer is compared with ours on the same shapes: on our own module, or on the nearest of its style (Llama, GPT-2), so ours
runs once for each style that is asked for. Who trains how is in trainers/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec, spec_text
from autonas.bench import Findings, Row, Say, gemm, not_measured
from autonas.bench.device import Bench, describe, resolve
from autonas.bench.shapes import Style, shape
from autonas.bench.statistics import paired_ratio, spread
from autonas.bench.text import write_tokens
from autonas.bench.trainers import FLAGS, PEERS, Task, serve
from autonas.bench.trainers import OURS as OUR_TRAINER
from autonas.bench.turns import OURS, Block, Contest, Contestant, compile_patience_s
from autonas.cost import count_params, training_flops_per_token
from autonas.errors import RequestError

DEFAULT_PEERS = ("hf", "hf-tuned", "loop", "llama", "nanogpt")
# Of mean losses of the last quarter of the steps: what rounding to bfloat16 in another order does. nanoGPT differs in a small
# thing besides, its norms have no bias.
TOLERANCE = 0.03
_WARM_STEPS = 4  # after the first, which compiles
_ROUNDS = 20
_SHAPE_S = {"cpu": 0.12, "cuda": 0.03}  # for each matrix product that is timed
_BATCH_TOKENS = {"tiny": 1024, "small": 1024, "medium": 8192, "large": 8192}


def measure(
    *,
    shape_name: str = "small",
    context: int = 256,
    batch_tokens: int | None = None,
    peers: Sequence[str] | None = None,
    required: bool = True,
    peer_dir: str | None = None,
    compile_peers: bool = True,
    compile_mode: str | None = None,
    smoothing: float = 0.0,
    dropout: float = 0.0,
    device: str = "auto",
    threads: int | None = None,
    seconds: float = 10.0,
    paths: Sequence[str] = (),
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """Compare with `peers`, or with all that can be had when none are named. About `seconds` for each contestant.

    With `required` a named peer that is not to be had is an error, else its row says why it is not there.

    Raises:
        RequestError: an unknown shape or peer, or one asked by name that is not to be had.
        DeviceError: no such device here.
    """
    here = resolve(device, threads)
    batch_tokens = batch_tokens or _BATCH_TOKENS.get(shape_name, 1024)
    specs: dict[Style, ArchSpec] = {
        style: shape(shape_name, style, context=context, dropout=dropout, smoothing=smoothing)
        for style in ("own", "llama", "gpt")
    }
    if batch_tokens < context:
        raise RequestError(f"--batch-tokens {batch_tokens} holds no window of --context {context}; give at least {context}")
    missing = find_missing(peers, specs, peer_dir, required)
    rows = []
    conditions: dict[str, Any] = {**describe(here), "shape": shape_name, "batch_tokens": batch_tokens, "context": context}
    conditions |= {"optimiser": "AdamW, one constant rate 5e-4, betas .9 .95, no decay, clip 1, no warm-up", "styles": {}}
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        tokens_file = Path(folder, "tokens.npy")
        conditions["text"] = write_tokens(tokens_file, specs["own"].vocab_size, paths)
        for style, spec in specs.items():
            names = [name for name in peers or DEFAULT_PEERS if PEERS[name].style == style and name not in missing]
            if not names:
                continue
            task = Task(
                spec=spec,
                batch_tokens=batch_tokens // context * context,
                tokens_file=str(tokens_file),
                device=here.device,
                threads=here.threads,
                compile=compile_peers,
                compile_mode=compile_mode,
                peer_dir=peer_dir,
            )
            say(f"{style}: {spec_text(spec)}; autonas beside {', '.join(names)}")
            found = compare(task, names, here, seconds=seconds, deadline=deadline)
            rows += found.rows
            conditions["styles"][style] = found.conditions
    for name, reason in missing.items():
        rows.append(not_measured("training", reason, peer_name=PEERS[name].title, unit="tokens/s"))
    return Findings(rows=rows, conditions=conditions)


def find_missing(
    peers: Sequence[str] | None, specs: dict[Style, ArchSpec], peer_dir: str | None, required: bool
) -> dict[str, str]:
    """Why peers cannot take part, by name. Raises RequestError when one of them is `required` by name."""
    unknown = [name for name in peers or () if name not in PEERS]
    if unknown:
        raise RequestError(f"there is no peer {unknown[0]!r}; choose of {', '.join(PEERS)}")
    missing: dict[str, str] = {}
    for name in peers or DEFAULT_PEERS:
        reason = PEERS[name].missing(specs[PEERS[name].style], peer_dir)
        if reason is not None:
            # A folder is given for one peer alone, so that it counts as asked for.
            if (peers is not None and required) or (name == "nanogpt" and peer_dir is not None):
                raise RequestError(f"peer {name}: {reason}")
            missing[name] = reason
    return missing


def compare(task: Task, names: Sequence[str], here: Bench, *, seconds: float, deadline: float = math.inf) -> Findings:
    """Rows of one style: ours beside each of `names`, and ours beside the rate of the matrix products.

    Raises:
        AutonasError: ours could not be measured.
    """
    with Contest(deadline) as contest, contextlib.ExitStack() as stack:
        contest.enter(OURS, serve, task, OUR_TRAINER)
        for name in names:
            contest.enter(name, serve, task, PEERS[name])
        shape_s = min(_SHAPE_S[here.device_type], seconds / 50)
        rates = Contestant(gemm.serve, task.spec, task.batch_tokens, here.device, here.threads, shape_s, deadline=deadline)
        stack.enter_context(rates)
        contest.together()
        rates.answer()
        # The first step may compile. A GPU's machine has cores enough to let all of them do so at once.
        ask_first = contest.together if here.device_type == "cuda" else contest.in_turn
        first = ask_first(1, patience_s=compile_patience_s(deadline))
        warm = contest.in_turn(_WARM_STEPS)
        measured_rates = [rates.ask("rates")]
        rounds, steps = _plan({name: block.seconds / _WARM_STEPS for name, block in warm.items()}, seconds)
        # A machine that became slow meanwhile costs rounds and not patience.
        blocks = contest.interleave(steps, rounds=rounds, seconds=3 * seconds * len(warm))
        measured_rates.append(rates.ask("rates"))
        flags = contest.in_turn(FLAGS)
    # What the hardware can do is the better of the two; a neighbour only ever takes away.
    best = max(measured_rates, key=lambda found: found.model)
    best = dataclasses.replace(best, square=max(found.square for found in measured_rates))
    rows = [_peer_row(task, name, blocks, steps, here) for name in names if name in blocks]
    for name in names:
        if name in contest.failed:
            goal, title = _goal(name, task, here), PEERS[name].title
            rows.append(not_measured("training", contest.failed[name], peer_name=title, goal=goal, unit="tokens/s"))
    rows += _efficiency_rows(task, blocks[OURS], steps, best, here)
    contestants_said = {
        name: {
            "flags": flags[name],
            "first_step_s": first[name].seconds,
            "step_ms": 1000 * statistics.median(block.seconds for block in found) / steps,
            "spread": spread([block.seconds for block in found]),
            "final_loss": _final_loss(found),
        }
        for name, found in blocks.items()
    }
    conditions = {
        "spec": task.spec.to_dict(),
        "params": count_params(task.spec),
        "training_flops_per_token": training_flops_per_token(task.spec),
        "rounds": len(blocks[OURS]),
        "steps_per_block": steps,
        "losses": [round(block.loss, 4) for block in blocks[OURS]],
        "contestants": contestants_said,
        "gemm": {"dtype": best.dtype, "model": best.model, "square": best.square, "shapes": dict(best.shapes)},
    }
    return Findings(rows=rows, conditions=conditions)


def _plan(step_s: dict[str, float], seconds: float) -> tuple[int, int]:
    """Rounds, and steps of a block: the same for all, so that a round is the same work on the same tokens."""
    steps = max(int(seconds / max(step_s.values())), 10)
    rounds = min(_ROUNDS, steps)
    return rounds, steps // rounds


def _final_loss(blocks: Sequence[Block]) -> float:
    last = blocks[-max(len(blocks) // 4, 1) :]
    return statistics.fmean(block.loss for block in last)


def _peer_row(task: Task, name: str, blocks: dict[str, list[Block]], steps: int, here: Bench) -> Row:
    ours, theirs = ([block.seconds for block in blocks[who]] for who in (OURS, name))
    ratio = paired_ratio(ours, theirs)
    tokens = steps * task.batch_tokens
    losses = [_final_loss(blocks[who]) for who in (OURS, name)]
    apart = abs(losses[0] - losses[1])
    note = f"losses {losses[0]:.3f} and {losses[1]:.3f}, {apart:.3f} apart"
    same = apart <= TOLERANCE
    if not same:
        note = f"THE LOSSES DIFFER: {note}, more than {TOLERANCE}; the ratio compares different work"
    goal = _goal(name, task, here)
    return Row(
        metric="training",
        unit="tokens/s",
        ours=tokens / statistics.median(ours),
        peer=tokens / statistics.median(theirs),
        peer_name=PEERS[name].title,
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        goal=goal,
        met=None if goal is None and same else same and (goal is None or ratio.value >= goal),
        spread=spread(ours),
        peer_spread=spread(theirs),
        note=note,
    )


def _goal(name: str, task: Task, here: Bench) -> float | None:
    """P1 and P2 of the performance goals. A peer kept from compiling is not the one that they mean."""
    cuda = here.device_type == "cuda"
    if name == "hf":
        return 3.0 if cuda else 2.0
    if name == "hf-tuned" and task.compile:
        return 1.7 if cuda else 1.3
    if name == "nanogpt" and task.compile:
        if cuda and task.spec.width <= 256:
            return 3.0
        return 1.15 if cuda and task.batch_tokens >= 32_768 else 1.5
    return None


def _efficiency_rows(task: Task, blocks: Sequence[Block], steps: int, rates: gemm.Rates, here: Bench) -> list[Row]:
    """P3: FLOPs that training needs, over those that matrix products reach in the same seconds."""
    seconds = [block.seconds for block in blocks]
    flops = training_flops_per_token(task.spec) * steps * task.batch_tokens / statistics.median(seconds)
    mfu_goal = None
    if here.device_type == "cuda" and task.spec.width == 512:
        mfu_goal = 0.45 if task.batch_tokens >= 65_536 else 0.35
    roofline_goal = 0.6 if here.device_type == "cuda" else None
    rows = []
    for metric, rate, what, goal in (
        ("MFU", rates.square, "best square product", mfu_goal),
        ("roofline efficiency", rates.model, "products of the model's shapes", roofline_goal),
    ):
        rows.append(
            Row(
                metric=f"{metric}",
                unit="share",
                ours=flops / rate,
                goal=goal,
                met=None if goal is None else flops / rate >= goal,
                spread=spread(seconds),
                note=f"{flops / 1e12:.3g} of {rate / 1e12:.3g} TFLOP/s, {rates.dtype}, {what}; {spec_text(task.spec)}",
            )
        )
    return rows
