"""Where a full run stands, from its folder alone, while it runs and after: its page, `status` and the live view show it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec
from autonas.errors import StudyError
from autonas.reporting.charts import Frame
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.reporting.scales import Scale
from autonas.run_folder import read_curve, read_job, run_state, run_tokens, step_tokens

_WIDTH, _HEIGHT, _POINTS = 560, 270, 250
# Losses at the beginning would press the rest of the curve into a corner: it enters at the top.
_SHOWN_FROM = 0.02
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
    """What the model wrote on the way: the share of degenerate (or collapsed) samples, and one of them."""

    tokens: int
    rate: float
    prompt: str
    text: str
    collapsed: bool  # any of the samples


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSoFar:
    """A run's way. `losses` are (tokens, training loss); `rollbacks` (tokens, why); `latest` the last line of training."""

    spec: ArchSpec
    ended: bool
    tokens: int
    total_tokens: int  # of a tuning, whose examples differ in length, as its steps so far tell
    steps: int
    total_steps: int
    losses: tuple[tuple[int, float], ...]
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
        probes=tuple(Probe(tokens=p["tokens"], value=p[loss], low=p[low], high=p[high]) for p in points if loss in p),
        looks=tuple(_look(point["tokens"], point["generation"]) for point in points if "generation" in point),
        rollbacks=tuple((point["tokens"], str(point["rollback"])) for point in points if "rollback" in point),
        latest=latest,
    )


def _look(tokens: int, look: Mapping[str, Any]) -> Look:
    sample = look.get("sample") or {}
    rate = look.get("degeneration", look.get("collapse_rate", 0.0))
    return Look(
        tokens=tokens,
        rate=rate,
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
    if so_far.latest:
        facts.append(("speed", f"{scaled_text(so_far.latest['tokens_per_s'])} tokens/s"))
        facts.append(("learning rate", f"{so_far.latest['learning_rate']:.2g}"))
        facts.append(("gradient norm", f"{so_far.latest['gradient_norm']:.2f}"))
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


def training_figure(so_far: RunSoFar) -> dict[str, Any] | None:
    """Training and validation loss over tokens as coordinates; None before the first lines."""
    if len(so_far.losses) < 2:
        return None
    shown = [loss for tokens, loss in so_far.losses if tokens >= _SHOWN_FROM * so_far.tokens] or [so_far.losses[-1][1]]
    values = shown + [bound for probe in so_far.probes for bound in (probe.low, probe.high)]
    across = Scale(low=0.0, high=float(so_far.total_tokens), start=46.0, end=_WIDTH - 16.0)
    up = Scale.over(values, _HEIGHT - 36.0, 24.0, margin=0.04)
    losses = _thinned([(tokens, loss) for tokens, loss in so_far.losses if loss <= up.high])
    places = [(across.at(probe.tokens), up.at(probe.low), up.at(probe.value), up.at(probe.high)) for probe in so_far.probes]
    best = so_far.best
    return {
        "frame": Frame(
            width=_WIDTH,
            height=_HEIGHT,
            left=46,
            right=_WIDTH - 16,
            top=24,
            bottom=_HEIGHT - 36,
            x_title="tokens shown",
            y_title="Loss, nats per token",
            x_ticks=across.ticks("tokens", 5),
            y_ticks=up.ticks("", 6),
        ),
        "training": _path([(across.at(tokens), up.at(loss)) for tokens, loss in losses]),
        "validation": _path([(x, y) for x, _, y, _ in places]),
        "band": _path([(x, y) for x, y, _, _ in places] + [(x, y) for x, _, _, y in reversed(places)]) + "Z" if places else "",
        "best": None if best is None else (across.at(best.tokens), up.at(best.value)),
        "rollbacks": [across.at(tokens) for tokens, _ in so_far.rollbacks],
    }


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most some hundred points, each the mean of a stretch: a single step's loss is noise."""
    size = -(-len(points) // _POINTS) or 1
    stretches = [points[first : first + size] for first in range(0, len(points), size)]
    return [(stretch[-1][0], sum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches]


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places) if places else ""
