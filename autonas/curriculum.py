"""What a full run is shown, where that is not its whole corpus alike from beginning to end: stages, and a teacher, as data.

How a stage is made of documents is in data/stages.py, how documents are ranked in difficulty.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PAIRS: Final = "pairs"  # the source that is made of the corpus itself: functions, each with what comes before its body


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a run with documents of its own choice. An empty choice is all of the training split."""

    share: float  # of the run's tokens; shares of all stages add up to 1
    sources: tuple[tuple[str, float], ...] = ()  # each with its share of the tokens; none: those of the corpus, as they are
    difficulty: tuple[float, float] = (0.0, 1.0)  # between which shares of the tokens, from the easiest document on
    min_tokens: int = 0  # of a document
    max_tokens: int | None = None
    max_epochs: float | None = None  # no source is shown oftener within the stage: others take its place

    def __post_init__(self) -> None:
        low, high = self.difficulty
        assert 0.0 < self.share <= 1.0, self
        assert 0.0 <= low < high <= 1.0, self
        assert all(weight > 0.0 for _, weight in self.sources), self
        assert len({name for name, _ in self.sources}) == len(self.sources), self
        assert self.min_tokens >= 0 and (self.max_tokens is None or self.max_tokens >= max(self.min_tokens, 1)), self
        assert self.max_epochs is None or self.max_epochs > 0.0, self

    @property
    def is_ranked(self) -> bool:
        """Whether it asks how difficult documents are."""
        return self.difficulty != (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The small model whose loss on a document is its difficulty."""

    layers: int = 2
    width: int = 64
    tokens: int = 500_000  # that each of two is trained on: one of them has not seen the document


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """Stages in their order, sources beside the corpus (name and file of JSON Lines), and who says what is difficult."""

    stages: tuple[Stage, ...]
    texts: tuple[tuple[str, str], ...] = ()
    judge: Judge = Judge()

    def __post_init__(self) -> None:
        assert self.stages and math.isclose(sum(stage.share for stage in self.stages), 1.0, abs_tol=1e-6), self

    @property
    def is_ranked(self) -> bool:
        return any(stage.is_ranked for stage in self.stages)

    @property
    def wants_pairs(self) -> bool:
        return any(name == PAIRS for stage in self.stages for name, _ in stage.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model whose predictions a run learns from beside the text (Hinton et al., arXiv 1503.02531).

    The loss is `(1 - weight) * text + weight * temperature² * KL(teacher ‖ student)`, both softened by `temperature`.
    """

    model: str  # a run's folder, or a folder or hub name of a Hugging Face causal model with the same tokenizer
    weight: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        assert 0.0 < self.weight <= 1.0 and self.temperature > 0.0, self
