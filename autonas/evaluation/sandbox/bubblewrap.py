"""The walls as bubblewrap builds them: a command line in front of the interpreter's."""

from __future__ import annotations

import shutil

from autonas.evaluation.sandbox.interpreter import ENVIRONMENT, Interpreter


def find() -> str | None:
    """Where bubblewrap is, or None."""
    return shutil.which("bwrap")


def command(
    bwrap: str, interpreter: Interpreter, *, temporary_bytes: int, filter_descriptor: int, info_descriptor: int
) -> list[str]:
    """What to put in front of a command that is to run within the walls.

    The root is a file system of its own in memory, read-only at the end, that holds the interpreter alone; `/tmp` is the one
    writable place. There is no /proc. The first process is the program itself: no second one lives beside it.
    """
    line = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    line += ["--hostname", "sandbox", "--cap-drop", "ALL", "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        line += ["--setenv", name, value]
    for outside, inside in interpreter.binds:
        line += ["--ro-bind", outside, inside]
    for inside in interpreter.masks:
        line += ["--size", "4096", "--tmpfs", inside, "--remount-ro", inside]
    line += ["--dev-bind", "/dev/null", "/dev/null", "--size", str(temporary_bytes), "--tmpfs", "/tmp", "--remount-ro", "/"]
    line += ["--chdir", "/tmp", "--seccomp", str(filter_descriptor), "--info-fd", str(info_descriptor)]
    return [*line, "--"]
