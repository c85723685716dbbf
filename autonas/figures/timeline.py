"""Who worked when: a bar for every job in the lane of its worker. Gaps are idle time; pauses of the study are cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.texts import plain
from autonas.figures.units import unit_of
from autonas.reporting.quantities import duration_text
from autonas.reporting.report import Report
from autonas.reporting.timeline import KINDS, Segment, Timeline, working_s
from autonas.reporting.timeline import timeline as timeline_of

MOST_SEGMENTS, MOST_LANES = 2000, 40
_LANE_PX = 24
_LEGEND = {
    "orientation": "h",
    "x": 0,
    "yref": "container",
    "y": 0,
    "yanchor": "bottom",
    "font": {"size": 11},
    "bgcolor": theme.rgba("paper", 0.0),
    "itemclick": False,
    "itemdoubleclick": False,
}
# Colour and pattern of a kind of job: one of them tells it, too, where the other is not seen.
_LOOKS = {
    "calibration": ("soft", "."),
    "latency": ("second", "|"),
    "training": ("front", ""),
    "repeat": ("pick", "\\"),
    "failed": ("alarm", "x"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A bar: one job, or several of a lane that are too short to be seen apart."""

    lane: tuple[str, int]
    kind: str
    begin_s: float  # since the first job began, pauses cut out
    end_s: float
    trial: int | None
    text: str


def timeline(report: Report) -> go.Figure | None:
    """All jobs whose spans are known, in the first `MOST_LANES` lanes; None without any. Of too many some are joined."""
    found = timeline_of(report.study)
    if found is None:
        return None
    lanes = lanes_of(found)[:MOST_LANES]
    place = {lane: i for i, lane in enumerate(lanes)}
    shown = drawn(found)
    unit, name = unit_of(_length(found))
    traces = [_bars(kind, own, place, unit) for kind in KINDS if (own := [block for block in shown if block.kind == kind])]
    begun = "since the first job began" + ("" if len(found.sessions) == 1 else ", pauses cut out")
    workers = [worker.name for worker in found.workers]
    return theme.figure(
        traces,
        x=theme.axis(f"{name} {begun}", range=[0.0, max(_length(found) / unit, 1e-9) * 1.01]),
        y=theme.axis(
            "",
            tickmode="array",
            tickvals=list(range(len(lanes))),
            ticktext=[f"worker {workers.index(worker) + 1}" if not lane else "" for worker, lane in lanes],
            range=[len(lanes) - 0.5, -0.5],
        ),
        height=150 + _LANE_PX * len(lanes),
        barmode="overlay",
        bargap=0.15,
        showlegend=True,
        legend=dict(_LEGEND),
        shapes=_pauses(found, unit),
    )


def lanes_of(found: Timeline) -> list[tuple[str, int]]:
    """(worker, lane) from above to below."""
    return [(worker.name, lane) for worker in found.workers for lane in range(worker.lanes)]


def drawn(found: Timeline) -> list[Block]:
    """What is drawn, in order of beginning: a job each, or those of a lane that began within the same `cell_s`."""
    lanes = set(lanes_of(found)[:MOST_LANES])
    own = [segment for segment in found.segments if (segment.worker, segment.lane) in lanes]
    cell = cell_s(found)
    groups: dict[object, list[Segment]] = {}
    for i, segment in enumerate(own):
        alone = not cell or segment.seconds > cell
        key = i if alone else (segment.worker, segment.lane, int(working_s(found, segment.begin_s) // cell))
        groups.setdefault(key, []).append(segment)
    return sorted((_block(found, group) for group in groups.values()), key=lambda block: block.begin_s)


def cell_s(found: Timeline) -> float:
    """Seconds within which neighbours are joined, so that no more than `MOST_SEGMENTS` bars are left; 0.0: none are."""
    lanes = min(len(lanes_of(found)), MOST_LANES)
    # No more than half of the bars are cells, and as many are jobs that are longer than one.
    return 0.0 if len(found.segments) <= MOST_SEGMENTS else 2 * _length(found) * lanes / MOST_SEGMENTS


def thinning_text(found: Timeline) -> str:
    """What is joined or left out in the drawing, in words; empty where nothing is."""
    texts = []
    lanes = len(lanes_of(found))
    if lanes > MOST_LANES:
        texts.append(f"The first {MOST_LANES} of {lanes} lanes are drawn.")
    if cell := cell_s(found):
        texts.append(
            f"Of {len(found.segments):,} jobs, short ones of a worker that began within the same {duration_text(cell)} are one "
            "bar, in the colour of what took most of its time."
        )
    return " ".join(texts)


def _block(found: Timeline, own: Sequence[Segment]) -> Block:
    first, lane = own[0], (own[0].worker, own[0].lane)
    begin, end = (working_s(found, at) for at in (first.begin_s, max(segment.end_s for segment in own)))
    if len(own) == 1:
        return Block(lane=lane, kind=first.kind, begin_s=begin, end_s=end, trial=first.trial, text=_told(first))
    spent = {kind: sum(segment.seconds for segment in own if segment.kind == kind) for kind in KINDS}
    busy = duration_text(sum(spent.values()))
    text = f"{len(own)} jobs, at work {busy} of {duration_text(end - begin)}, on {plain(first.worker, 60)}"
    kind = max(KINDS, key=lambda kind: spent[kind])
    return Block(lane=lane, kind=kind, begin_s=begin, end_s=end, trial=None, text=text)


def _length(found: Timeline) -> float:
    return sum(end - begin for begin, end in found.sessions)


def _bars(kind: str, own: Sequence[Block], place: dict[tuple[str, int], int], unit: float) -> go.Bar:
    color, pattern = _LOOKS[kind]
    return go.Bar(
        orientation="h",
        base=[round(block.begin_s / unit, 5) for block in own],
        x=[round((block.end_s - block.begin_s) / unit, 5) for block in own],
        y=[place[block.lane] for block in own],
        name=kind,
        marker={
            "color": theme.LIGHT[color],
            "line": {"width": 0.5, "color": theme.LIGHT["paper"]},
            "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": theme.LIGHT["paper"], "size": 5, "solidity": 0.35},
        },
        customdata=[block.trial for block in own],
        text=[block.text for block in own],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
    )


def _told(segment: Segment) -> str:
    what = {"calibration": "calibration", "latency": "timing", "failed": "failed job"}.get(segment.kind, segment.kind)
    whose = "" if segment.trial is None else f"trial {segment.trial}: "
    rung = "" if segment.rung is None else f" to rung {segment.rung}"
    return f"{whose}{what}{rung}, {duration_text(segment.seconds)} on {plain(segment.worker, 60)}"


def _pauses(found: Timeline, unit: float) -> list[dict[str, Any]]:
    """A dashed line where a pause was cut out."""
    at = [working_s(found, end) / unit for _, end in found.sessions[:-1]]
    line = {"width": 1, "dash": "dash", "color": theme.LIGHT["soft"]}
    return [{"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line} for x in at]
