"""The report's drawings as coordinates: which point, line and label lies where. The template turns them into SVG.

Every drawing has its own coordinate system (`width` x `height`, y downwards). Marks carry the trial they show, which is what
links the drawings with one another.
"""

from __future__ import annotations

from dataclasses import dataclass

from autonas.reporting.scales import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plotting area and its axes."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
