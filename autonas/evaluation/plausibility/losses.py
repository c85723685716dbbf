"""Losses that cannot be what they are said to be: too low for an honest model, below training loss, or unmoved. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autonas.evaluation.intervals import t_quantile
from autonas.trial import Finding, Score

# Shares of a baseline's nats on the same tokens below which no honest model came. Of a bigram model's, tiny models had .78 to
# 1.2, and 29 M parameters after 410 M tokens (1.9 nats, where bigrams have about 4) have .48; a leaked model had .01.
LEAK_SHARE: Final = 0.4
# Of xz's with training text in front: .98 and more, .5 (0.8 bits a byte against 1.6), and .01.
COMPRESSION_SHARE: Final = 0.3
_FLOORS: Final = {"bigram": (LEAK_SHARE, "a bigram model's"), "compression": (COMPRESSION_SHARE, "a compressor's")}
# Of 26 honest models after 4 K to 4 M tokens the gap beyond the texts' own was -.14 to .29 nats, with errors of .03 to .07.
LEAST_GAP: Final = 0.1  # nats below 0
WIDE_GAP: Final = 0.5  # nats above 0 that want an explanation
_ERRORS: Final = 3.5  # a chance of 1 in 4,000 for each trial: studies have hundreds
STILL_PROBES: Final = 5
_STILL: Final = 1e-6  # of the value: rounding
_MOVES: Final = 1e-3  # nats


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Validation and training loss measured alike, in nats per token, and how much of their difference the texts explain."""

    validation: float
    training: float  # on windows that the model was shown, in evaluation mode and unsmoothed
    control: float  # validation less training of a model of counts, fitted on other windows that were shown, that knows as much
    excess: float  # (validation − training) − control
    error: float  # standard error of the excess
    tokens: int  # of training text that were scored
    freedom: int  # of the error: one less than the documents, or the clusters of windows, whichever are fewer

    @property
    def score(self) -> Score:
        """The excess with its interval, for an outcome's scores."""
        reach = t_quantile(self.freedom) * self.error
        return Score(
            value=self.excess,
            low=self.excess - reach,
            high=self.excess + reach,
            unit="nats/token",
            n=self.freedom + 1,
            note=f"validation {self.validation:.3f} less training {self.training:.3f}, less {self.control:+.3f} by counts",
        )

    @property
    def text(self) -> str:
        """For an outcome's checks."""
        return (
            f"validation {self.validation:.3f} less training {self.training:.3f}: "
            f"{self.excess:+.3f} ± {t_quantile(self.freedom) * self.error:.3f} nats (95 %) beyond what the texts explain"
        )


def loss_floor(val_loss: float, baselines: Mapping[str, float]) -> Finding | None:
    """An alarm for a validation loss (nats per token) below what `baselines` on the same tokens leave possible.

    Looked at are "bigram" and "compression", where they are there.
    """
    below = [
        f"{val_loss / nats:.0%} of {whose} {nats:.2f} (below {share:.0%} is not believed)"
        for name, (share, whose) in _FLOORS.items()
        if (nats := baselines.get(name, 0.0)) > 0.0 and val_loss < share * nats
    ]
    if not below:
        return None
    text = (
        f"validation loss is {val_loss:.4f} nats a token, {' and '.join(below)} on the same tokens. Targets leak into the "
        "input, or validation text into training"
    )
    return Finding(check="loss_floor", severity="alarm", text=text)


def gap_finding(gap: Gap) -> Finding | None:
    """An alarm where validation loss is below training loss and neither texts nor chance explain it; a note for a wide gap."""
    reach = _reach(gap.freedom) * gap.error
    values = (
        f"validation loss {gap.validation:.3f} and training loss {gap.training:.3f} nats, both without dropout and unsmoothed, "
        f"differ by {gap.validation - gap.training:+.3f}; by {gap.control:+.3f} the texts explain it, and {gap.excess:+.3f} "
        f"± {gap.error:.3f} is left"
    )
    if gap.excess < -(LEAST_GAP + reach):
        text = f"{values}. A model is no better at what it was not shown: what was scored is not held out, or not scored"
        return Finding(check="gap", severity="alarm", text=text)
    if gap.excess > WIDE_GAP + reach:
        text = f"{values}. It has learnt its training text by heart, or validation text is of another kind"
        return Finding(check="gap", severity="note", text=text)
    return None


def _reach(freedom: int) -> float:
    """The point of Student's t that is passed as seldom as `_ERRORS` by a normal (Abramowitz & Stegun 26.7.5)."""
    z = _ERRORS
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def unmoved(name: str, values: Sequence[float], training_losses: Sequence[float]) -> Finding | None:
    """An alarm where at least five measurements of `name` are one number while the training loss around them moves."""
    if len(values) < STILL_PROBES or len(training_losses) < 2:
        return None
    spread, moved = max(values) - min(values), max(training_losses) - min(training_losses)
    if spread > _STILL * max(abs(max(values)), abs(min(values))) or moved < _MOVES:
        return None
    text = (
        f"{name} was {values[-1]:.6g} in all of {len(values)} measurements while training loss moved by {moved:.2g} nats: "
        "it does not measure this model"
    )
    return Finding(check="constant", severity="alarm", text=text)
