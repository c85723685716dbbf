"""What is evaluated, and what of it may be chosen, as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.evaluation.coding.records import CodingSettings
from autonas.evaluation.profile import ProfileSettings
from autonas.loaded_run import LoadedRun
from autonas.run_data import run_windows
from autonas.run_folder import read_evaluation, run_tokens
from autonas.trial import EvaluationSettings, Job

# Raise it when a part measures something else than it did: all results are then made anew.
SUITE_VERSION: Final = "suite-2"
_WINDOWS_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSettings:
    """What is asked of a run beyond what its recipe says."""

    profile: ProfileSettings = field(default_factory=ProfileSettings)
    latency_batch: int = 32  # of the second timing; 1 leaves it out
    tasks: tuple[str, ...] = ("builtin",)  # sources of coding tasks, as `load_tasks` takes them
    coding: CodingSettings = field(default_factory=CodingSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run under evaluation."""

    folder: Path
    job: Job
    loaded: LoadedRun
    dataset: Dataset
    device: torch.device
    settings: SuiteSettings
    weights: str  # a digest of them
    again: bool  # nothing that was measured before is to be used
    make_way: Callable[[], object]
    step: Callable[[int, int], object]  # how many steps of how many of the part are done

    @property
    def evaluation(self) -> EvaluationSettings:
        return self.job.evaluation

    @property
    def tokens(self) -> int:
        """That the model was shown."""
        return int(read_evaluation(self.folder).get("tokens", run_tokens(self.job)))

    def text(self, most: int) -> NDArray[np.int64]:
        """Tokens of the text that the run was shown, each once, in the order it was shown; at most so many."""
        context = self.loaded.spec.context_length
        windows = run_windows(self.dataset, self.job)
        count = min(-(-self.tokens // context), windows.num_windows, most // context)
        return windows.take(0, count)[:, :-1].reshape(-1)

    def shown(self) -> Iterator[NDArray[np.int64]]:
        """The training windows that the run was shown, some thousands at a time."""
        context = self.loaded.spec.context_length
        windows = run_windows(self.dataset, self.job)
        count = -(-self.tokens // context)
        for first in range(0, count, _WINDOWS_AT_ONCE):
            self.make_way()
            yield windows.take(first, min(_WINDOWS_AT_ONCE, count - first))


def digest(value: Any) -> str:
    """Of JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
