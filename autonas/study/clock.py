"""What a study may take and has taken, over all its attempts. Reads no ledger: it is told what was spent before."""

from __future__ import annotations

import time

# What a job may take beyond the study's time before it is cut off.
_GRACE_S, _GRACE_SHARE = 60.0, 0.15


class Clock:
    """Runs from its creation."""

    def __init__(self, *, spent_before_s: float, max_hours: float | None) -> None:
        self._started = time.monotonic()
        self._spent_before_s = spent_before_s
        self._limit_s = None if max_hours is None else max_hours * 3600.0

    @property
    def spent_s(self) -> float:
        """Seconds that the study has run."""
        return self._spent_before_s + time.monotonic() - self._started

    def has(self, seconds: float) -> bool:
        """Whether so many seconds more end before the study's time does."""
        return self._limit_s is None or self.spent_s + seconds < self._limit_s

    @property
    def limited(self) -> bool:
        return self._limit_s is not None

    def job_limit_s(self) -> float | None:
        """A job begun in time may end a little late; one that stalls must not keep the study for ever."""
        if self._limit_s is None:
            return None
        return max(self._limit_s - self.spent_s, 0.0) + max(_GRACE_S, _GRACE_SHARE * self._limit_s)
