"""Where a full run stands, from its folder alone, while it runs and after: its page, `status` and the live view show it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec
from autonas.curriculum import Stage
from autonas.data.stages import stage_edges
from autonas.errors import StudyError
from autonas.evaluation.rates import wilson_interval
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.run_folder import read_curve, read_job, run_state, run_tokens, step_tokens
from autonas.trial import Job

SHOWN_POINTS = 400  # of a line of training: more than a wall is wide would hide what each of them is
SERIES = ("loss", "learning_rate", "gradient_norm", "tokens_per_s")
_SOLUTIONS = ("solution_loss", "solution_low", "solution_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A validation on the way, in nats per token with its 95 % interval."""

    tokens: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the model wrote on the way: the share of degenerate (or collapsed) samples, and one of them.

    `low` and `high` are Wilson's 95 % interval; None where the line does not say how many samples there were.
    """

    tokens: int
    rate: float
    low: float | None
    high: float | None
    samples: int | None
    detector: str  # "degenerate", or "collapsed" where there is nothing to compare with
    prompt: str
    text: str
    collapsed: bool  # any of the samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Lines of training that are one point of a drawing: their mean, and the least and the greatest of them."""

    tokens: int  # at its end
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpan:
    """A stage of a run's curriculum, in tokens of the run, with what it shows in words."""

    number: int
    begins: int
    ends: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSoFar:
    """A run's way. `losses` are (tokens, training loss); `rollbacks` (tokens, why); `latest` the last line of training.

    `series` has the lines' other numbers by name, each with its tokens; a name that no line has is not there.
    """

    spec: ArchSpec
    ended: bool
    tokens: int
    total_tokens: int  # of a tuning, whose examples differ in length, as its steps so far tell
    steps: int
    total_steps: int
    losses: tuple[tuple[int, float], ...]
    series: Mapping[str, tuple[tuple[int, float], ...]]
    stages: tuple[StageSpan, ...]  # none: one text from beginning to end
    cooldown_from: int | None  # tokens; None where there is none
    judged_by: str  # what the validation losses are of
    probes: tuple[Probe, ...]
    looks: tuple[Look, ...]
    rollbacks: tuple[tuple[int, str], ...]
    latest: Mapping[str, float]

    @property
    def best(self) -> Probe | None:
        return min(self.probes, key=lambda probe: probe.value, default=None)

    @property
    def share(self) -> float:
        return min(self.steps / self.total_steps, 1.0) if self.total_steps else 1.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest of the training takes at the latest speed; None where none is known."""
        speed = self.latest.get("tokens_per_s", 0.0)
        return (self.total_tokens - self.tokens) / speed if speed > 0 and not self.ended else None


def run_so_far(run: Path) -> RunSoFar:
    """Read a run's folder.

    Raises:
        StudyError: there is no run, or its record cannot be read.
    """
    if run_state(run) == "absent":
        raise StudyError(f"{run}: is no run. `autonas promote STUDY` and `autonas train --spec FILE` make one.")
    job = read_job(run)
    points = [point for point in read_curve(run) if isinstance(point.get("tokens"), int)]
    trained = [point for point in points if "loss" in point]
    latest = {name: float(value) for name, value in trained[-1].items() if value is not None} if trained else {}
    ended, tokens = run_state(run) == "ended", max((point["tokens"] for point in points), default=0)
    if job.tuning is None:
        total, each = run_tokens(job), max(step_tokens(job.spec, job.training), 1)
        steps, total_steps = tokens // each, total // each
    else:
        steps, total_steps = max((int(point.get("step", 0)) for point in points), default=0), job.tuning.steps
        total = tokens if ended or not steps else round(tokens * total_steps / steps)
    # A tuning is judged by the solutions that were set aside.
    loss, low, high = ("val_loss", "val_low", "val_high") if job.tuning is None else _SOLUTIONS
    return RunSoFar(
        spec=job.spec,
        ended=ended,
        tokens=tokens,
        total_tokens=total,
        steps=steps,
        total_steps=total_steps,
        losses=tuple((point["tokens"], float(point["loss"])) for point in trained),
        series=_series(trained),
        stages=_stages(job),
        cooldown_from=job.budget.tokens if job.tuning is None and job.budget.cooldown_tokens else None,
        judged_by="validation text" if job.tuning is None else "solutions that were set aside",
        probes=tuple(Probe(tokens=p["tokens"], value=p[loss], low=p[low], high=p[high]) for p in points if loss in p),
        looks=tuple(_look(point["tokens"], point["generation"]) for point in points if "generation" in point),
        rollbacks=tuple((point["tokens"], str(point["rollback"])) for point in points if "rollback" in point),
        latest=latest,
    )


def _look(tokens: int, look: Mapping[str, Any]) -> Look:
    sample = look.get("sample") or {}
    rate = look.get("degeneration", look.get("collapse_rate", 0.0))
    # One character for each sample: whether it was.
    count = len(look.get("hits" if "degeneration" in look else "collapsed") or "")
    low, high = wilson_interval(rate, count) if count else (None, None)
    return Look(
        tokens=tokens,
        rate=rate,
        low=low,
        high=high,
        samples=count or None,
        detector="degenerate" if "degeneration" in look else "collapsed",
        prompt=sample.get("prompt", ""),
        text=sample.get("text", ""),
        collapsed=rate > 0,
    )


def facts_of(so_far: RunSoFar) -> list[tuple[str, str]]:
    """Where it stands, in words."""
    steps = f"step {so_far.steps:,} of {so_far.total_steps:,}"
    facts = [("trained", f"{so_far.share:.0%}: {tokens_text(so_far.tokens)} tokens, {steps}")]
    if so_far.left_s is not None:
        facts.append(("left", f"about {duration_text(so_far.left_s)}, if it goes on"))
    if so_far.losses:
        facts.append(("training loss", f"{so_far.losses[-1][1]:.3f} nats per token"))
    if so_far.best is not None:
        last = so_far.probes[-1]
        facts.append(("validation loss", f"{last.value:.3f} ({last.low:.3f}–{last.high:.3f}) on the way's subset"))
        facts.append(("lowest so far", f"{so_far.best.value:.3f} after {tokens_text(so_far.best.tokens)} tokens"))
    if so_far.looks:
        facts.append(("degenerate samples", f"{so_far.looks[-1].rate:.0%} at the last of {len(so_far.looks)} looks"))
    latest = so_far.latest
    if "tokens_per_s" in latest:
        facts.append(("speed", f"{scaled_text(latest['tokens_per_s'])} tokens/s"))
    if "learning_rate" in latest:
        facts.append(("learning rate", f"{latest['learning_rate']:.2g}"))
    if "gradient_norm" in latest:
        facts.append(("gradient norm", f"{latest['gradient_norm']:.2f}"))
    facts.append(("rollbacks", str(len(so_far.rollbacks)) if so_far.rollbacks else "none"))
    return facts


def run_json(so_far: RunSoFar) -> dict[str, Any]:
    """Where it stands, for programs: tokens, losses in nats per token, seconds."""
    return {
        "tokens": so_far.tokens,
        "total_tokens": so_far.total_tokens,
        "loss": so_far.losses[-1][1] if so_far.losses else None,
        "val_loss": so_far.probes[-1].value if so_far.probes else None,
        "lowest_val_loss": so_far.best.value if so_far.best is not None else None,
        "degeneration": so_far.looks[-1].rate if so_far.looks else None,
        "rollbacks": len(so_far.rollbacks),
        "left_s": so_far.left_s,
    }


def prediction_lines(run: Path, evaluation: Mapping[str, Any]) -> list[str]:
    """What was predicted of a promoted run before it began, and when it has ended whether that held."""
    checked = evaluation.get("prediction_check")
    if isinstance(checked, Mapping):
        return [f"{name} {each['text']}" for name, each in checked.items()]
    try:
        return [str(json.loads((run / "prediction.json").read_text(encoding="utf-8"))["text"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def series_text(so_far: RunSoFar, name: str) -> str:
    """What a series of the run's lines says, in a sentence; why there is none where there is none."""
    points = so_far.series.get(name, ())
    if len(points) < 2:
        begun = "the lines of this run do not hold it: it was not recorded" if so_far.losses else "nothing is written yet"
        return f"Cannot be told: {begun}." if not points else "There is a single line of it so far."
    at, top = max(points, key=lambda point: point[1])
    values = sorted(value for _, value in points)
    middle, last = values[len(values) // 2], points[-1][1]
    write = scaled_text if name == "tokens_per_s" else "{:.3g}".format
    return f"Median {write(middle)}, at the end {write(last)}, greatest {write(top)} after {tokens_text(at)} tokens."


def look_rows(so_far: RunSoFar) -> list[tuple[str, ...]]:
    """The looks in cells of text: tokens, samples, share, interval, what was counted."""
    return [
        (
            tokens_text(look.tokens),
            "not recorded" if look.samples is None else str(look.samples),
            f"{look.rate:.0%}",
            "–" if look.low is None or look.high is None else f"{100 * look.low:.0f}–{100 * look.high:.0f} %",
            look.detector,
        )
        for look in so_far.looks
    ]


def thinned(points: Sequence[tuple[int, float]], most: int = SHOWN_POINTS) -> tuple[Stretch, ...]:
    """At most so many stretches of equally many lines, the last of which may be shorter: a single step's loss is noise."""
    size = -(-len(points) // most) or 1
    stretches = [points[first : first + size] for first in range(0, len(points), size)]
    return tuple(
        Stretch(
            tokens=stretch[-1][0],
            mean=sum(value for _, value in stretch) / len(stretch),
            low=min(value for _, value in stretch),
            high=max(value for _, value in stretch),
        )
        for stretch in stretches
    )


def _series(trained: Sequence[Mapping[str, Any]]) -> dict[str, tuple[tuple[int, float], ...]]:
    """What the lines of training hold, by name: a line without a number, or with none that is finite, has no point."""
    found = {}
    for name in SERIES:
        points = [(point["tokens"], point.get(name)) for point in trained]
        kept = tuple((at, float(value)) for at, value in points if isinstance(value, int | float) and math.isfinite(value))
        if kept:
            found[name] = kept
    return found


def _stages(job: Job) -> tuple[StageSpan, ...]:
    """Where the stages of the run's curriculum begin and end; none without one, or with a single one."""
    if job.curriculum is None or len(job.curriculum.stages) < 2 or job.tuning is not None:
        return ()
    context, stages = job.spec.context_length, job.curriculum.stages
    edges = stage_edges([stage.share for stage in stages], max(-(-run_tokens(job) // context), len(stages)))
    return tuple(
        StageSpan(number=number, begins=first * context, ends=last * context, text=_stage_text(stage))
        for number, (stage, first, last) in enumerate(zip(stages, edges[:-1], edges[1:], strict=True), 1)
    )


def _stage_text(stage: Stage) -> str:
    parts = [", ".join(f"{name} {share:.0%}" for name, share in stage.sources) or "the training split as it is"]
    if stage.is_ranked:
        parts.append(f"difficulty {stage.difficulty[0]:.0%} to {stage.difficulty[1]:.0%}")
    if stage.min_tokens or stage.max_tokens is not None:
        most = "" if stage.max_tokens is None else f" to {stage.max_tokens:,}"
        parts.append(f"documents of {stage.min_tokens:,}{most or ' or more'} tokens")
    return "; ".join(parts)
