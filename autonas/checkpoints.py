"""Which of a study's checkpoints are needed, and freeing the others. How they are written is in training/checkpoint.py."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from autonas import pareto
from autonas.objective import OBJECTIVES
from autonas.trial import StudyRecord, TrialRecord


def front_numbers(study: StudyRecord) -> list[int]:
    """The complete trials (declared repeats left out) that no other dominates, by the means over their seeds."""
    done = [trial for trial in study.trials if trial.state == "complete" and trial.repeat_of is None]
    seeds = {trial.number: [trial] for trial in done}
    for trial in study.trials:
        if trial.state == "complete" and trial.repeat_of in seeds:
            seeds[trial.repeat_of].append(trial)
    rows = [[_mean_over_seeds(name, seeds[trial.number]) for name in study.recipe["objectives"]] for trial in done]
    return [trial.number for trial, on_front in zip(done, pareto.non_dominated(rows), strict=True) if on_front]


def _mean_over_seeds(name: str, trials: Sequence[TrialRecord]) -> float:
    # What is known before training is the original's: its repeats have the same architecture.
    if OBJECTIVES[name].before_training:
        trials = trials[:1]
    scores = [trial.score(name, len(trial.rungs) - 1) for trial in trials]
    return statistics.mean(score.value for score in scores if score is not None)


def clean_checkpoints(study: StudyRecord, folder: Path) -> int:
    """Remove checkpoints that nothing needs: all but those of live, paused and front trials. Returns the bytes freed.

    What a process killed while saving has left behind goes too.
    """
    needed = {f"{number:05d}" for number in front_numbers(study)}
    needed |= {f"{trial.number:05d}" for trial in study.trials if trial.state == "live"}
    freed = 0
    root = folder / "checkpoints"
    for path in sorted(root.glob("*/")) if root.is_dir() else ():
        files = [file for file in path.rglob("*") if file.is_file()]
        unneeded = [file for file in files if path.name not in needed or file.suffix == ".tmp"]
        freed += sum(file.stat().st_size for file in unneeded)
        for file in unneeded:
            file.unlink(missing_ok=True)
        if path.name not in needed:
            shutil.rmtree(path, ignore_errors=True)
    return freed
