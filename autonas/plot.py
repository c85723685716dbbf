"""A report's figures for notebooks and scripts, as Plotly figures: `autonas.plot.front("quickstart").show()`.

Each function takes a study's name, or what `autonas.read_study` or `autonas.front` returned, and gives a
`plotly.graph_objects.Figure` to show, change or write (`figure.write_html(...)`). They are those of `autonas report`, on light
paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autonas.api import read_study
from autonas.api.records import Front
from autonas.errors import RequestError
from autonas.objective import OBJECTIVES
from autonas.reporting.front import build_report
from autonas.run_folder import TRIALS, read_evaluation
from autonas.trial import StudyRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from autonas.reporting.report import Report

Study = str | StudyRecord | Front


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


def hypervolume(
    study: Study,
    against: Literal["train_s", "elapsed_s", "tokens"] = "train_s",
    *,
    storage: str | None = None,
    out: str | Path = TRIALS,
) -> go.Figure:
    """The hypervolume after each trial with its 95 % interval, beside random search and with a forecast where they are known.

    `against`: seconds of training by all workers together, seconds since the study began, or tokens trained.

    Raises:
        StudyError: there is no study of this name.
        RequestError: no trial has completed the last rung.
    """
    from autonas.figures.hypervolume import hypervolume as drawn

    return _found(drawn(_report(study, storage, out), against), "no trial has completed the last rung")


def curves(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """Learning curves: training loss, the cooldown of each rung, validation losses, and what counting tokens achieves.

    Raises:
        StudyError: there is no study of this name.
        RequestError: nothing has been trained yet.
    """
    from autonas.figures.curves import curves as drawn

    return _found(drawn(_report(study, storage, out)), "nothing has been trained yet")


def ranks(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """Losses at a rung against those at later ones, with Kendall's τ.

    Raises:
        StudyError: there is no study of this name.
        RequestError: the study has one rung, or no trial has reached a second one.
    """
    from autonas.figures.ranks import ranks as drawn

    return _found(drawn(_report(study, storage, out)), "no trial was scored at two rungs")


def importance(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """How much each dimension of the space matters for each objective, with 95 % intervals.

    Raises:
        StudyError: there is no study of this name.
        RequestError: too few trials to tell.
    """
    from autonas.figures.importance import importance as drawn

    return _found(drawn(_report(study, storage, out)), "too few trials to tell what matters")


def timeline(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """Which worker did what when.

    Raises:
        StudyError: there is no study of this name.
        RequestError: the study was made by a version that did not write down when its jobs ran.
    """
    from autonas.figures.timeline import timeline as drawn

    return _found(drawn(_report(study, storage, out)), "it does not say when its jobs ran")


def cost(study: Study, *, storage: str | None = None, out: str | Path = TRIALS) -> go.Figure:
    """What the time in jobs was spent on: calibration, timing, trials by what became of them, repeats, failures.

    Raises:
        StudyError: there is no study of this name.
        RequestError: no job has run yet.
    """
    from autonas.figures.cost import cost as drawn

    return _found(drawn(_report(study, storage, out)), "no job has run yet")


def compare(*studies: str, storage: str | None = None, out: str | Path = TRIALS) -> dict[str, go.Figure]:
    """The figures of `autonas report A B …` by name: fronts in what may be compared, volumes in one box, what reproduces.

    Raises:
        StudyError: there is no study of a name, fewer than two were named, or one of them twice.
    """
    from autonas.figures.comparison import comparison_figures
    from autonas.reporting.side_by_side import compare as side_by_side

    return dict(comparison_figures(side_by_side([read_study(name, storage=storage, out=out) for name in studies])))


def run(folder: str | Path) -> dict[str, go.Figure]:
    """The figures of a full run's page by name, as far as it has come: losses, learning rate, norms, speed, samples, scores.

    Raises:
        StudyError: there is no run in `folder`, or its files cannot be read.
    """
    from autonas.figures.run import run_figures
    from autonas.reporting.run_facts import final_score, predicted_score
    from autonas.reporting.run_so_far import run_so_far

    values = read_evaluation(Path(folder))
    return dict(run_figures(run_so_far(Path(folder)), values, predicted_score(Path(folder)), final_score(values)))


def _found(figure: go.Figure | None, otherwise: str) -> go.Figure:
    if figure is None:
        raise RequestError(f"there is nothing to draw: {otherwise}")
    return figure


def _report(study: Study, storage: str | None, out: str | Path) -> Report:
    if isinstance(study, Front):
        return study.report
    return build_report(read_study(study, storage=storage, out=out) if isinstance(study, str) else study)


def _with_front(report: Report) -> Report:
    if not report.front:
        raise RequestError(f"no trial of {report.study.name!r} has completed the last rung, so there is no front to draw")
    return report
