"""Tuning with adapters side by side (P11): ours and PEFT take the same steps on the same examples in turn, a few each.

The examples are functions of the standard library with docstrings. Peers pad them to the longest of their batch, rounded up to
a multiple of 8, as their collators do when they are told to. All begin with the same weights and adapters, and see the same
batches in the same order; only dropout draws differently. Losses that differ are said and are no result. Who tunes how is in
trainers/adapters.py.
"""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autonas.arch import spec_text
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.device import describe, resolve
from autonas.bench.shapes import shape
from autonas.bench.statistics import paired_ratio, spread
from autonas.bench.trainers import FLAGS, Task
from autonas.bench.trainers.adapters import TITLES, serve
from autonas.bench.turns import OURS, Block, Contest
from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.errors import RequestError
from autonas.tuning.converters import examples_of_functions
from autonas.tuning.encoding import encode_examples

TOLERANCE = 0.05  # between mean losses of the last quarter of the steps, which have other masks of dropout
_EXAMPLES = 1000
_WARM_STEPS = 10  # compilers of new shapes take longer than steps
_ROUNDS = 12
_GOAL = 1.5
_STEPS_GOAL = 500.0  # a second, on an H200


def measure(
    *,
    shape_name: str = "small",
    batch: int = 8,
    peers: Sequence[str] | None = None,
    dropout: float = 0.05,
    device: str = "auto",
    threads: int | None = None,
    seconds: float = 10.0,
    deadline: float = math.inf,
    say: Say = lambda text: None,
) -> Findings:
    """Compare with `peers` ("loop", "trainer"), by default both. About `seconds` for each contestant.

    Raises:
        RequestError: an unknown shape or peer, or PEFT is not installed.
        DeviceError: no such device here.
    """
    here = resolve(device, threads)
    spec = shape(shape_name)
    names = tuple(peers or TITLES)
    unknown = [name for name in names if name not in TITLES]
    if unknown:
        raise RequestError(f"there is no peer {unknown[0]!r}; choose of {', '.join(TITLES)}")
    if importlib.util.find_spec("peft") is None:
        raise RequestError("bench lora needs PEFT; pip install 'autonas[lora]'")
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        file = Path(folder, "examples.json")
        text = _write(file, spec.vocab_size, spec.context_length)
        task = Task(
            spec=spec,
            batch_tokens=batch * spec.context_length,  # so that a batch of windows is a batch of examples
            tokens_file=str(file),
            device=here.device,
            threads=here.threads,
        )
        say(f"{spec_text(spec)}; batches of {batch} of {text}; autonas beside {', '.join(names)}")
        with Contest(deadline) as contest:
            contest.enter(OURS, serve, task, OURS, dropout)
            for name in names:
                contest.enter(name, serve, task, name, dropout)
            contest.together()
            contest.in_turn(1)
            warm = contest.in_turn(_WARM_STEPS)
            steps = max(int(seconds / max(block.seconds / _WARM_STEPS for block in warm.values())), _ROUNDS)
            each = max(steps // _ROUNDS, 1)
            blocks = contest.interleave(each, rounds=_ROUNDS, seconds=3 * seconds * len(warm))
            flags = contest.in_turn(FLAGS)
    cuda = here.device_type == "cuda"
    rows = [_row(name, blocks, each, batch) for name in names if name in blocks]
    for name, reason in contest.failed.items():
        rows.append(not_measured("tuning with adapters", reason, peer_name=TITLES[name], goal=_GOAL, unit="steps/s"))
    if cuda:
        own = each / statistics.median(block.seconds for block in blocks[OURS])
        rows.append(Row(metric="tuning with adapters", unit="steps/s", ours=own, goal=_STEPS_GOAL, met=own >= _STEPS_GOAL))
    conditions: dict[str, Any] = {**describe(here), "shape": shape_name, "spec": spec.to_dict(), "batch": batch, "text": text}
    conditions |= {"optimiser": "AdamW, one constant rate 5e-4, betas .9 .95, no decay, clip 1", "flags": flags}
    conditions |= {"adapters": f"rank 8, alpha 16, dropout {dropout:g}, on qkv and out", "steps_per_block": each}
    conditions |= {"losses": {name: [round(block.loss, 4) for block in found] for name, found in blocks.items()}}
    return Findings(rows=rows, conditions=conditions)


def _write(path: Path, vocab_size: int, context: int) -> str:
    """Write tokens and length of the prompt of each example; what they are, in words."""
    corpus = CorpusSettings(sources=("python-stdlib",))
    dataset = prepare(corpus, TokenizerSettings(algorithm="bpe", vocab_size=vocab_size))
    encoded = encode_examples(examples_of_functions(dataset, 3 * _EXAMPLES), dataset.tokenizer, context)
    chosen = list(encoded.values())[:_EXAMPLES]
    path.write_text(json.dumps([[list(each.tokens), each.prompt] for each in chosen]))
    mean = statistics.fmean(each.read for each in chosen)
    return f"{len(chosen)} functions of the standard library, {mean:.0f} tokens in the mean, at most {context}"


def _row(name: str, blocks: dict[str, list[Block]], steps: int, batch: int) -> Row:
    ours, theirs = ([block.seconds for block in blocks[who]] for who in (OURS, name))
    ratio = paired_ratio(ours, theirs)
    last = max(len(ours) // 4, 1)
    losses = [statistics.fmean(block.loss for block in blocks[who][-last:]) for who in (OURS, name)]
    apart = abs(losses[0] - losses[1])
    note = f"batches of {batch}; losses {losses[0]:.3f} and {losses[1]:.3f}, {apart:.3f} apart"
    same = apart <= TOLERANCE
    if not same:
        note = f"THE LOSSES DIFFER: {note}, more than {TOLERANCE}; the ratio compares different work"
    return Row(
        metric="tuning with adapters",
        unit="steps/s",
        ours=steps / statistics.median(ours),
        peer=steps / statistics.median(theirs),
        peer_name=TITLES[name],
        ratio=ratio.value,
        low=ratio.low,
        high=ratio.high,
        goal=_GOAL,
        met=same and ratio.value >= _GOAL,
        spread=spread(ours),
        peer_spread=spread(theirs),
        note=note,
    )
