"""A process of ours that is asked, one question after another: for what needs libraries that must not enter this process.

It starts with the first question and stays; it is started again when it dies. How a child is started, and ends with its parent,
is in data/processes.py. Questions and answers are lines of JSON. Knows nothing of what is asked.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from autonas.data.processes import requests_of_parent, start_child
from autonas.errors import ResourceError

# A question that kills two processes in a row would kill the third.
_MOST_DEATHS = 2


class Respondent:
    """Asks the `serve()` of `module`, which is `answer_lines` with a function of the module's own."""

    def __init__(self, module: str, purpose: str, environment: Mapping[str, str]) -> None:
        self._module, self._purpose, self._environment = module, purpose, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """The process that is there to be asked, if any is."""
        return None if self._process is None else self._process.pid

    def ask(self, question: Any) -> Any:
        """The answer to a question, both JSON values. A process that has died is replaced and asked again, once.

        Raises:
            ResourceError: two processes died of the question.
            RuntimeError: the asked function raised; the message is its traceback.
        """
        with self._lock:
            for _ in range(_MOST_DEATHS):
                try:
                    answer = self._answer(json.dumps(question))
                except BaseException:
                    # Interrupted: the answer that is on its way must not be taken for that to the next question.
                    self.close()
                    raise
                if answer is not None:
                    break
                death = self._bury()
            else:
                raise ResourceError(
                    f"the process that {self._purpose} died twice ({death}), perhaps killed for want of memory; "
                    "free some and go on with --resume, or choose another sampler for a new study"
                )
        if "raised" in answer:
            raise RuntimeError(f"the process that {self._purpose} failed:\n{answer['raised']}")
        return answer["answer"]

    def close(self) -> None:
        """End the process, if there is one. It may be asked again, and starts anew then."""
        if self._process is not None:
            self._process.kill()
            self._bury()

    def _answer(self, line: str) -> Any:
        """What comes back, or None when the process died before it had said all."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            return None
        return json.loads(answer) if answer.endswith(b"\n") else None

    def _start(self) -> subprocess.Popen[bytes]:
        # A pipe that nobody empties would fill up and stop the child; a file also keeps its last words.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 — closed when the process is buried
        self._process = start_child(self._module, self._environment, self._complaints)
        return self._process

    def _bury(self) -> str:
        """Put the dead process out of the way; how it died, in words."""
        process, complaints = self._process, self._complaints
        assert process is not None
        assert complaints is not None
        self._process = self._complaints = None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what it was to be told last may still be in the buffer
                pipe.close()
        process.kill()  # if it only closed its pipes
        code = process.wait()
        with complaints:
            complaints.seek(0)
            words = complaints.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}" + (f": {words[-1]}" if words else "")


def answer_lines(function: Callable[[Any], Any]) -> NoReturn:
    """Answer each line of standard input by `function` of it, until whoever asks is gone. What it prints is thrown away."""
    next_question, answers = requests_of_parent(_line)
    while True:
        question = json.loads(next_question())
        try:
            answer = {"answer": function(question)}
        except Exception:  # noqa: BLE001 — raised again where the question came from
            answer = {"raised": traceback.format_exc()}
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:  # whoever asked was killed
            os._exit(0)


def _line(requests: IO[bytes]) -> bytes:
    line = requests.readline()
    if not line:
        raise EOFError
    return line
