"""Which attempt may write: the latest."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonas.errors import RequestError, StudyError
from autonas.training.attempts import check_attempt, claim_attempt


def test_the_latest_attempt_may_write_and_earlier_ones_are_refused(tmp_path: Path) -> None:
    check_attempt(tmp_path, 1)
    claim_attempt(tmp_path / "run", 3)
    check_attempt(tmp_path / "run", 3)
    claim_attempt(tmp_path / "run", 3)
    check_attempt(tmp_path / "run", 4)
    with pytest.raises(StudyError, match=r"attempt 2 was superseded by attempt 3: another process has taken over\. Leave it"):
        check_attempt(tmp_path / "run", 2)
    with pytest.raises(RequestError):
        claim_attempt(tmp_path / "run", 2)
    assert (tmp_path / "run" / "attempt").read_text() == "3\n"
