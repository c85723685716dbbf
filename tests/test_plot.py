"""Figures for notebooks: by a study's name or its record, and what cannot be drawn is said in words."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest

import autonas
from autonas.errors import RequestError, StudyError
from autonas.reporting.front import build_report
from tests.pages.ledgers import keep
from tests.reporting.runs import CURVE, write_run
from tests.reporting.studies import make_study


def test_figures_are_made_of_a_record() -> None:
    study = make_study()
    front = autonas.plot.front(study)
    assert isinstance(front, go.Figure) and len({trace.xaxis for trace in front.data}) == 6
    assert autonas.plot.front(autonas.front(study)).to_json() == front.to_json()
    for drawn in (autonas.plot.hypervolume, autonas.plot.curves, autonas.plot.ranks, autonas.plot.timeline):
        assert isinstance(drawn(study), go.Figure)
    pair = autonas.plot.pair(study, "params", "val_loss")
    assert pair.layout.xaxis.type == "log" and pair.layout.yaxis.title.text == "Validation loss, nats/token"
    lines = autonas.plot.parallel(study).data[0]
    assert len(lines.line.color) == len(build_report(study).standings)
    assert [axis.label for axis in lines.dimensions][-1] == "Collapse rate"


def test_studies_and_runs_have_figures_too(tmp_path: Path) -> None:
    for seed, name in enumerate(("first", "second")):
        keep(dataclasses.replace(make_study(seed=seed, failures=0, infeasible=0), name=name), tmp_path)
    assert all(isinstance(figure, go.Figure) for figure in autonas.plot.compare("first", "second", out=tmp_path).values())
    with pytest.raises(StudyError, match="named twice"):
        autonas.plot.compare("first", "first", out=tmp_path)
    with pytest.raises(StudyError, match="two studies at least"):
        autonas.plot.compare("first", out=tmp_path)
    assert {"loss", "learning_rate"} <= set(autonas.plot.run(write_run(tmp_path / "run", CURVE)))
    with pytest.raises(StudyError):
        autonas.plot.run(tmp_path / "nowhere")


def test_a_figure_can_be_written_as_a_page_of_its_own(tmp_path: Path) -> None:
    autonas.plot.front(make_study()).write_html(tmp_path / "front.html", include_plotlyjs=False)
    assert "Plotly.newPlot" in (tmp_path / "front.html").read_text()


def test_what_cannot_be_drawn_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no study"):
        autonas.plot.front("nowhere", out=tmp_path)
    with pytest.raises(RequestError, match="one objective"):
        autonas.plot.front(make_study(objectives=("val_loss",)))
    with pytest.raises(RequestError, match="no front to draw"):
        autonas.plot.front(make_study(survivors=0, repeats=0))
    with pytest.raises(RequestError, match="choose two of val_loss, params, latency, collapse_rate"):
        autonas.plot.pair(make_study(), "params", "speed")
    for drawn in (autonas.plot.hypervolume, autonas.plot.curves, autonas.plot.ranks, autonas.plot.importance):
        with pytest.raises(RequestError, match="nothing to draw"):
            drawn(dataclasses.replace(make_study(), trials=(), timeline=()))
    with pytest.raises(RequestError, match="nothing to compare"):
        autonas.plot.parallel(make_study(survivors=1, repeats=0))


def test_nothing_of_plotly_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, autonas, autonas.cli; autonas.plot; print([m for m in ('plotly', 'torch') if m in sys.modules])"
    with contextlib.chdir(Path(__file__).parents[1]):
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
