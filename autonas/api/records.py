"""The front for notebooks and scripts: a list of records that shows itself as a table, as text, HTML or a data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from autonas.errors import RequestError
from autonas.reporting.columns import WIDTH, fitted
from autonas.reporting.front import build_report, front_entries
from autonas.reporting.report import Report, Standing
from autonas.reporting.text import front_lines
from autonas.trial import StudyRecord

if TYPE_CHECKING:
    import pandas


class Front(list[dict[str, Any]]):
    """The front of a study, best first objective first. An entry is a dictionary, as `autonas front --json` prints it.

    A slice is a Front of those trials; `json.dumps` takes one as the list it is.
    """

    def __init__(self, entries: Iterable[dict[str, Any]], report: Report) -> None:
        super().__init__(entries)
        self.report = report  # what the study's report says of it, as records

    @property
    def study(self) -> str:
        """The study's name."""
        return self.report.study.name

    @property
    def knee(self) -> dict[str, Any] | None:
        """The entry of the knee: nearest to the best of every objective. None where it is not among these."""
        return next((entry for entry in self if entry["knee"]), None)

    @overload
    def __getitem__(self, place: SupportsIndex) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Front: ...
    def __getitem__(self, place: SupportsIndex | slice) -> dict[str, Any] | Front:
        if isinstance(place, slice):
            return Front(super().__getitem__(place), self.report)
        return super().__getitem__(place)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas data frame with a row for each trial, in this order.

        Columns: trial; each objective's value with its 95 % interval (`val_loss`, `val_loss_low`, `val_loss_high`), in the
        objective's unit (`frame.attrs["units"]`); the dimensions of the spec; probability of being on the front; knee; seeds.

        Raises:
            RequestError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise RequestError("to_frame() needs pandas, which is not installed: pip install pandas") from error
        objectives = self.report.objectives
        frame = pandas.DataFrame([self._row(entry) for entry in self], columns=None if self else ["trial"])
        frame.attrs["units"] = {objective.name: objective.unit for objective in objectives}
        return frame

    def _row(self, entry: dict[str, Any]) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        for objective in self.report.objectives:
            score = entry["scores"][objective.name]
            name = objective.name
            scores |= {name: score["value"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
        others = {key: entry[key] for key in ("probability", "knee", "seeds")}
        return {"trial": entry["trial"], **scores, **entry["spec"], **others}

    def _standings(self) -> list[Standing]:
        known = {standing.number: standing for standing in self.report.standings}
        return [known[entry["trial"]] for entry in self if entry["trial"] in known]

    def __repr__(self) -> str:
        shown = self._standings()
        name = fitted(self.study, WIDTH // 2)
        if not shown:
            return f"Front of {name}: no trial"
        head = f"Front of {name}: {len(shown)} of {len(self.report.front)} trials"
        return "\n".join([head, *front_lines(self.report, shown)])

    def _repr_html_(self) -> str:
        from autonas.pages.front_table import front_table

        return front_table(self.report, self._standings())


def front_of(study: StudyRecord) -> Front:
    """The front of a study."""
    report = build_report(study)
    return Front(front_entries(report), report)
