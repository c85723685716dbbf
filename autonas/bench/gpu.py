"""Every goal of a GPU in one go, within a time: training (P1 to P3), a run and its evaluations (P4, P10), generation (P8),
start-up (P5) and latencies (P9).

Beside them, whether several trainings at once pay. All parts share the time, imports and compilers of peers included: each has
its own, and what those before it left. One that no longer fits is said to be not measured.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autonas.bench import Findings, Row, Say, decode, evaluation, latency, not_measured, startup, together, train
from autonas.bench.device import describe, require_cuda, resolve
from autonas.errors import AutonasError, RequestError

_LIMIT_S = 480.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the benches with its options. It is not begun when less than `least_s` is left.

    `most_s` are kept for it whatever those before it do; it may take more where all after it keep theirs.
    """

    name: str
    least_s: float
    most_s: float
    measure: Callable[..., Findings]
    options: dict[str, Any]


def measure(
    *,
    peer_dir: str | None = None,
    device: str = "auto",
    limit_s: float = _LIMIT_S,
    parts: Sequence[Part] | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """All rows, each with its part's name.

    Raises:
        DeviceError: no CUDA device here.
        RequestError: a part is asked for what cannot be, such as a `peer_dir` without nanoGPT.
    """
    deadline = time.monotonic() + limit_s
    if parts is None:
        require_cuda()
        parts = all_parts(peer_dir)
    here = resolve(device, None)
    rows: list[Row] = []
    conditions: dict[str, Any] = {**describe(here), "limit_s": limit_s, "parts": {}}
    for number, part in enumerate(parts):
        left = deadline - time.monotonic()
        if left < part.least_s:
            rows.append(
                not_measured(part.name, f"no time left: {left:.0f} s of {limit_s:.0f} s, it takes {part.least_s:.0f} s")
            )
            continue
        say(f"{part.name}, {left:.0f} s left")
        begun = time.monotonic()
        kept = sum(later.most_s for later in parts[number + 1 :])
        end = min(deadline, max(begun + part.most_s, deadline - kept))
        try:
            found = part.measure(**part.options, device=here.device, deadline=end, say=say)
        except RequestError:
            raise
        except AutonasError as error:
            rows.append(not_measured(part.name, str(error)))
            continue
        rows += [_named(part, row) for row in found.rows]
        conditions["parts"][part.name] = {"seconds": time.monotonic() - begun, **found.conditions}
    return Findings(rows=rows, conditions=conditions)


def all_parts(peer_dir: str | None) -> tuple[Part, ...]:
    """What is measured, the most telling first. Their times together leave twenty seconds of the limit."""

    def training(name: str, shape_name: str, batch_tokens: int, peers: Sequence[str], *, least_s: float, most_s: float) -> Part:
        options = {"shape_name": shape_name, "batch_tokens": batch_tokens, "peers": peers, "required": False}
        options |= {"peer_dir": peer_dir, "seconds": 4.0}
        return Part(name=name, least_s=least_s, most_s=most_s, measure=train.measure, options=options)

    generations = {"shape_name": "large", "seconds": 6.0, "loads": ((1, 1, 64), (55, 4, 128))}
    beginnings = {"archs": 6, "batch_tokens": 2048, "compiled_archs": 0}
    # Not the large ones, which fill the device alone.
    at_once = {"cases": [case for case in together.all_cases() if case.spec.width <= 256], "seconds": 2.0}
    return (
        training("d512, 8 K tokens", "large", 8192, ("hf", "hf-tuned", "loop", "nanogpt"), least_s=60.0, most_s=100.0),
        Part(name="29 M run", least_s=20.0, most_s=70.0, measure=evaluation.measure, options={}),
        Part(name="29 M", least_s=40.0, most_s=60.0, measure=decode.measure, options=generations),
        training("d512, 64 K tokens", "large", 65_536, ("hf-tuned", "nanogpt"), least_s=45.0, most_s=60.0),
        Part(name="latency", least_s=40.0, most_s=55.0, measure=latency.measure, options={}),
        training("d128, 2 K tokens", "small", 2048, ("hf-tuned", "nanogpt"), least_s=40.0, most_s=50.0),
        Part(name="startup", least_s=25.0, most_s=35.0, measure=startup.measure, options=beginnings),
        Part(name="at once", least_s=20.0, most_s=30.0, measure=together.measure, options=at_once),
    )


def _named(part: Part, row: Row) -> Row:
    return dataclasses.replace(row, metric=f"{part.name}: {row.metric}")
