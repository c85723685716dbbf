"""Trials as marks of a drawing: what became of each, what is known of it, and which are drawn when there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autonas.arch import ArchSpec
from autonas.reporting.quantities import spec_text, tokens_text
from autonas.reporting.report import Report, Standing
from autonas.trial import Score, TrialRecord

# More of a kind than this are thinned to so many, evenly by number: each is an element of the page in every panel.
MOST_OF_A_KIND = 600
# In the order in which they are drawn: what matters most comes last, on top.
KINDS = ("infeasible", "failed", "live", "stopped", "final", "front", "knee")
SHOWN_AT_FIRST = ("final", "front", "knee")


def kind_of(standing: Standing) -> str:
    """How a final trial is drawn."""
    return "knee" if standing.is_knee else "front" if standing.on_front else "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A trial with what is known of it, as it can be drawn."""

    number: int
    kind: str
    spec: ArchSpec
    where: str  # how far it came, for trials that are not final
    scores: Mapping[str, Score]

    @property
    def text(self) -> str:
        """The architecture in one line."""
        return spec_text(self.spec)


def marks(report: Report) -> list[Mark]:
    """All trials but declared repeats. Trials that are not final have the scores of the last rung they reached."""
    standings = {standing.number: standing for standing in report.standings}
    found = []
    for trial in report.study.trials:
        if trial.repeat_of is not None or trial.spec is None:
            continue
        standing = standings.get(trial.number)
        scores = standing.trial.scores if standing else {**trial.scores, **(trial.rungs[-1].scores if trial.rungs else {})}
        found.append(
            Mark(
                number=trial.number,
                kind=kind_of(standing) if standing else "stopped" if trial.state == "complete" else trial.state,
                spec=trial.spec,
                where="" if standing else _where(trial),
                scores=dict(scores),
            )
        )
    return found


def thinned(found: Sequence[Mark]) -> tuple[list[Mark], dict[str, int]]:
    """At most `MOST_OF_A_KIND` of each kind, the front whole; and how many there were of the kinds that were thinned."""
    kept: list[Mark] = []
    cut: dict[str, int] = {}
    for kind in KINDS:
        own = [mark for mark in found if mark.kind == kind]
        if len(own) > MOST_OF_A_KIND and kind not in ("front", "knee"):
            cut[kind] = len(own)
            own = [own[i * len(own) // MOST_OF_A_KIND] for i in range(MOST_OF_A_KIND)]
        kept += own
    return kept, cut


def _where(trial: TrialRecord) -> str:
    if not trial.rungs:
        return f"{trial.state}, not scored"
    last = trial.rungs[-1]
    return f"{trial.state} at rung {last.rung}, {tokens_text(last.tokens)} tokens: not comparable"
