"""What ends a training early: losses that are no numbers, losses that grow, memory that is not there. The loop calls these."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from autonas.errors import TrialFailure

HORIZON_STEPS = 16  # the loss of one small batch is noisy (±0.3 nats); its running mean is judged
ABOVE_UNIFORM_NATS = 1.0  # a model that has learned nothing scores log V
ABOVE_BEST_NATS = 2.0  # a recoverable spike of the running mean stays below 1
NEAR_BEST_NATS = 0.5  # the running mean of batches of 64 tokens wanders by 0.4; of 1,024 and more, by 0.2
# As torch says it, the C++ library (std::bad_alloc) and CUDA's own libraries (CUBLAS_STATUS_ALLOC_FAILED).
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "status_alloc_failed",
)


class LossGuard:
    """Watches the training loss of one trial; its whole state goes to JSON, so that a resumed trial fails where it would have.

    At `boundaries` (tokens) other texts begin to be shown, whose loss may be another: the running mean begins anew there.

    Raises:
        TrialFailure: from `check`. "nan": the loss or the gradient norm is not finite. "diverged": the running mean of the loss
            lies above log V + 1 after the warm-up, or 2 nats above its own best.
    """

    def __init__(self, vocab_size: int, warmup_tokens: int, boundaries: Sequence[int] = ()) -> None:
        self._limit = math.log(vocab_size) + ABOVE_UNIFORM_NATS
        self._warmup_tokens = warmup_tokens
        self._boundaries = tuple(boundaries)
        self._stage = 0  # how many of them lie behind
        self._steps = 0
        self._sum = 0.0
        self._mean = math.inf  # of the loss, running
        self._best = math.inf

    @property
    def is_near_best(self) -> bool:
        """Whether the running mean is about as low as it ever was: what comes next will go wrong by itself, if it does."""
        return self._mean <= self._best + NEAR_BEST_NATS and not math.isinf(self._best)

    def check(self, tokens: int, loss: float, gradient_norm: float) -> None:
        """Judge the step that ended at `tokens`."""
        if not math.isfinite(loss):
            raise TrialFailure("nan", f"the loss is {loss} after {tokens:,} tokens")
        if not math.isfinite(gradient_norm):
            raise TrialFailure("nan", f"the gradient norm is {gradient_norm} after {tokens:,} tokens")
        stage = bisect_left(self._boundaries, tokens)
        if stage != self._stage:
            self._stage, self._steps, self._sum, self._best = stage, 0, 0.0, math.inf
        decay = 1.0 - 1.0 / HORIZON_STEPS
        self._steps += 1
        self._sum = decay * self._sum + (1.0 - decay) * loss
        mean = self._mean = self._sum / (1.0 - decay**self._steps)
        if self._steps < HORIZON_STEPS:
            return
        self._best = min(self._best, mean)
        if tokens > self._warmup_tokens and mean > self._limit:
            raise TrialFailure("diverged", f"the loss runs at {mean:.2f} nats, above chance, after {tokens:,} tokens")
        if mean > self._best + ABOVE_BEST_NATS:
            raise TrialFailure("diverged", f"the loss rose from {self._best:.2f} to {mean:.2f} nats by {tokens:,} tokens")

    def state(self) -> dict[str, Any]:
        best = None if math.isinf(self._best) else self._best
        return {"steps": self._steps, "sum": self._sum, "best": best, "stage": self._stage}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._steps, self._sum, self._stage = int(state["steps"]), float(state["sum"]), int(state.get("stage", 0))
        self._best = math.inf if state["best"] is None else float(state["best"])
        decay = 1.0 - 1.0 / HORIZON_STEPS
        self._mean = self._sum / (1.0 - decay**self._steps) if self._steps else math.inf


@contextmanager
def memory_guard(doing: str) -> Iterator[None]:
    """Translate every way in which torch and Python run out of memory.

    Raises:
        TrialFailure: "out_of_memory".
    """
    try:
        yield
    except (MemoryError, RuntimeError) as exc:
        if not is_out_of_memory(exc):
            raise
        reason = str(exc).strip().splitlines()
        raise TrialFailure("out_of_memory", f"out of memory while {doing}" + (f": {reason[0]}" if reason else "")) from exc


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or one that led to it, says that there was not enough memory.

    On the CPU torch says so in a plain RuntimeError. In the capture of a graph the error of ending it takes the place of the
    one that ended it, and a compiler wraps what it meets in an error of its own.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and not any(link is one for one in chain):
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return any(_says_out_of_memory(one) for one in chain)


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in _OUT_OF_MEMORY)
