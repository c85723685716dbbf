"""A full run while it is trained: a panel with its curve and what it writes, or a line for every fiftieth of it."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autonas.engine.base import JobProgress
from autonas.errors import StudyError
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.reporting.run_so_far import RunSoFar, run_so_far

_REDRAW_EVERY_S, _READ_EVERY_S = 0.25, 2.0  # the folder of a run on another machine is perhaps across a network
_LINE_EVERY = 0.02  # of the run, where no panel is shown
_NUM_NEWS, _SAMPLE_LINES = 4, 5
_BLOCKS = "▁▂▃▄▅▆▇█"


class RunDisplay:
    """Shows a full run while it is trained, on stderr. A context manager: the panel stands between enter and exit.

    Called with each progress; `begin` says which folder holds the run, whose validation loss and samples the panel shows.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._folder: Path | None = None
        self._so_far: RunSoFar | None = None
        self._step: JobProgress | None = None
        self._total_tokens = 1
        self._news: list[str] = []
        self._told = -1.0
        self._begun = time.monotonic()
        self._drawn = self._read = float("-inf")

    def __enter__(self) -> RunDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._look()
            self._live.update(self._render(), refresh=True)
            self._live.stop()
            self._live = None

    def begin(self, folder: Path) -> None:
        """The run in `folder` begins: from now on its panel is shown, on a terminal."""
        self._folder, self._begun = folder, time.monotonic()
        if sys.stderr.isatty() and not self._quiet and self._live is None:
            self._live = Live(self._render(), console=self._console, auto_refresh=False)
            self._live.start()

    def say(self, text: str) -> None:
        """One line of news."""
        if self._quiet:
            return
        if self._live is None:
            _print(text)
            return
        self._news = [*self._news, text][-_NUM_NEWS:]
        self._redraw(force=True)

    def __call__(self, step: JobProgress, total_tokens: int) -> None:
        """The run has taken a step of those that show it `total_tokens` in all."""
        self._step, self._total_tokens = step, total_tokens
        if self._live is not None:
            self._redraw()
            return
        share = step.tokens / total_tokens
        if not self._quiet and (share - self._told >= _LINE_EVERY or (step.tokens >= total_tokens and self._told < 1)):
            self._told = share
            left = duration_text((total_tokens - step.tokens) / step.tokens_per_s)
            _print(f"{share:4.0%}  {tokens_text(step.tokens)} tokens  loss {step.loss:.3f}  about {left} left")

    def _redraw(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None and (force or now - self._drawn >= _REDRAW_EVERY_S):
            self._drawn = now
            if now - self._read >= _READ_EVERY_S:
                self._look()
            self._live.update(self._render(), refresh=True)

    def _look(self) -> None:
        """Read what the worker has written of the run."""
        self._read = time.monotonic()
        if self._folder is not None:
            # Being written for the first time, or not seen from here.
            with contextlib.suppress(StudyError, OSError):
                self._so_far = run_so_far(self._folder)

    def _render(self) -> Group:
        head = Text(str(self._folder.name if self._folder else ""), style="bold", no_wrap=True, overflow="ellipsis")
        head.append(f"  {duration_text(time.monotonic() - self._begun)} so far", style="dim")
        step, so_far = self._step, self._so_far
        width = self._console.width
        parts: list[Text | Table] = [head]
        if step is not None:
            share = min(step.tokens / self._total_tokens, 1.0)
            left = duration_text((self._total_tokens - step.tokens) / step.tokens_per_s)
            ended = so_far is not None and so_far.ended
            head.append(", ended" if ended else f", about {left} left" if share < 1 else ", being evaluated", style="dim")
            parts.append(_bar(share, self._place(step), width))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=10)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, text in self._rows(step, so_far, max(width - 40, 12)):
            table.add_row(name, text)
        parts.append(table)
        if so_far is not None and so_far.looks:
            parts += _sample(so_far)
        parts += [Text(f"· {line}", style="dim", overflow="ellipsis", no_wrap=True) for line in self._news]
        return Group(*parts)

    def _place(self, step: JobProgress) -> str:
        text = f"{tokens_text(step.tokens)} of {tokens_text(self._total_tokens)} tokens"
        if self._so_far is not None:
            steps = self._so_far.total_steps
            text += f", step {step.tokens * steps // max(self._total_tokens, 1):,} of {steps:,}"
        return text

    def _rows(self, step: JobProgress | None, so_far: RunSoFar | None, room: int) -> list[tuple[str, Text]]:
        rows = []
        if step is not None:
            curve = sparkline([loss for _, loss in so_far.losses], room) if so_far is not None else ""
            rows.append(("loss", Text(f"{step.loss:.3f}  ") + Text(curve, style="cyan")))
        if so_far is not None and so_far.best is not None:
            last, best = so_far.probes[-1], so_far.best
            text = Text(f"{last.value:.3f} ({last.low:.3f}–{last.high:.3f})")
            text.append("  the lowest so far" if best is last else f"  lowest {best.value:.3f} at {tokens_text(best.tokens)}")
            rows.append(("validation", text))
        if so_far is not None and so_far.latest:
            latest = so_far.latest
            speed = step.tokens_per_s if step is not None else latest["tokens_per_s"]
            text = Text(f"{scaled_text(speed)} tokens/s  learning rate {latest['learning_rate']:.2g}")
            text.append(f"  gradient norm {latest['gradient_norm']:.2f}")
            rows.append(("training", text))
        elif step is not None:
            rows.append(("training", Text(f"{scaled_text(step.tokens_per_s)} tokens/s")))
        if so_far is not None and so_far.rollbacks:
            tokens, why = so_far.rollbacks[-1]
            text = Text(f"{len(so_far.rollbacks)}; the last to {tokens_text(tokens)} tokens: {why}", style="yellow")
            rows.append(("rollbacks", text))
        return rows


def sparkline(values: Sequence[float], width: int) -> str:
    """Values as a line of blocks, each the mean of a stretch; the beginning, far above the rest, is cut at the top."""
    if len(values) < 2:
        return ""
    width = min(width, len(values))
    edges = [len(values) * place // width for place in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means[width // 20 :])
    step = (high - low) / (len(_BLOCKS) - 1) or 1.0
    return "".join(_BLOCKS[min(round((value - low) / step), len(_BLOCKS) - 1)] for value in means)


def _bar(share: float, text: str, width: int) -> Text:
    length = min(30, max(width - 56, 8))
    filled = round(share * length)
    return Text(f"{'━' * filled}{'·' * (length - filled)}  {share:.0%}  {text}", no_wrap=True, overflow="ellipsis")


def _sample(so_far: RunSoFar) -> list[Text]:
    """The end of what was written at the last look."""
    look = so_far.looks[-1]
    verdict = f"{look.rate:.0%} of the samples are degenerate" if look.rate else "no sample is degenerate"
    lines = [line for line in (look.prompt + look.text).splitlines() if line.strip()][-_SAMPLE_LINES:]
    head = Text(
        f"it writes, after {tokens_text(look.tokens)} tokens ({verdict}):", style="red" if look.rate > 0.5 else "", no_wrap=True
    )
    return [head, *(Text(f"  │ {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in lines)]


def _print(line: str) -> None:
    # A reader that has gone away stops the news and not the run.
    with contextlib.suppress(BrokenPipeError):
        print(f"autonas: {line}", file=sys.stderr, flush=True)  # noqa: T201
