"""The static step as CUDA graphs: the host launches one graph a token and not hundreds of kernels.

A graph is recorded for each batch and for each bucket of keys that it reaches. Recording that fails leaves the static step
as it was: slower, never wrong, and counted with its reason in steps.PATHS.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from autonas.model.steps import PATHS, StaticSteps

# Rows are padded to one of these, so that kernels are chosen for few shapes; more rows to the next multiple of the last.
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Keys that a graph attends to, masked where none are yet: fewer graphs against shorter attention.
KEY_BUCKET = 256
# Recording takes about as long as this many plain steps.
MIN_STEPS = 8


def row_bucket(rows: int) -> int:
    largest = ROW_BUCKETS[-1]
    return next((bucket for bucket in ROW_BUCKETS if bucket >= rows), -(-rows // largest) * largest)


def key_bucket(keys: int, most: int) -> int:
    return min(-(-keys // KEY_BUCKET) * KEY_BUCKET, most)


class GraphSteps(StaticSteps):
    """As StaticSteps, replayed from graphs on a CUDA device."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._first_slot = int(self.memory.keys.shape[3]) - self.made.shape[0]
        self._graphs: dict[int, torch.cuda.CUDAGraph | None] = {}
        # Memory that all of its graphs share: none runs beside another, and what outlives a step is not in it.
        self._pool: Any = None

    def step(self) -> None:
        most = self.memory.keys.shape[3]
        num_keys = key_bucket(self._first_slot + self.count, most)
        graph = self._graphs.get(num_keys)
        if graph is not None:
            graph.replay()
            path = "graph"
        else:
            self.memory.num_keys = num_keys
            self._run_aside()
            path = "static"
            if num_keys not in self._graphs:
                self._graphs[num_keys] = self._recorded(most)
        self.count += 1
        PATHS.steps[path] += 1

    def _run_aside(self) -> None:
        """One real step on a stream of its own, as recording wants its libraries warm there."""
        stream = _stream(self.made.device)
        stream.wait_stream(torch.cuda.current_stream(self.made.device))
        with torch.cuda.stream(stream):
            self.advance()
        torch.cuda.current_stream(self.made.device).wait_stream(stream)

    def _recorded(self, most: int) -> torch.cuda.CUDAGraph | None:
        if min(self.memory.num_keys, most) - self._first_slot - self.count < MIN_STEPS:
            return None
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads of this process may be at work on the device, and that must not break a recording.
            mode = "thread_local"
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            stream = _stream(self.made.device)
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode=mode):
                self.advance()
        except RuntimeError as error:  # whatever the driver refuses, out of memory among it
            PATHS.reasons[f"recording failed: {str(error).splitlines()[0]}"] += 1
            return None
        return graph


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
