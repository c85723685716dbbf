"""Searches replayed on a table of finished trials in virtual time: the policy of `autonas search`, and others beside it.

Every searcher is run with several seeds, up to the same number of full trainings' worth. Two regimes: trainings begun, and
compute spent. What a search has is the hypervolume of the trials that it trained to their end; those that it stopped early
cost, and do not count.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autonas.bench import Findings
from autonas.bench.replays.contest import Contest, Runs, conditions
from autonas.bench.replays.contestants import Arena, Contestant, NotMeasured, contestant
from autonas.bench.replays.kept_traces import keep, kept
from autonas.bench.replays.plot import check, draw
from autonas.bench.replays.rows import rows
from autonas.bench.replays.simulation import Limit, Trace
from autonas.bench.study_table import table_of_study
from autonas.bench.table_file import read_table
from autonas.bench.tables import Table
from autonas.errors import RequestError
from autonas.trial import StudyRecord

SAMPLERS = ("autonas", "tpe", "nsgaii", "random")
_SEEDS = 5
_TRAININGS = 128
_BUDGETS = (4, 8, 16, 32, 64, 128, 256)
# An ask takes seconds, and more with every trial.
_FEWER = {"gp": 64}


def measure(
    *,
    table: str | None = None,
    table_spec: str | None = None,
    study: StudyRecord | None = None,
    samplers: Sequence[str] = SAMPLERS,
    seeds: int = _SEEDS,
    trainings: int | None = None,
    per_sampler: str | None = None,
    workers: int = 1,
    hide_cheap: bool = False,
    cache: str | None = None,
    jobs: int = 1,
    plot: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Replay `samplers`, the first of which is compared with the others, on a table or on a study of the user's.

    `trainings` are full trainings' worth; `per_sampler` says seeds and trainings of some samplers, as in "gp=5x64". `cache` is
    a folder in which the traces of peers are kept. `jobs` are processes that replay side by side; the result is the same.
    `plot` is a file that the curves are drawn to.

    Raises:
        RequestError: what was asked cannot be done as asked.
    """
    if not samplers or len(set(samplers)) < len(samplers):
        raise RequestError("--samplers: name each searcher once, separated by commas, such as autonas,tpe,random")
    if plot is not None:
        check(plot)
    replayed = _table(table, table_spec, study)
    contestants, missing = _present(samplers)
    settings = settings_by_sampler(per_sampler, samplers, seeds, trainings, len(replayed))
    longest = max((settings[found.name][1].trainings for found in contestants), default=0)
    budgets = replayed.budgets or tuple(b for b in _BUDGETS if 2 * b <= len(replayed))
    arena = Arena(replayed, hide_cheap=hide_cheap, workers=workers)
    say(
        f"{replayed.name}: {len(replayed)} rows, {len(replayed.front)} on the front" + "".join(f"; {n}" for n in replayed.notes)
    )
    tasks = [
        _Task(contestant=found, seed=seed, limit=settings[found.name][1])
        for found in contestants
        for seed in range(settings[found.name][0])
    ]
    runs: dict[str, Runs] = {}
    for task, trace, seconds in _replayed(arena, tasks, None if cache is None else Path(cache), jobs):
        name = task.contestant.name
        if isinstance(trace, str):
            missing.setdefault(name, trace)
            say(f"seed {task.seed} of {name}: not measured: {trace}")
            continue
        runs.setdefault(name, Runs(contestant=task.contestant, limit=task.limit.trainings)).add(trace, seconds)
        say(f"seed {task.seed} of {name}: {trace.shares[-1] if trace.shares else 0:.3f} of the hypervolume; {seconds:.1f} s")
    contest = Contest(
        table=replayed,
        samplers=tuple(samplers),
        runs={name: found for name, found in runs.items() if name not in missing},
        missing=missing,
        budgets=tuple(budget for budget in budgets if budget <= longest),
    )
    found = conditions(contest, workers=workers, hide_cheap=hide_cheap)
    if plot is not None:
        draw(found, plot)
        say(f"the curves are in {plot}")
    return Findings(rows=rows(contest), conditions=found)


