"""A study as it was last read: only trials that have changed since are read again. Knows records, and no storage."""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial

from autonas.ledger.records import OURS, read_trial
from autonas.trial import StudyRecord, TrialRecord

MARK = "autonas"  # the user attribute that makes a study one of ours
RECIPE = f"{OURS}recipe"


class Reading:
    """What is known of a study. What has not changed between two readings is the same object in both."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._trials: list[TrialRecord] = []
        self._ends: list[tuple[datetime.datetime, int]] = []  # in order, as is the next
        self._timeline: list[tuple[int, str]] = []
        self._shown: Mapping[str, Any] = {}
        self._hidden: Mapping[str, Any] = {}
        self._study: StudyRecord | None = None

    def __len__(self) -> int:
        """How many trials are known."""
        return len(self._trials)

    def take(self, shown: Mapping[str, Any], hidden: Mapping[str, Any], trials: Iterable[FrozenTrial]) -> StudyRecord:
        """The study with these attributes, and with these trials as they are now: all new ones, and what may have changed."""
        changed = [self._take_trial(trial) for trial in trials]
        if self._study is not None and not any(changed) and (shown, hidden) == (self._shown, self._hidden):
            return self._study
        attributes = {key: value for key, value in shown.items() if key != MARK}
        attributes |= {key.removeprefix(OURS): v for key, v in hidden.items() if key.startswith(OURS) and key != RECIPE}
        self._shown, self._hidden = shown, hidden
        self._study = StudyRecord(
            name=self._name,
            recipe=hidden[RECIPE] if RECIPE in hidden else shown[MARK]["recipe"],
            attributes=attributes,
            trials=tuple(self._trials),
            timeline=tuple(self._timeline),
        )
        return self._study

    def _take_trial(self, frozen: FrozenTrial) -> bool:
        """Read a trial that may have changed; whether it has. One that has ended never does."""
        number, known = frozen.number, len(self._trials)
        assert number <= known, "trials are read in the order of their numbers"
        before = self._trials[number] if number < known else None
        if before is not None and before.state != "live":
            return False
        record = read_trial(frozen, before)
        if record == before:
            return False
        self._trials[number : number + 1] = [record]
        if frozen.datetime_complete is not None:
            end = (frozen.datetime_complete, number)
            place = bisect.bisect(self._ends, end)
            self._ends.insert(place, end)
            self._timeline.insert(place, (number, end[0].astimezone(datetime.UTC).isoformat()))
        return True
