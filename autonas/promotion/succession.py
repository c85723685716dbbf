"""When the next candidate takes the place of one whose full run has ended: it diverged, cannot be believed, or collapsed.

What ends a run by no fault of its architecture (no memory, a lost worker, a time limit, the user) is no such reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from autonas.errors import FailureKind, StudyError
from autonas.policy.prediction import Predicted
from autonas.promotion.evidence import SecondLook
from autonas.promotion.prediction import RECORD as PREDICTION
from autonas.promotion.retest import unbelievable_findings
from autonas.run_folder import read_evaluation
from autonas.trial import Finding, Score, from_json

# Of a failed run: another attempt at it, on any machine, would end the same way.
YIELDING: frozenset[FailureKind] = frozenset({"nan", "diverged", "leak"})
_RATES = ("collapse_rate", "degeneration")


def why_next(folder: Path, trial: int, look: SecondLook, limits: Mapping[str, float]) -> str:
    """Why the run that has ended in `folder` makes way for the next candidate, in words; nothing where it does not.

    It is collapsed where the 95 % interval of a rate lies wholly above everything that was to be expected: the upper ends of
    the 95 % intervals of the trial's own rate (study and new trainings) and of the run's prediction; or above the limit that
    the user has set on it.

    Raises:
        StudyError: its evaluation cannot be read.
    """
    evaluation = read_evaluation(folder)
    try:
        scores = {name: from_json(Score, value) for name, value in evaluation["scores"].items()}
        findings = [from_json(Finding, value) for value in evaluation.get("findings", ())]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{folder / 'evaluation.json'}: cannot be read ({error}). Remove it and end the run again with --resume."
        ) from error
    if doubt := unbelievable_findings(findings):
        return f"what was measured cannot be believed: {doubt}"
    predicted = _predicted(folder)
    judged = next(each for each in look.candidates if each.trial == trial)
    for name in _RATES:
        rate = scores.get(name)
        if rate is None:
            continue
        if name in limits and rate.low > limits[name]:
            return f"its {name} is {_rate(rate)}, above the limit of {limits[name]:.1%}"
        ends = []
        if name in judged.scores:
            seen = judged.scores[name]
            ends += [score.high for score in (seen.study, seen.again, seen.together) if score is not None]
        if name in predicted:
            ends.append(predicted[name].intervals[-1].high)
        if ends and rate.low > max(ends):
            return f"it collapsed: its {name} is {_rate(rate)}, and no more than {max(ends):.1%} was to be expected"
    return ""


def _rate(score: Score) -> str:
    return f"{score.value:.1%} (95 %: {score.low:.1%}–{score.high:.1%})"


def _predicted(folder: Path) -> dict[str, Predicted]:
    """What was predicted of the run; nothing where no prediction can be read."""
    try:
        written = json.loads((folder / PREDICTION).read_text(encoding="utf-8"))
        return {name: from_json(Predicted, value) for name, value in written.items() if name != "text"}
    except (OSError, ValueError, AttributeError):
        return {}
