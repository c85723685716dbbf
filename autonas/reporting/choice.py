"""What a reader needs to choose from the front by limits and weights, and to see how sure the choice is.

The rule is that of promotion/select.py, whose docstring has the formula: a page works it out anew at every move of a slider.
How sure: the same rule in joint draws of what the front's true values are likely to be (uncertainty.py), in which a trial may
turn out beyond a limit, or nearer to the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from autonas.reporting import history, uncertainty
from autonas.reporting.report import Report

# Numbers in all, which are what this takes of a page: for a front of 15 with three uncertain objectives 400 draws, whose shares
# have a standard error of 2.5 % at most; for one of 60 a hundred, with 5 %.
_NUMBERS = 18_000
_MOST_DRAWS, _LEAST_DRAWS = 400, 100
_DIGITS = 4  # of a draw
_STEP_DIGITS = 5  # of a limit


def choice_data(report: Report) -> dict[str, Any] | None:
    """JSON-ready: the front's trials, their values in the objectives, and draws of these; None without a front.

    `scores` (F, K) are in the objectives' units and `values` (F, K) as compared, both to the last digit, since limits are held
    against them; `steps` are each objective's limits that make a difference, as a command takes them; `draws` (B, F, K), flat,
    are as compared, of the objectives in `drawn`, since the others are exact.
    """
    front = report.front
    if not front:
        return None
    trials = [standing.trial for standing in report.standings]
    at = [i for i, standing in enumerate(report.standings) if standing.on_front]
    drawn = [
        i
        for i, o in enumerate(report.objectives)
        if any(s.trial.scores[o.name].low < s.trial.scores[o.name].high for s in front)
    ]
    count = min(max(_NUMBERS // (len(front) * max(len(drawn), 1)), _LEAST_DRAWS), _MOST_DRAWS) if drawn else 0
    draws: list[float] = []
    if count:
        found = uncertainty.draw_scores(trials, report.objectives, report.seed_noise, count)[:, at]
        draws = _short(history.compared(found, report.objectives)[:, :, drawn].ravel())
    scores = [[standing.trial.scores[o.name].value for o in report.objectives] for standing in front]
    return {
        "trials": [standing.number for standing in front],
        "scores": scores,
        "values": history.values([standing.trial for standing in front], report.objectives).tolist(),
        "steps": [limit_steps([row[k] for row in scores]) for k in range(len(report.objectives))],
        "drawn": drawn,
        "num_draws": count,
        "draws": draws,
    }


def limit_steps(values: Sequence[float]) -> list[str]:
    """Limits that admit one more of these values each, rising: the values with few digits, never below themselves."""
    return [format(step, "f") for step in sorted({_rounded_up(value) for value in values})]


def _rounded_up(value: float) -> Decimal:
    """A whole number as it is; others with five digits, up where those would be below."""
    if float(value).is_integer():
        return Decimal(int(value))
    step = Decimal(f"{value:.{_STEP_DIGITS - 1}e}")
    if float(step) < value:
        step += Decimal(1).scaleb(step.adjusted() - _STEP_DIGITS + 1)
    return step.normalize()


def _short(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
