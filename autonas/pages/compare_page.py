"""Studies side by side as one HTML file that opens offline. What may be compared is decided in reporting/comparison.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from autonas.data.cache import write_file
from autonas.figures.comparison import comparison_figures, drawn_others, look
from autonas.pages.html import page
from autonas.reporting import side_text
from autonas.reporting.side_by_side import SideBySide, compare
from autonas.trial import StudyRecord

# The symbols of figures/comparison.py, around (7, 7).
_SHAPES: Final = {
    "circle": "M2.5 7a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "diamond": "M7 1l6 6l-6 6l-6 -6z",
    "square": "M2.5 2.5h9v9h-9z",
    "triangle-up": "M7 1.5l5.5 10h-11z",
    "cross": "M5 1h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "star": "M7 0.5l1.9 4.2l4.6 0.5l-3.4 3.1l1 4.5l-4.1 -2.3l-4.1 2.3l1 -4.5l-3.4 -3.1l4.6 -0.5z",
}


def write_comparison(studies: Sequence[StudyRecord], path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Path:
    """Write the page of these studies to `path`, whole or not at all; missing folders are made. Returns the path.

    Raises:
        StudyError: fewer than two studies, or two of one name.
        ResourceError: no space or no permission there.
    """
    target = Path(path)
    write_file(target, render(compare(studies, names)).encode("utf-8"))
    return target


def render(found: SideBySide) -> str:
    """The HTML of a comparison. The same comparison gives the same bytes."""
    figures = comparison_figures(found)
    measured = found.box is not None
    return page(
        "compare.html",
        styles=("page.css", "compare.css"),
        scripts=("figures.js", "downloads.js", "compare.js"),
        figures=figures,
        data={},
        found=found,
        names=[side.name for side in found.sides],
        looks=[
            {"kind": f"study-{place}", "colour": look(place)[0], "path": _SHAPES[look(place)[1]]}
            for place in range(len(found.sides))
        ],
        thinned=[
            f"of {side.name} {len(drawn_others(side))} of {off:,} final trials off its front are drawn"
            for side in found.sides
            if (off := len(side.trials) - len(side.front)) > len(drawn_others(side))
        ],
        fronts=[name for name in figures if name.startswith("front-")],
        front_titles={
            f"front-{first}-{second}": f"{found.objectives[second].title} against {found.objectives[first].title}"
            for first in range(len(found.objectives))
            for second in range(first + 1, len(found.objectives))
        },
        drawn=set(figures),
        common_figures=[name for name in figures if name.startswith("common-")],
        verdicts=side_text.verdicts(found),
        overview=side_text.differences_grid(found, found.overview, "What each study is and has spent.", "what"),
        front=side_text.front_grid(found) if measured else None,
        volumes=side_text.volume_grid(found) if measured else None,
        duels=side_text.duel_grid(found) if found.duels else None,
        coverage=side_text.coverage_grid(found) if measured else None,
        common=side_text.common_grid(found),
        reproduction=side_text.reproduction_lines(found),
        recipe=side_text.differences_grid(
            found, found.recipe, "Places of the resolved recipes whose values differ; what is the same is left out.", "place"
        ),
        data_rows=side_text.differences_grid(
            found, found.data, "The data set that each study was trained and judged on.", "what"
        ),
        environment=side_text.differences_grid(
            found, found.environment, "On what each study ran, and with which versions.", "what"
        ),
    )
