"""Colours are for a terminal that wants them, and say nothing that the text does not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from types import MappingProxyType

import pytest

TEXT = (
    """study  state  trials
one    running  1/2 [bold]not markup[/bold] :smile:
* 3  the knee
ALARM Leak test missing: tell somebody
  autonas promote one
  漢字 and a line that is longer than any terminal would be wide: """
    + "word " * 40
)
CODE = f"from autonas.commands.painting import print_text; print_text({TEXT!r})"


def on_a_terminal(code: str = CODE, columns: int = 80, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    main, worker = pty.openpty()
    fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    done = subprocess.Popen([sys.executable, "-c", code], stdout=worker, env={**clean, "TERM": "xterm-256color", **environment})
    os.close(worker)
    written = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the other end was closed
            break
        written += part
        if not part:
            break
    os.close(main)
    assert done.wait() == 0
    return written.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_text_is_the_same_with_colours() -> None:
    painted = on_a_terminal()
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == TEXT + "\n"


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_has_none(environment: dict[str, str]) -> None:
    assert on_a_terminal(environment=environment) == TEXT + "\n"


def test_in_a_pipe_there_are_none_even_when_they_are_forced() -> None:
    environment = {**os.environ, "FORCE_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == TEXT + "\n"


@pytest.mark.parametrize(("columns", "width"), [(200, 80), (80, 80), (60, 60), (20, 40)])
def test_text_is_as_wide_as_the_terminal_but_no_wider_than_80(columns: int, width: int) -> None:
    code = "from autonas.commands.painting import screen_width; print(screen_width())"
    assert on_a_terminal(code, columns) == f"{width}\n"
