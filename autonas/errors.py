"""Every exception that autonas raises on purpose.

AutonasError
├── RequestError          what was asked cannot be done as asked (exit code 2); the message names place, value and remedy
│   ├── RecipeError       a space file is wrong
│   ├── InfeasibleArch    an architecture breaks a rule or a limit; `.rule` names it
│   ├── CorpusError       a corpus or a prompt file is missing, empty, unreadable or too small
│   ├── TokenizerError    a tokenizer is missing, corrupt or does not fit the space
│   ├── StudyError        a study exists, is missing, is in use, or has another recipe
│   ├── StorageError      the storage of the ledger is down, locked or not ours
│   ├── CheckpointError   a checkpoint is missing, corrupt or of another architecture
│   ├── DeviceError       a device or number format that this machine does not have
│   ├── ResourceError     no space left, no permission
│   └── ServiceError      an HTTP request is refused; `.status`, `.param` and `.code` go into the answer
├── ExportError           an exported model does not compute what the trained one does; nothing is kept of it (exit code 1)
├── ClusterError          the machines that run the jobs have gone; what was finished is kept (exit code 1)
└── TrialFailure          a job ended badly; `.kind` says how. The worker makes a `Failure` of it, unless preempted
"""

from __future__ import annotations

import errno
import os
from typing import Literal, get_args

FailureKind = Literal["nan", "diverged", "out_of_memory", "timeout", "preempted", "leak", "error"]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
# What may end better another time. The others (nan, diverged, leak, timeout) would end the same way again.
RETRIED: frozenset[FailureKind] = frozenset({"preempted", "out_of_memory", "error"})


class AutonasError(Exception):
    """The root of the tree."""


class RequestError(AutonasError):
    """What was asked cannot be done as asked."""


class RecipeError(RequestError):
    """A space file is wrong."""


class InfeasibleArch(RequestError):
    """An architecture breaks `rule` (a rule's text, a limit's name or a field's)."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class CorpusError(RequestError):
    """A corpus is missing, empty, unreadable or too small."""


class TokenizerError(RequestError):
    """A tokenizer is missing, corrupt or does not fit."""


class StudyError(RequestError):
    """A study exists, is missing, is in use, or has another recipe."""


class StorageError(RequestError):
    """The storage of the ledger is down, locked or not ours."""


class CheckpointError(RequestError):
    """A checkpoint is missing, corrupt or of another architecture."""


class DeviceError(RequestError):
    """A device or number format that this machine does not have."""


class ResourceError(RequestError):
    """No space left on the disk, or no permission to write there."""


class ServiceError(RequestError):
    """An HTTP request is refused with `status`; `param` names what is wrong in it, `code` is for programs to read."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


class ExportError(AutonasError):
    """An exported model does not compute what the trained one does. Nothing is kept of it."""


class ClusterError(AutonasError):
    """The machines that run the jobs have gone. What was finished is kept."""


class TrialFailure(AutonasError):
    """A job ended badly; the worker turns it into a `Failure` of this kind."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        assert kind in FAILURE_KINDS, kind
        super().__init__(message)
        self.kind: FailureKind = kind


def resource_error(error: OSError, path: str | os.PathLike[str]) -> ResourceError:
    """Translate an `OSError` met while writing `path` into one message with its remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{path}: no space left on the disk. Free some and try again; `autonas clean` frees checkpoints.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(f"{path}: no permission to write there. Choose another folder or change its permissions.")
    return ResourceError(f"{path}: cannot be written ({error.strerror or error}).")
