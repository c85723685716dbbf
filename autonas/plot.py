"""A report's figures for notebooks and scripts, as Plotly figures: `autonas.plot.front("quickstart").show()`.

Each function takes a study's name, or what `autonas.read_study` returned, and gives a `plotly.graph_objects.Figure` to show,
change or write (`figure.write_html(...)`). They are those of `autonas report`, on light paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autonas.api import read_study
from autonas.errors import RequestError
from autonas.objective import OBJECTIVES
from autonas.reporting.front import build_report
from autonas.run_folder import TRIALS
from autonas.trial import StudyRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from autonas.reporting.report import Report

Study = str | StudyRecord


def front(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """All pairs of objectives: the front with its 95 % intervals, the knee, and what it dominates.

    Raises:
        StudyError: there is no study of this name.
        RequestError: the study has one objective, or no trial has completed its last rung.
    """
    from autonas.figures.scatter import scatter_matrix

    report = _report(study, storage, out)
    if len(report.objectives) < 2:
        raise RequestError(f"{report.study.name!r} has one objective; a front is drawn between two or more")
    return scatter_matrix(_with_front(report))


def pair(study: Study, across: str, up: str, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """Two objectives against each other, by name: `autonas.plot.pair("quickstart", "params", "val_loss")`.

    Raises:
        StudyError: there is no study of this name.
        RequestError: a name is none of the study's objectives.
    """
    from autonas.figures.scatter import scatter

    report = _report(study, storage, out)
    names = [objective.name for objective in report.objectives]
    for name in (across, up):
        if name not in names:
            raise RequestError(f"{name!r} is no objective of {report.study.name!r}; choose two of {', '.join(names)}")
    return scatter(report, OBJECTIVES[across], OBJECTIVES[up])


def parallel(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """Architectures and scores of the final trials as parallel coordinates; drag along an axis to keep a range.

    Raises:
        StudyError: there is no study of this name.
        RequestError: fewer than two trials have completed the last rung.
    """
    from autonas.figures.parallel import parallel as drawn

    report = _report(study, storage, out)
    if len(report.standings) < 2:
        raise RequestError(f"fewer than two trials of {report.study.name!r} have completed the last rung: nothing to compare")
    return drawn(report)


def _report(study: Study, storage: str | None, out: str | Path) -> Report:
    return build_report(read_study(study, storage=storage, out=out) if isinstance(study, str) else study)


def _with_front(report: Report) -> Report:
    if not report.front:
        raise RequestError(f"no trial of {report.study.name!r} has completed the last rung, so there is no front to draw")
    return report
