"""The command line: how a command begins and ends. What can be asked is in parser/, what the commands do in commands/."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from autonas.commands import FAILED, INTERRUPTED, OK, WRONG_REQUEST
from autonas.errors import AutonasError, RequestError
from autonas.parser import make_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 a wrong request, 130 interrupted."""
    options = make_parser().parse_args(arguments)
    if not hasattr(options, "command"):
        make_parser().print_help()
        return WRONG_REQUEST
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        home = importlib.import_module(f"autonas.commands.{options.home}")
        code: int = getattr(home, options.command)(options)
        sys.stdout.flush()
        return code
    except RequestError as error:
        print(f"autonas: {error}", file=sys.stderr)
        return WRONG_REQUEST
    except AutonasError as error:
        print(f"autonas: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        hint = getattr(options, "resume_hint", None)
        print(f"\nautonas: interrupted{f'; go on with: {hint(options)}' if hint else ''}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: not an error of ours. The descriptor is replaced so that the exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _as_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run() -> NoReturn:
    """The process: one command, and its exit code."""
    code = main()
    if code == INTERRUPTED:
        # Interrupted within an exec() of text, as imports of torch are full of, CPython remembers to kill itself by SIGINT at
        # its end, whatever was made of the exception, and a script would see that instead of our exit code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