def _table(table: str | None, table_spec: str | None, study: StudyRecord | None) -> Table:
    if study is not None:
        if table is not None or table_spec is not None:
            raise RequestError("bench search replays a table or a study: leave out --study, or --table and --table-spec")
        return table_of_study(study)
    if table is None or table_spec is None:
        raise RequestError("bench search needs a table: give --table CSV and --table-spec YAML, or --study NAME")
    return read_table(table, table_spec)


def _present(samplers: Sequence[str]) -> tuple[list[Contestant], dict[str, str]]:
    """Those that can take part, and why the others cannot."""
    found, missing = [], {}
    for name in samplers:
        try:
            found.append(contestant(name))
        except NotMeasured as reason:
            missing[name] = str(reason)
    return found, missing


def settings_by_sampler(
    text: str | None, samplers: Sequence[str], seeds: int, trainings: int | None, rows: int
) -> dict[str, tuple[int, Limit]]:
    """Seeds and limit of each sampler: the common ones, and those of `text` such as "gp=5x64".

    Raises:
        RequestError: the text is something else.
    """
    most = min(trainings or _TRAININGS, rows)
    fewer = {} if trainings is not None else _FEWER
    found = {name: (seeds, Limit(trainings=min(most, fewer.get(name, most)))) for name in samplers}
    for part in filter(None, (text or "").split(",")):
        matched = re.fullmatch(r"\s*([^=]+)=([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?\s*", part)
        if matched is None:
            raise RequestError(f"--per-sampler: {part!r} is not sampler=seeds or sampler=SEEDSxTRIALS, such as gp=5x64")
        name, own_seeds, own_trainings = matched.groups()
        if name not in samplers:
            raise RequestError(f"--per-sampler: {name!r} is none of the samplers, {', '.join(samplers)}")
        limit = found[name][1] if own_trainings is None else Limit(trainings=min(int(own_trainings), rows))
        found[name] = (int(own_seeds), limit)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    contestant: Contestant
    seed: int
    limit: Limit


def _replayed(
    arena: Arena, tasks: Sequence[_Task], cache: Path | None, jobs: int
) -> Iterator[tuple[_Task, Trace | str, float]]:
    """Every task with its trace, or why there is none, and the seconds that it took; in the tasks' order."""
    found = {index: kept(cache, arena, task.contestant, task.seed, task.limit) for index, task in enumerate(tasks)}
    with _Pool(arena, jobs if len(tasks) > 1 else 1) as pool:
        pending = {index: pool.submit(task) for index, task in enumerate(tasks) if found[index] is None}
        for index, task in enumerate(tasks):
            earlier = found[index]
            if earlier is not None:
                yield task, earlier, 0.0
                continue
            trace, seconds = pending[index]()
            if isinstance(trace, Trace):
                keep(cache, arena, task.contestant, task.seed, task.limit, trace)
            yield task, trace, seconds


class _Pool:
    """Runs tasks in this process when they are waited for, or in others at once."""

    def __init__(self, arena: Arena, jobs: int) -> None:
        self._arena = arena
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None
        if jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._executor = concurrent.futures.ProcessPoolExecutor(jobs, context, initializer=_enter, initargs=(arena,))

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *details: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def submit(self, task: _Task) -> Callable[[], tuple[Trace | str, float]]:
        if self._executor is None:
            return lambda: _run(self._arena, task)
        return self._executor.submit(_run_here, task).result


_arena: Arena | None = None  # of a process of the pool


def _enter(arena: Arena) -> None:
    global _arena
    _arena = arena


def _run_here(task: _Task) -> tuple[Trace | str, float]:
    assert _arena is not None
    return _run(_arena, task)


def _run(arena: Arena, task: _Task) -> tuple[Trace | str, float]:
    begun = time.perf_counter()
    try:
        trace: Trace | str = arena.run(task.contestant.name, task.seed, task.limit)
    except NotMeasured as reason:
        trace = str(reason)
    except Exception as error:
        # A peer that breaks on this table is a finding, and no reason to lose the others; our own policy's is a bug.
        if task.contestant.policy:
            raise
        trace = f"it failed with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return trace, time.perf_counter() - begun
