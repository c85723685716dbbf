"""Text on a terminal, with colours where somebody watches and has not asked for none. What it says is the same without."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Final

from autonas.reporting.columns import WIDTH

_NARROWEST = 40
# What is painted, as patterns of lines and words, and how. A mark or a word says the same.
_STYLES: Final[Mapping[str, str]] = {
    r"^\* .*$": "bold",
    r"^(  trial|study) .*$": "dim",
    r"^ALARM [^:]*:": "bold red",
    r"^  (failures|retries) ": "red",
    r"\brunning\b": "green",
    r"\binterrupted\b": "yellow",
    r"^  +(autonas .*|--.*)$": "cyan",
}


def screen_width() -> int:
    """The columns that text may take: 80, or those of the terminal where it has fewer."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(min(WIDTH, shutil.get_terminal_size().columns), _NARROWEST)


def print_text(text: str) -> None:
    """Print on stdout; in colours on a terminal, unless NO_COLOR is set or TERM is dumb."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        print(text, flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    painted = Text(text)
    for pattern, style in _STYLES.items():
        painted.highlight_regex(f"(?m){pattern}", style)
    Console(file=sys.stdout, highlight=False).print(painted, soft_wrap=True)
