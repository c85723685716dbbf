"""Units for axes of time."""

from __future__ import annotations


def unit_of(seconds: float) -> tuple[float, str]:
    """The unit for an axis that goes so far, as (seconds, name)."""
    if seconds >= 2 * 86400:
        return 86400.0, "days"
    if seconds >= 3 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if seconds >= 180 else (1.0, "seconds")
