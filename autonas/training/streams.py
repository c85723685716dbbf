"""A CUDA stream for each of several trainings in one process, so that their steps run side by side.

A graph is captured on the stream that it is replayed on (graphs.py). cuBLAS keeps its workspace by handle and stream, and all
backward passes have the handle of autograd's one thread: two graphs of the same capture stream would write to one workspace
at a time if they ran on two others. Torch has 32 streams and hands them out in turn, and cuBLAS keeps a workspace for each that
it has seen; so those of trainings that have ended are used again.

On other devices all of this is nothing.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_idle: defaultdict[torch.device, list[torch.cuda.Stream]] = defaultdict(list)


@contextmanager
def own_stream(device: torch.device, stream: torch.cuda.Stream | None = None) -> Iterator[None]:
    """Let this thread's work on `device` go to a stream of its own, or to `stream`, after what it was given before.

    At the end all of it is done.
    """
    if device.type != "cuda":
        yield
        return
    idle = _idle[device]
    own = stream or (idle.pop() if idle else _new_stream(device))
    own.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(own):
        try:
            yield
        finally:
            own.synchronize()
            if stream is None:
                idle.append(own)


def await_stream(device: torch.device) -> None:
    """Wait until the device has done what this thread gave it, and for nobody else."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Where a graph for this thread's stream is captured: there, unless that is the default one, which cannot be."""
    here = torch.cuda.current_stream(device)
    if here == torch.cuda.default_stream(device):
        return _first_stream(device)
    return here


@functools.cache
def _first_stream(device: torch.device) -> torch.cuda.Stream:
    """For all captures by the default stream: there graphs are replayed one after the other."""
    return _new_stream(device)


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
