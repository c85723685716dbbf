"""One token for every row, again and again: the step as plain calls, and the same step with all that changes in tensors.

The static step is what a CUDA graph records (graphs.py); it runs anywhere, and tests hold it against the plain one.

Shapes: B rows, N new tokens, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autonas.model.memory import Memory, RowMemory, SharedMemory, StaticMemory
from autonas.model.plan import Plan
from autonas.model.sampling import Sampling, choose_tokens


@dataclass(slots=True)
class DecodePaths:
    """How many steps ran on each path ("native", "rows", "shared", "static", "graph"), and why a faster one was left."""

    steps: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.steps.clear()
        self.reasons.clear()


# Of this process. Tests and reports clear it, generate, and read it.
PATHS = DecodePaths()


@dataclass(slots=True, kw_only=True)
class Choice:
    """What the next tokens of B rows are chosen by: `uniforms` (N, B), and `seen` (B, V) where repetition is penalised.

    `counts` (B, V) and `bias` (V) are as `choose_tokens` wants them.
    """

    sampling: Sampling
    uniforms: Tensor | None
    seen: Tensor | None
    counts: Tensor | None = None
    bias: Tensor | None = None

    def __call__(self, logits: Tensor, step: int | Tensor) -> Tensor:
        uniforms = None
        if self.uniforms is not None:
            uniforms = self.uniforms[step] if isinstance(step, int) else self.uniforms.index_select(0, step)[0]
        tokens = choose_tokens(logits, self.sampling, uniforms, self.seen, self.counts, self.bias)
        if self.seen is not None:
            self.seen.scatter_(1, tokens[:, None], True)
        if self.counts is not None:
            self.counts.scatter_add_(1, tokens[:, None], self.counts.new_ones(len(tokens), 1))
        return tokens

    def select(self, index: Tensor) -> None:
        self.uniforms = None if self.uniforms is None else self.uniforms[:, index]
        self.seen = None if self.seen is None else self.seen[index]
        self.counts = None if self.counts is None else self.counts[index]


def next_logits(plan: Plan, tokens: Tensor, memory: Memory) -> Tensor:
    """Logits (B, V) of the token after `tokens` (B), whose keys and values are stored."""
    memory.begin()
    features = plan.features(tokens, memory.positions, memory.attend)
    memory.end()
    return plan.head(features)


class PlainSteps:
    """Each step is called as it is; rows that have ended can be left out."""

    def __init__(self, plan: Plan, memory: RowMemory | SharedMemory, choice: Choice, first: Tensor, num_new: int) -> None:
        """`first` (B, V) are the logits after the prompts."""
        self._plan, self._memory, self._choice = plan, memory, choice
        self.made = torch.empty(num_new, first.shape[0], dtype=torch.int64, device=first.device)
        self.made[0] = choice(first, 0)
        self.logits = first  # (B, V) of the tokens chosen last
        self.count = 1
        self._path = "shared" if isinstance(memory, SharedMemory) else "rows"

    def step(self) -> None:
        self.logits = next_logits(self._plan, self.made[self.count - 1], self._memory)
        self.made[self.count] = self._choice(self.logits, self.count)
        self.count += 1
        PATHS.steps[self._path] += 1

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        return self._memory.worth_keeping(running)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with `rows` only, which `worth_keeping` found."""
        index = torch.tensor(rows, device=self.made.device)
        self._memory.select(rows)
        self._choice.select(index)
        self.logits = self.logits[index]
        self.made = self.made[:, index]


class StaticSteps:
    """Every step is the same calls on the same memory: what changes is in tensors, `time` among them."""

    path = "static"

    def __init__(self, plan: Plan, memory: StaticMemory, choice: Choice, first: Tensor, num_new: int) -> None:
        self.plan, self.memory, self._choice = plan, memory, choice
        self.made = torch.empty(num_new, first.shape[0], dtype=torch.int64, device=first.device)
        self._tokens = choice(first, 0)
        self.made[0] = self._tokens
        self._time = torch.ones(1, dtype=torch.int64, device=first.device)
        self.count = 1

    def step(self) -> None:
        self.advance()
        self.count += 1
        PATHS.steps[self.path] += 1

    def advance(self) -> None:
        """What a graph records. Nothing in it depends on the host's numbers, but for `memory.num_keys`."""
        tokens = self._choice(next_logits(self.plan, self._tokens, self.memory), self._time)
        self._tokens.copy_(tokens)
        self.made.index_copy_(0, self._time, tokens[None])
        self._time += 1

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """All rows: recording another graph costs more than their places."""
        return list(range(self.made.shape[1])) if running else []

    def select(self, rows: Sequence[int]) -> None:
        raise AssertionError("rows of a static step stay where they are")
