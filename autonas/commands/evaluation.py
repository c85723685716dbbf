"""The command that asks everything of a finished run: `evaluate`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from autonas.commands import OK, note, print_json


def evaluate(options: argparse.Namespace) -> int:
    from autonas import api
    from autonas.reporting.evaluation import text_lines

    run = Path(options.run)
    with _Parts() as parts:
        values = api.evaluate(
            run,
            against=options.against,
            only=options.only or (),
            again=options.again,
            tasks=options.tasks or ("builtin",),
            space=options.space,
            device=options.device,
            threads=options.threads,
            on_part=parts,
            say=note,
        )
    if options.json:
        print_json({**values, "run": str(run)})
        return OK
    for line in text_lines(values):
        print(line)
    print(f"run: {run}  (evaluation.json, evaluation.html)")
    return OK


class _Parts:
    """A bar for each part while somebody watches; a line for each where nobody does."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._ended: set[str] = set()

    def __enter__(self) -> _Parts:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description:14}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
            self._bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total)
            self._bars.update(self._tasks[name], completed=done, total=total)
        elif name not in self._begun:
            self._begun[name] = time.monotonic()
            if done < total:
                note(f"{name} …")
        elif done == total and name not in self._ended:
            self._ended.add(name)
            note(f"{name}: {time.monotonic() - self._begun[name]:.0f} s")
