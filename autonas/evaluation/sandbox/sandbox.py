"""Runs programs that nobody has read, and says whether they pass their tests. The door of this package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from types import TracebackType

from autonas.errors import ResourceError
from autonas.evaluation.sandbox import bubblewrap
from autonas.evaluation.sandbox.enclosure import Enclosure
from autonas.evaluation.sandbox.interpreter import this_interpreter
from autonas.evaluation.sandbox.judging import judge
from autonas.evaluation.sandbox.limits import Limits
from autonas.evaluation.sandbox.seccomp import machine_has_filter
from autonas.evaluation.sandbox.verdict import Verdict
from autonas.evaluation.sandbox.walls import NoWalls, Wall, measure


class Sandbox:
    """Walls around programs. Several threads may use one at once.

    `walls`: name -> whether that wall stands, and how, or why not; measured when it was opened.
    """

    def __init__(self, enclosure: Enclosure, walls: Mapping[str, Wall]) -> None:
        self._enclosure = enclosure
        self.walls = walls

    @classmethod
    def open(cls, *, limits: Limits | None = None, allow_weak: bool = False) -> Sandbox:
        """A sandbox whose walls all stand: bubblewrap's where that is found, else made here.

        `allow_weak`: where they cannot be had, be content with limits on memory, time and files, and a filter of system calls.
        Then a program sees the files and the processes of this machine, those that judge it among them, and `walls` says so.
        For programs that one would run without a sandbox too.

        Raises:
            ResourceError: a wall is missing, and `allow_weak` is false.
        """
        if not sys.platform.startswith("linux"):
            raise ResourceError(
                f"the sandbox needs Linux's namespaces; this is {sys.platform}. Run it in a container or a virtual machine."
            )
        limits = limits or Limits()
        reasons: list[str] = []
        for enclosure in _enclosures(limits, reasons):
            try:
                walls = measure(enclosure)
            except NoWalls as error:
                reasons.append(f"{enclosure.builder}: {error}")
                continue
            missing = [f"{name} ({wall.how})" for name, wall in walls.items() if not wall.stands]
            if not missing:
                return cls(enclosure, walls)
            reasons.append(f"{enclosure.builder}: no {', no '.join(missing)}")
        if allow_weak:
            enclosure = Enclosure(builder="none", interpreter=this_interpreter(), limits=limits)
            try:
                return cls(enclosure, measure(enclosure))
            except NoWalls as error:
                reasons.append(f"limits alone: {error}")
        raise ResourceError(
            f"no sandbox for generated code can be built here: {'; '.join(reasons)}. "
            "Install bubblewrap, and allow user namespaces (sysctl user.max_user_namespaces; a container's security profile)."
        )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing outlives a check, so that nothing is left to close."""

    @property
    def limits(self) -> Limits:
        """What a program may take."""
        return self._enclosure.limits

    def with_limits(self, limits: Limits) -> Sandbox:
        """The same walls with other limits."""
        return Sandbox(replace(self._enclosure, limits=limits), self.walls)

    @property
    def weak(self) -> bool:
        """Whether a wall is missing."""
        return not all(wall.stands for wall in self.walls.values())

    def check(self, program: str, tests: str, entry_point: str | None = None) -> Verdict:
        """Whether `program`, a module's whole text, passes `tests`, trusted Python with asserts.

        The tests see what the program defines by its names, as plain data or as stand-ins that call it; what they define or
        import themselves, they have themselves, and built-in names keep their meaning. So what the judgement rests on belongs
        into the tests: a helper that a task's prompt gives is to be defined there again. `entry_point` is a name that the
        program has to define, and which may be a built-in one's (`sum`). Arguments are copies: what a function does to them is
        not seen.

        Raises:
            ResourceError: the machine cannot start the two processes that this takes.
        """
        return judge(self._enclosure, program, tests, entry_point)

    def check_all(
        self,
        pairs: Sequence[tuple[str, str] | tuple[str, str, str | None]],
        workers: int = 2,
        on_done: Callable[[int, Verdict], None] | None = None,
    ) -> list[Verdict]:
        """The verdicts on (program, tests) or (program, tests, entry point), in their order; `workers` are judged at once.

        `on_done` is told each place and its verdict when it is known, in the calling thread.

        Raises:
            ResourceError: as `check`.
        """
        verdicts: dict[int, Verdict] = {}
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="sandbox") as pool:
            waiting = {pool.submit(self.check, *pair): place for place, pair in enumerate(pairs)}
            try:
                for future in as_completed(waiting):
                    verdicts[waiting[future]] = future.result()
                    if on_done is not None:
                        on_done(waiting[future], future.result())
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return [verdicts[place] for place in range(len(pairs))]


def describe(walls: Mapping[str, Wall]) -> list[str]:
    """One line for each wall, those that are missing first and loudly."""
    ordered = sorted(walls.items(), key=lambda pair: pair[1].stands)
    return [f"{'stands ' if wall.stands else 'MISSING'}  {name}: {wall.how}" for name, wall in ordered]


def _enclosures(limits: Limits, reasons: list[str]) -> list[Enclosure]:
    """The ways to build all walls that this machine may have, best first; why others are left out goes to `reasons`."""
    if not machine_has_filter():
        reasons.append("the filter of system calls knows x86-64 and aarch64 alone")
        return []
    found: list[Enclosure] = []
    bwrap = bubblewrap.find()
    if bwrap is None:
        reasons.append("bubblewrap: not found in PATH")
    else:
        found.append(Enclosure(builder="bubblewrap", interpreter=this_interpreter(), limits=limits, bwrap=bwrap))
    found.append(Enclosure(builder="namespaces", interpreter=this_interpreter(), limits=limits))
    return found
