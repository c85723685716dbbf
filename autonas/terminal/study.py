"""A running study: one live panel, or a few plain lines where nobody watches."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autonas.engine.base import JobProgress
from autonas.plan import remaining_seconds
from autonas.policy.policy import Policy
from autonas.recipe import Recipe
from autonas.reporting.front import hypervolume_so_far
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.study import CALIBRATION_TRIAL
from autonas.trial import StudyRecord

_NUM_LINES = 4
_REDRAW_EVERY_S = 0.25
_NUM_BARS = 8
_FORGET_S = 4.0


class StudyDisplay:
    """Shows a study while it runs, on stderr. A context manager: the panel stands between enter and exit."""

    def __init__(self, name: str, recipe: Recipe, *, quiet: bool = False) -> None:
        self._name, self._recipe = name, recipe
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._lines: list[str] = []
        self._study: StudyRecord | None = None
        self._hypervolume: float | None = None
        self._progress: dict[int, tuple[JobProgress, float]] = {}  # by trial, with when it was told
        self._begun = self._drawn = time.monotonic()
        self._ended = 0
        self._remaining_s: float | None = None
        self._policy = Policy(recipe.problem, recipe.search)

    def __enter__(self) -> StudyDisplay:
        if sys.stderr.isatty() and not self._quiet:
            self._live = Live(self._render(), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._progress = {}
            self._live.update(self._render(), refresh=True)
            self._live.stop()

    def say(self, text: str) -> None:
        """One line of news."""
        if self._live is None:
            if not self._quiet:
                _print(text)
            return
        self._lines = [*self._lines, text][-_NUM_LINES:]
        self._redraw(force=True)

    def changed(self, study: StudyRecord) -> None:
        """The study has changed: a trial began, was scored, or ended."""
        ended = sum(trial.state == "complete" for trial in study.trials)
        if ended != self._ended or self._hypervolume is None:
            self._ended = ended
            self._hypervolume = hypervolume_so_far(study) or 0.0
        before, self._study = self._study, study
        if self._live is not None:
            self._remaining_s = remaining_seconds(study, self._recipe, self._policy)
        if self._live is None and not self._quiet:
            for line in _news(before, study):
                _print(line)
        self._redraw(force=True)

    def progress(self, progress: JobProgress) -> None:
        """A running job has taken a step."""
        self._progress[progress.trial] = progress, time.monotonic()
        self._redraw()

    def _redraw(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._live is not None and (force or now - self._drawn >= _REDRAW_EVERY_S):
            self._drawn = now
            self._live.update(self._render(), refresh=True)

    def _render(self) -> Group:
        head = Text(f"{self._name}  ", style="bold")
        head.append(f"{duration_text(time.monotonic() - self._begun)} so far", style="dim")
        if self._remaining_s is not None:
            head.append(f", about {duration_text(self._remaining_s)} left", style="dim")
        parts: list[Text | Table] = [head]
        if self._study is not None:
            parts.append(self._table(self._study))
        # A job that has ended is told of no more; workers tell every second.
        recent = [told for told, at in self._progress.values() if time.monotonic() - at < _FORGET_S]
        parts += [self._bar(progress) for progress in sorted(recent, key=lambda told: told.trial)[:_NUM_BARS]]
        if len(recent) > _NUM_BARS:
            parts.append(Text(f"and {len(recent) - _NUM_BARS} more", style="dim"))
        parts += [Text(f"· {line}", style="dim", overflow="ellipsis", no_wrap=True) for line in self._lines]
        return Group(*parts)

    def _table(self, study: StudyRecord) -> Table:
        table = Table.grid(padding=(0, 2))
        counts = {state: sum(t.state == state for t in study.trials) for state in ("live", "complete", "stopped", "failed")}
        counts["infeasible"] = sum(trial.state == "infeasible" for trial in study.trials)
        trained = sum(bool(trial.rungs) for trial in study.trials if trial.repeat_of is None)
        numbers = [f"{trained}/{self._recipe.search.trials} trained"]
        numbers += [f"{count} {state}" for state, count in counts.items() if count]
        table.add_row("trials", "  ".join(numbers))
        rungs = [
            f"{tokens_text(tokens)}: {sum(len(t.rungs) > rung for t in study.trials)}"
            for rung, tokens in enumerate(self._recipe.search.rungs)
        ]
        table.add_row("rungs", "  ".join(rungs))
        best = _best(study)
        if best:
            table.add_row("best", best)
        if self._hypervolume:
            table.add_row("hypervolume", f"{self._hypervolume:.3f}")
        return table

    def _bar(self, progress: JobProgress) -> Text:
        calibrating = progress.trial >= CALIBRATION_TRIAL
        tokens = self._recipe.calibration.tokens if calibrating else self._recipe.search.rungs[progress.rung]
        share = min(progress.tokens / (tokens * (1 + self._recipe.search.cooldown_share)), 1.0)
        width = 24
        filled = round(share * width)
        what = "calibration" if calibrating else f"trial {progress.trial}, rung {progress.rung}"
        return Text(
            f"{what}  {'━' * filled}{'·' * (width - filled)}  {tokens_text(progress.tokens)} tokens  "
            f"loss {progress.loss:.3f}  {scaled_text(progress.tokens_per_s)} tokens/s",
            no_wrap=True,
            overflow="ellipsis",
        )


def _print(line: str) -> None:
    # A reader that has gone away stops the news and not the search.
    with contextlib.suppress(BrokenPipeError):
        print(f"autonas: {line}", file=sys.stderr, flush=True)  # noqa: T201


def _best(study: StudyRecord) -> str:
    """The lowest validation loss at the highest rung that any trial has reached."""
    highest = max((len(trial.rungs) for trial in study.trials), default=0)
    scored = [t for t in study.trials if len(t.rungs) == highest and highest and "val_loss" in t.rungs[-1].scores]
    if not scored:
        return ""
    best = min(scored, key=lambda trial: trial.rungs[-1].scores["val_loss"].value)
    params = best.scores.get("params")
    size = f", {scaled_text(params.value)} parameters" if params else ""
    return f"{best.rungs[-1].scores['val_loss'].value:.3f} nats at rung {highest - 1} (trial {best.number}{size})"


def _news(before: StudyRecord | None, after: StudyRecord) -> list[str]:
    """What happened between two records, one line each: rungs finished and trials that dropped out."""
    if before is None:
        return []  # of an earlier attempt: no news
    known = {trial.number: trial for trial in before.trials}
    lines = []
    for trial in after.trials:
        old = known.get(trial.number)
        if len(trial.rungs) > (len(old.rungs) if old else 0):
            outcome = trial.rungs[-1]
            scores = "  ".join(
                f"{name} {score.value:.4g}" for name, score in outcome.scores.items() if name in after.recipe["objectives"]
            )
            lines.append(
                f"trial {trial.number} at rung {outcome.rung} ({tokens_text(outcome.tokens)} tokens, "
                f"{duration_text(outcome.seconds)}): {scores}"
            )
        if trial.state == "infeasible" and (old is None or old.state != "infeasible"):
            lines.append(f"trial {trial.number} is infeasible: {trial.reason}")
    return lines
