"""One program and its tests, in two processes that share two pipes and nothing else, watched from here."""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from contextlib import ExitStack, suppress

from autonas.errors import ResourceError
from autonas.evaluation.sandbox.asserts import BadTests, prepare
from autonas.evaluation.sandbox.enclosure import Enclosure, Inmate
from autonas.evaluation.sandbox.inside.values import Garbled, decode_job
from autonas.evaluation.sandbox.limits import Limits
from autonas.evaluation.sandbox.verdict import STATUSES, Status, Verdict, one_line

_LONGEST_VERDICT = 1 << 14
_LOOK_S = 0.1
_KILLED, _TOO_LONG = 128 + signal.SIGKILL, 128 + signal.SIGXCPU


def judge(enclosure: Enclosure, program: str, tests: str, entry_point: str | None) -> Verdict:
    """What becomes of `program` under `tests`. No process and no descriptor is left when this returns, however it does.

    Raises:
        ResourceError: the machine cannot start the two processes. That is no verdict on the program.
    """
    begun = time.monotonic()
    limits = enclosure.limits
    size = len(program.encode("utf-8", "surrogatepass"))
    if size > limits.source_bytes:
        return Verdict(status="error", message=f"a program of {size} bytes; {limits.source_bytes} are allowed", seconds=0.0)
    try:
        prepared = prepare(tests, entry_point)
    except BadTests as bad:
        return Verdict(status="refused", message=one_line(str(bad)), seconds=0.0)
    with ExitStack() as stack:
        ask, ask_in = _pipe(stack)
        answer, answer_in = _pipe(stack)
        said, said_in = _pipe(stack)
        output, output_in = _pipe(stack)
        bound = {"value_bytes": limits.value_bytes}
        try:
            candidate = enclosure.start(
                "candidate", bound | {"program": program}, (ask.number, answer_in.number), output_in.number
            )
            stack.callback(candidate.end)
            tester = enclosure.start(
                "tester",
                bound | {"tests": prepared},
                (answer.number, ask_in.number, said_in.number),
                output_in.number,
            )
            stack.callback(tester.end)
        except OSError as error:
            raise ResourceError(f"the sandbox cannot start a process: {error}. Free processes or descriptors.") from error
        for end in (ask, ask_in, answer, answer_in, said_in, output_in):
            end.close()
        watch = _Watch(said.number, output.number, limits, begun + limits.seconds, candidate)
        status, message = watch.until_verdict()
        if status == "unstarted":
            raise ResourceError(f"the sandbox cannot start a process: {one_line(watch.text or message)}")
        if status == "exited" and "SystemExit" not in message:
            status, message = _how_it_ended(candidate, enclosure, time.monotonic() - begun)
        return Verdict(status=_known(status), message=one_line(message), seconds=time.monotonic() - begun)


class _End:
    """One end of a pipe, closed once."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        if self.number >= 0:
            os.close(self.number)
        self.number = -1


def _pipe(stack: ExitStack) -> tuple[_End, _End]:
    ends = [_End(number) for number in os.pipe()]
    for end in ends:
        stack.callback(end.close)
    return ends[0], ends[1]


class _Watch:
    """Waits for the verdict, while it counts what is printed and looks at the clock."""

    def __init__(self, said: int, output: int, limits: Limits, deadline: float, candidate: Inmate) -> None:
        self._said, self._output, self._limits = said, output, limits
        self._left, self._deadline = limits.output_bytes, deadline
        self._candidate = candidate
        self._data = b""
        self._printed = b""

    @property
    def text(self) -> str:
        """The beginning of what was printed."""
        return self._printed.decode(errors="replace")

    def until_verdict(self) -> tuple[str, str]:
        """The status and the words of the tests' process, or of what stopped it."""
        poll = select.poll()
        poll.register(self._said, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        look_at = time.monotonic() + _LOOK_S
        while True:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                return "timeout", "the time was over"
            events = poll.poll(min(left_s, _LOOK_S) * 1000)
            if time.monotonic() > look_at:
                look_at = time.monotonic() + _LOOK_S
                with suppress(OSError):  # it has just ended: that it can be seen was tried when the walls were measured
                    if self._candidate.files() > self._limits.files:
                        return "output", f"made more than {self._limits.files} files"
            # The output first: who prints too much and is right has still printed too much.
            for number, _ in sorted(events, key=lambda event: event[0] == self._said):
                if number == self._output:
                    if not self._take_output(poll):
                        return "output", "printed more than is allowed"
                elif (verdict := self._take_verdict()) is not None:
                    return verdict

    def _take_output(self, poll: select.poll) -> bool:
        part = os.read(self._output, 1 << 16)
        if not part:
            poll.unregister(self._output)
        self._left -= len(part)
        self._printed += part[: 4096 - len(self._printed)]
        return self._left >= 0

    def _take_verdict(self) -> tuple[str, str] | None:
        part = os.read(self._said, _LONGEST_VERDICT)
        self._data += part
        frame = self._data[1:]  # behind the byte that says that it has started
        whole = len(frame) >= 4 and len(frame) >= 4 + struct.unpack_from("<I", frame)[0]
        if whole:
            try:
                found = decode_job(frame[4:])
            except Garbled:
                found = None
            if isinstance(found, dict) and found.keys() == {"status", "message"}:
                return str(found["status"]), str(found["message"])
        if whole or not part or len(frame) > _LONGEST_VERDICT:
            return "error" if self._data else "unstarted", "the tests' process ended without a word"
        return None


def _how_it_ended(candidate: Inmate, enclosure: Enclosure, seconds: float) -> tuple[Status, str]:
    code = candidate.wait(1.0)
    if code in (_KILLED, _TOO_LONG) and seconds > 0.9 * enclosure.limits.cpu_s:
        return "timeout", "the processor's time was over"
    if code is not None and code > 128:
        return "exited", f"signal {code - 128} ended the program's process"
    return (
        "exited",
        "the program's process ended before the tests did" if code is None else f"the program ended itself, with {code}",
    )


def _known(status: str) -> Status:
    assert status in STATUSES, status
    return status
