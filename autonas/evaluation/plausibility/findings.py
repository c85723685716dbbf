"""The checks that a worker calls: of one scored model, and of a full run's curve. Values in, findings out; no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autonas.evaluation.plausibility.generations import (
    collapse_between_rungs,
    collapse_while_falling,
    common_rate,
    falling_diversity,
    generation_probes,
)
from autonas.evaluation.plausibility.losses import Gap, gap_finding, loss_floor, unmoved
from autonas.trial import Finding, Outcome


def outcome_findings(outcome: Outcome, gap: Gap | None = None) -> tuple[Finding, ...]:
    """What speaks against a scored outcome: its loss against its baselines, and its gap to training, where they are known."""
    found: list[Finding | None] = []
    if "val_loss" in outcome.scores:
        found.append(loss_floor(outcome.scores["val_loss"].value, outcome.baselines))
    if gap is not None:
        found.append(gap_finding(gap))
    return tuple(filter(None, found))


def rung_findings(rungs: Sequence[Outcome]) -> tuple[Finding, ...]:
    """What the outcomes of one trial at its rungs say together: a loss that never moved, collapse while loss fell."""
    return tuple(_of_rungs(rungs))


def judged_pairs(check: str, rungs: Sequence[Outcome]) -> int:
    """How often `rung_findings` can judge the step from one rung to the next by "constant" or "collapse_while_falling"."""
    if check == "constant":
        return sum(
            earlier.documents is not None and later.documents is not None and later.tokens > earlier.tokens
            for earlier, later in itertools.pairwise(rungs)
        )
    assert check == "collapse_while_falling", check
    return sum(
        common_rate(earlier, later) is not None and "val_loss" in earlier.scores and "val_loss" in later.scores
        for earlier, later in itertools.pairwise(rungs)
    )


def _of_rungs(rungs: Sequence[Outcome]) -> Iterator[Finding]:
    for earlier, later in itertools.pairwise(rungs):
        same = earlier.documents is not None and later.documents is not None and earlier.documents.nats == later.documents.nats
        if same and later.tokens > earlier.tokens:
            text = (
                f"the losses of all validation documents are the same to the last digit after {earlier.tokens:,} and after "
                f"{later.tokens:,} tokens: they do not measure this model"
            )
            yield Finding(check="constant", severity="alarm", text=text)
        if found := collapse_between_rungs(earlier, later):
            yield found


def run_findings(points: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """What the lines of a run's metrics.jsonl say: of training (`loss`), of validation (`val_loss`), of `generation`.

    A metric that never moved while training loss did, collapse while loss fell, and ever fewer different tokens. What a
    training's steps themselves say is found by its watch (training/watch.py), which sees every step.
    """
    lines = list(points)
    validation = [(int(line["tokens"]), float(line["val_loss"])) for line in lines if "val_loss" in line]
    probes = generation_probes(lines)

    def training(tokens: Sequence[int]) -> list[float]:
        """Training losses between the first and the last of these."""
        return [float(x["loss"]) for x in lines if "loss" in x and tokens and tokens[0] <= x["tokens"] <= tokens[-1]]

    found = [
        unmoved("validation loss", [loss for _, loss in validation], training([tokens for tokens, _ in validation])),
        unmoved("entropy of generated tokens", [p.entropy for p in probes], training([p.tokens for p in probes])),
        collapse_while_falling(probes),
        falling_diversity(probes),
    ]
    return tuple(filter(None, found))
