"""The front as a small table of HTML for notebooks: whole in itself, without scripts, and with every text in it escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from autonas.reporting.columns import visible
from autonas.reporting.quantities import interval_text, probability_text, score_text, spec_text
from autonas.reporting.report import Report, Standing

_LEFT, _RIGHT = (f"padding:2px 8px;text-align:{side}" for side in ("left", "right"))


def front_table(report: Report, standings: Sequence[Standing]) -> str:
    """These trials: scores with their 95 % intervals, probability of being on the front, seeds, architecture."""
    heads = ["trial", *(f"{o.name}, {o.unit}" for o in report.objectives), "P(front)", "seeds", "architecture"]
    rows = ["".join(f'<th style="{_LEFT}">{_escaped(head)}</th>' for head in heads)]
    for standing in standings:
        scores = [standing.trial.scores[objective.name] for objective in report.objectives]
        cells = [f"{standing.number}{' (knee)' if standing.is_knee else ''}"]
        cells += [f"{score_text(s)} ({interval_text(s)})" if s.low < s.high else score_text(s) for s in scores]
        cells += [probability_text(standing.probability), str(standing.trial.seeds)]
        numbers = "".join(f'<td style="{_RIGHT}">{_escaped(cell)}</td>' for cell in cells)
        rows.append(f'{numbers}<td style="{_LEFT}">{_escaped(spec_text(standing.trial.spec))}</td>')
    told = f"Front of {report.study.name}: {len(standings)} of {len(report.front)} trials; parentheses: 95 % interval"
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table><caption style="text-align:left">{_escaped(told)}</caption>{body}</table>'


def _escaped(text: str) -> str:
    return html.escape(visible(text))
