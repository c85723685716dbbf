"""Files of a trial: its learning curve as a table and as a drawing, and what its model wrote. Rendered from its record.

They are data and nothing else: a drawing holds numbers alone, and text is served as plain text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from autonas.arch import spec_text
from autonas.reporting.generations import degenerate, printable
from autonas.reporting.quantities import tokens_text
from autonas.reporting.scales import Scale
from autonas.trial import TrialRecord

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 700.0, 34.0, 356.0
_CURVE_COLUMNS: Final = ("rung", "tokens", "training_loss", "validation_loss", "validation_low", "validation_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFile:
    """A file that a trial may have."""

    name: str
    type: str  # as HTTP's Content-Type says it
    render: Callable[[TrialRecord], str]
    is_there: Callable[[TrialRecord], bool]


def curve_csv(trial: TrialRecord) -> str:
    """Losses in nats per token by tokens shown: the training's on the way, and at a rung the validation's with its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CURVE_COLUMNS)
    for outcome in trial.rungs:
        writer.writerows((outcome.rung, tokens, f"{loss:.6g}", "", "", "") for tokens, loss in outcome.curve)
        if (score := outcome.scores.get("val_loss")) is not None:
            values = (f"{value:.6g}" for value in (score.value, score.low, score.high))
            writer.writerow((outcome.rung, outcome.tokens, "", *values))
    return text.getvalue()


def curve_svg(trial: TrialRecord) -> str:
    """The same as a drawing, tokens on a logarithmic axis: a line of training and a diamond of validation for each rung."""
    points = [(float(tokens), loss) for outcome in trial.rungs for tokens, loss in outcome.curve if tokens > 0]
    scored = [(outcome, score) for outcome in trial.rungs if (score := outcome.scores.get("val_loss")) is not None]
    ends = [value for _, score in scored for value in (score.low, score.high)]
    across = Scale.over([*(x for x, _ in points), *(float(o.tokens) for o, _ in scored)], _LEFT, _RIGHT, log=True, margin=0.02)
    up = Scale.over([*(y for _, y in points), *ends], _BOTTOM, _TOP, margin=0.04)
    parts = [*_axes(across, up)]
    for outcome in trial.rungs:
        line = " ".join(f"{across.at(float(tokens)):g},{up.at(loss):g}" for tokens, loss in outcome.curve if tokens > 0)
        dash = ' stroke-dasharray="5 3"' if outcome.rung % 2 else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="#0a5c9c" stroke-width="1.5"{dash}/>')
    for outcome, score in scored:
        x, y, low, high = across.at(float(outcome.tokens)), up.at(score.value), up.at(score.low), up.at(score.high)
        parts.append(f'<path d="M{x:g} {low:g}V{high:g}" stroke="#b3430a" stroke-width="1.5"/>')
        parts.append(f'<path d="M{x:g} {y - 5:g}l5 5l-5 5l-5 -5z" fill="#b3430a"/>')
        parts.append(f'<text x="{x - 8:g}" y="{y - 8:g}" text-anchor="end" fill="#b3430a">{score.value:.3f}</text>')
    title = f"Trial {trial.number}: loss in nats per token by tokens shown. Line: training. Diamond: validation, 95 % interval."
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    head = [f'{frame} role="img" font-family="sans-serif" font-size="12">', f"<title>{title}</title>"]
    head += ['<rect width="100%" height="100%" fill="#fffffb"/>', f'<text x="{_LEFT:g}" y="18" fill="#1c1c1a">{title}</text>']
    return "\n".join([*head, *parts, "</svg>", ""])


def samples_text(trial: TrialRecord) -> str:
    """What the model wrote at the last rung that asked for it, prompt by prompt, with the detectors that fired on it."""
    outcome = next(outcome for outcome in reversed(trial.rungs) if outcome.samples)
    bad = sum(degenerate(sample.detectors) for sample in outcome.samples)
    made = "" if trial.spec is None else f": {spec_text(trial.spec)}"
    lines = [f"Trial {trial.number}{made}", f"Rung {outcome.rung}, after {tokens_text(outcome.tokens)} tokens."]
    lines += [f"{bad} of {len(outcome.samples)} samples are degenerate. A line of │ is the prompt's, one of ┃ the model's."]
    for number, sample in enumerate(outcome.samples, 1):
        verdict = f"DEGENERATE ({', '.join(sample.detectors)})" if degenerate(sample.detectors) else "passes"
        lines += ["", f"── {number} · {sample.kind.replace('_', '-')} · {printable(verdict)}"]
        lines += [f"│ {line}" for line in _lines(sample.prompt)]
        lines += [f"┃ {line}" for line in _lines(sample.text)]
    return "\n".join([*lines, ""])


FILES: Final[Sequence[TrialFile]] = (
    TrialFile(
        name="curve.svg",
        type="image/svg+xml",
        render=curve_svg,
        is_there=lambda trial: bool(trial.rungs),
    ),
    TrialFile(
        name="curve.csv",
        type="text/csv; charset=utf-8",
        render=curve_csv,
        is_there=lambda trial: bool(trial.rungs),
    ),
    TrialFile(
        name="samples.txt",
        type="text/plain; charset=utf-8",
        render=samples_text,
        is_there=lambda trial: any(outcome.samples for outcome in trial.rungs),
    ),
)


def _lines(text: str) -> list[str]:
    # Not splitlines(): a line of the model's ends where \n is, whatever else it wrote.
    return printable(text).split("\n")


def _axes(across: Scale, up: Scale) -> list[str]:
    lines = [f'<path d="M{_LEFT:g} {_TOP:g}V{_BOTTOM:g}H{_RIGHT:g}" fill="none" stroke="#5c5b55"/>']
    for tick in across.ticks("tokens", 6):
        lines.append(f'<path d="M{tick.at:g} {_BOTTOM:g}v5" stroke="#5c5b55"/>')
        lines.append(f'<text x="{tick.at:g}" y="{_BOTTOM + 19:g}" text-anchor="middle" fill="#5c5b55">{tick.text}</text>')
    for tick in up.ticks("", 6):
        lines.append(f'<path d="M{_LEFT:g} {tick.at:g}H{_RIGHT:g}" stroke="#eceae1"/>')
        lines.append(f'<text x="{_LEFT - 6:g}" y="{tick.at + 4:g}" text-anchor="end" fill="#5c5b55">{tick.text}</text>')
    lines.append(f'<text x="{_RIGHT:g}" y="{_HEIGHT - 8}" text-anchor="end" fill="#5c5b55">tokens shown</text>')
    return lines
