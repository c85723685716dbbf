"""What each command does: call, print, return an exit code. Imported by cli.py when the command is given."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import Any

from autonas.engine.choice import EngineSettings

OK, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


def note(text: str) -> None:
    """A line of progress, on stderr. A reader that has gone away stops the news and not the work."""
    with contextlib.suppress(BrokenPipeError):
        print(f"autonas: {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The one JSON document of a --json command, on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def engine_settings(options: argparse.Namespace) -> EngineSettings:
    """Where jobs run, as the command's options say."""
    return EngineSettings(
        name=options.engine,
        ray_address=options.ray_address if options.engine == "ray" else None,
        workers=options.workers,
        threads=options.threads or 1,
        device=options.device,
        gpus_per_worker=options.gpus_per_worker,
    )
