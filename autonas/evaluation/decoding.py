"""Which path made the samples of an evaluation, for an outcome's checks: a slower one must not be taken in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autonas.model.steps import PATHS


@contextmanager
def followed_decoding() -> Iterator[dict[str, str]]:
    """Yields what is empty until the block has ended, and then says which steps were taken in it, and why no faster ones.

    Counted is the whole process: threads that generate at the same time are not told apart.
    """
    steps, reasons = PATHS.steps.copy(), PATHS.reasons.copy()
    found: dict[str, str] = {}
    yield found
    taken = ", ".join(f"{path} {count:,} steps" for path, count in sorted((PATHS.steps - steps).items()))
    why = "; ".join(sorted(PATHS.reasons - reasons))
    if taken or why:
        found["decoding path"] = taken + (f" ({why})" if why else "")
