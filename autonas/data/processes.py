"""Work on data in other processes of this interpreter: on all cores, or apart from what a library would bring into this one.

Neither multiprocessing nor fork: a spawned process of multiprocessing runs the user's own script again, and a fork beside
threads may wait for ever. A child runs the `serve()` of a module and nothing else; requests and answers are pickles on its
standard input and output. policy/respondent.py starts its own kind of child by the same two functions.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from autonas.errors import AutonasError, ResourceError

T = TypeVar("T")
R = TypeVar("R")

_SERVE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {module} import serve; serve()"


def ordered_map(function: Callable[[T], R], items: Iterable[T], processes: int) -> Iterator[R]:
    """`function` of each item, in their order, computed by so many processes; with one, here.

    The function is a module's own, and items and results can be pickled. Whatever it raises is raised here.

    Raises:
        ResourceError: a process was killed, as where memory runs out.
    """
    if processes <= 1 or not sys.executable:
        yield from map(function, items)
        return
    idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()

    def work(item: T) -> R:
        child = idle.get()
        try:
            return child.call(function, item)
        finally:
            idle.put(child)

    # Children end before the pool is left: a thread that waits for an answer gives up then.
    with ThreadPoolExecutor(processes) as threads, contextlib.ExitStack() as children:
        for _ in range(processes):
            idle.put(children.enter_context(_Child()))
        futures = [threads.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def apart(function: Callable[[T], R], item: T, environment: Mapping[str, str]) -> R:
    """`function` of `item` in a process of its own with these variables set, so that what it imports is not imported here.

    Raises:
        ResourceError: the process was killed.
    """
    with _Child(environment) as child:
        answer: R = child.call(function, item)
        return answer


class _Child:
    """A process that answers calls one after another."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = start_child(__name__, environment or {})

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def call(self, function: Callable[[T], R], item: T) -> R:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _write(self._process.stdin, (function, item))
            good, value = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ResourceError(
                "a process that read the corpus ended without an answer, perhaps killed for want of memory; "
                "give it more, or limit the corpus"
            ) from error
        if not good:
            raise value
        answer: R = value
        return answer


def start_child(module: str, environment: Mapping[str, str], complaints: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """A process of this interpreter that runs `module.serve()` with these variables set; its errors go to `complaints`."""
    return subprocess.Popen(
        # -P: a file json.py or torch.py in the working directory is not the child's business.
        [sys.executable, "-P", "-c", _SERVE.format(module=module), json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env={**os.environ, **environment},
        # Ctrl-C is for the parent, which ends its children; a dozen tracebacks would tell the user nothing.
        start_new_session=True,
    )


def requests_of_parent(read: Callable[[IO[bytes]], T]) -> tuple[Callable[[], T], IO[bytes]]:
    """Of a child: what waits for its next request, and the pipe for answers. What it prints goes to standard error.

    `read` takes one request from the pipe; EOFError says that the parent is gone. A thread of its own reads, so that even in
    the middle of an answer nothing outlives who asked for it.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()

    def follow() -> None:
        try:
            while True:
                waiting.put(read(requests))
        except EOFError:
            os._exit(0)
        except BaseException:  # noqa: BLE001 — nobody else would end this process
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    return waiting.get, answers


def serve() -> None:
    """Answer calls from standard input until it ends."""
    next_request, answers = requests_of_parent(pickle.load)
    while True:
        function, item = next_request()
        answer: tuple[bool, Any]
        try:
            answer = True, function(item)
        except (AutonasError, OSError) as error:
            answer = False, error
        except Exception as error:  # noqa: BLE001 — not every library's exception can be pickled
            answer = False, RuntimeError(f"{type(error).__name__}: {error}")
        try:
            _write(answers, answer)
        except BrokenPipeError:  # the parent was killed; there is nobody to be told
            os._exit(0)


def _write(pipe: IO[bytes], value: Any) -> None:
    pickle.dump(value, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()
