"""What a model writes against how well it predicts: generation that collapses, or runs out of words, while loss falls.

The looks of a run (generation_probe.py) ask the same prompts with the same random numbers, and are paired by prompt. The last
is held against every earlier one by an exact test; a run has a chance of `FALSE_ALARM` in all of a wrong alarm. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autonas.evaluation.rates import sign_flip_p_value
from autonas.trial import Finding, Outcome, Score

FALSE_ALARM: Final = 0.01
LEAST_RISE: Final = 0.15  # of the share of degenerate samples
# Of real text's share of different tokens. Five honest runs of 20 K to 4 M tokens were at .75 to 1.06 from 60 K tokens on; one
# that writes commas and names in turn, at .5.
LEAST_VARIETY: Final = 0.7
_RATES: Final = ("degeneration", "collapse_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationProbe:
    """One look, as `generation_probe` writes it, and the validation loss of that moment."""

    tokens: int  # shown by then
    loss: float
    degenerate: str  # 0 or 1 for each prompt; empty where it is not known what real continuations are like
    variety: tuple[float | None, ...]  # share of different tokens for each prompt; None for hardly any tokens
    real_variety: float | None  # of real text
    entropy: float
    text: str


def generation_probes(points: Iterable[Mapping[str, Any]]) -> list[GenerationProbe]:
    """The looks among the lines of a run's metrics, each with the validation loss before it; those without one are left out."""
    found, loss = [], None
    for point in points:
        loss = point.get("val_loss", loss)
        look = point.get("generation")
        if look is not None and loss is not None:
            found.append(
                GenerationProbe(
                    tokens=int(point["tokens"]),
                    loss=float(loss),
                    degenerate=str(look.get("hits", "")),
                    variety=tuple(look["variety"]),
                    real_variety=look["real"]["distinct_1"],
                    entropy=float(look["entropy"]),
                    text=str(look["sample"]["text"]),
                )
            )
    return found


def collapse_while_falling(probes: Sequence[GenerationProbe]) -> Finding | None:
    """An alarm where the last look has a lower loss than an earlier one, and more degenerate samples by more than chance."""
    if len(probes) < 2 or not probes[-1].degenerate:
        return None
    last, allowed = probes[-1], FALSE_ALARM / (len(probes) - 1)
    worst: tuple[float, GenerationProbe, float] | None = None
    for earlier in probes[:-1]:
        if len(earlier.degenerate) != len(last.degenerate) or last.loss >= earlier.loss:
            continue
        changes = [int(b) - int(a) for a, b in zip(earlier.degenerate, last.degenerate, strict=True)]
        rise, p_value = sum(changes) / len(changes), sign_flip_p_value(changes)
        if rise >= LEAST_RISE and p_value < allowed and (worst is None or rise > worst[0]):
            worst = (rise, earlier, p_value)
    if worst is None:
        return None
    _, earlier, p_value = worst
    count = len(last.degenerate)
    text = (
        f"from {earlier.tokens:,} to {last.tokens:,} tokens validation loss fell from {earlier.loss:.3f} to {last.loss:.3f}, "
        f"and degenerate samples rose from {earlier.degenerate.count('1')} to {last.degenerate.count('1')} of {count} "
        f"(paired, p = {p_value:.1g}). It writes: {last.text[:80]!r}"
    )
    return Finding(check="collapse_while_falling", severity="alarm", text=text)


def falling_diversity(probes: Sequence[GenerationProbe]) -> Finding | None:
    """An alarm where samples have fewer different tokens than at an earlier look and far fewer than real text."""
    if len(probes) < 2:
        return None
    last, allowed = probes[-1], FALSE_ALARM / (len(probes) - 1)
    for earlier in probes[:-1]:
        pairs = [(a, b) for a, b in zip(earlier.variety, last.variety, strict=False) if a is not None and b is not None]
        if not pairs or last.real_variety is None:
            continue
        before, after = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        p_value = sign_flip_p_value([(b > a) - (b < a) for a, b in pairs])  # of signs alone: the exact sign test
        if after < before and after < LEAST_VARIETY * last.real_variety and p_value < allowed:
            text = (
                f"from {earlier.tokens:,} to {last.tokens:,} tokens the share of different tokens in a sample fell from "
                f"{before:.2f} to {after:.2f} (same prompts, p = {p_value:.1g}); real text has {last.real_variety:.2f}. It "
                f"writes: {last.text[:80]!r}"
            )
            return Finding(check="diversity", severity="alarm", text=text)
    return None


def collapse_between_rungs(earlier: Outcome, later: Outcome) -> Finding | None:
    """As `collapse_while_falling`, of two rungs of a trial: the later one's rate is above the earlier's, intervals and all.

    By degeneration where both have it, else by the collapse rate: this one rises at first in honest trainings too, since an
    untrained model does not repeat itself, and is told as a note.
    """
    losses = [outcome.scores.get("val_loss") for outcome in (earlier, later)]
    if losses[0] is None or losses[1] is None or losses[1].value >= losses[0].value:
        return None
    name = common_rate(earlier, later)
    if name is None or not apart(earlier.scores[name], later.scores[name]):
        return None
    before, after = earlier.scores[name], later.scores[name]
    text = (
        f"between {earlier.tokens:,} and {later.tokens:,} tokens validation loss fell from {losses[0].value:.3f} to "
        f"{losses[1].value:.3f}, and {name.replace('_', ' ')} rose from {_percent(before)} to {_percent(after)}"
    )
    return Finding(check="collapse_while_falling", severity="alarm" if name == "degeneration" else "note", text=text)


def common_rate(earlier: Outcome, later: Outcome) -> str | None:
    """The rate by which `collapse_between_rungs` holds two outcomes against each other; None where they share none."""
    return next((name for name in _RATES if name in earlier.scores and name in later.scores), None)


def apart(lower: Score, higher: Score) -> bool:
    """Whether two measured rates are told apart: their 95 % intervals do not meet, which chance does in 1 of 360 pairs."""
    return higher.low > lower.high


def _percent(score: Score) -> str:
    return f"{score.value:.1%} ({score.low:.1%} to {score.high:.1%})"
