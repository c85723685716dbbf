"""What test_respondent.py asks: a process that answers, waits, fails or dies as it is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

from autonas.policy.respondent import answer_lines


def serve() -> NoReturn:
    answer_lines(do)


def do(question: dict[str, Any]) -> Any:
    if "fail" in question:
        raise ValueError(question["fail"])
    if "die" in question:
        os.kill(os.getpid(), signal.SIGKILL)
    if "once" in question and not Path(question["once"]).exists():
        Path(question["once"]).write_text(str(os.getpid()))
        time.sleep(60)
    print("and goes on to speak")
    time.sleep(question.get("sleep", 0))
    return {"pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS"), **question}
