"""A study's trials as TensorBoard reads them: a folder with an event file for each, written from the ledger's records.

Steps are tokens. `loss/training` is the trunk's; the fork that is cooled down and scored at a rung is `loss/cooldown` and
`loss/validation`. The learning rate on the way is not in the ledger, and so not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autonas.errors import resource_error
from autonas.training.events import hparams_records, load_library, replace_events, scalars_record
from autonas.trial import Outcome, StudyRecord, TrialRecord


class TrialEvents:
    """Keeps the event files in `folder`, one folder a trial, as a study goes on: to be called with it after every change."""

    def __init__(self, folder: Path) -> None:
        load_library()
        self._folder = folder
        self._written: dict[int, TrialRecord] = {}

    def __call__(self, study: StudyRecord) -> None:
        """Write the files of the trials that have been scored, or have ended, since the last call.

        Raises:
            ResourceError: no space or no permission.
        """
        for trial in study.trials:
            if trial.rungs and self._written.get(trial.number) is not trial:
                try:
                    replace_events(self._folder / f"trial-{trial.number:05d}", trial_records(study.recipe, trial))
                except OSError as error:
                    raise resource_error(error, self._folder) from error
                self._written[trial.number] = trial


def trial_records(recipe: Mapping[str, Any], trial: TrialRecord) -> Iterator[bytes]:
    """What TensorBoard is told of a trial: settings, losses by tokens, and the objectives at the last rung once it is there.

    A trial that was stopped has no `objective/…`: nothing is to compare it across budgets.
    """
    settings = {} if trial.spec is None else {k: v for k, v in trial.spec.to_dict().items() if k in trial.params}
    names = {f"objective/{name}": name for name in recipe["objectives"]}
    yield from hparams_records(settings, list(names), ended=trial.state == "complete")
    for outcome in trial.rungs:
        yield from _rung_records(outcome, recipe["budget"]["rungs"][outcome.rung])
    if trial.state == "complete":
        last = trial.rungs[-1]
        scores = {tag: trial.score(name, last.rung) for tag, name in names.items()}
        yield scalars_record(last.tokens, {tag: score.value for tag, score in scores.items() if score is not None})


def _rung_records(outcome: Outcome, trunk_tokens: int) -> Iterator[bytes]:
    for tokens, loss in outcome.curve:
        if math.isfinite(loss):
            yield scalars_record(tokens, {"loss/training" if tokens <= trunk_tokens else "loss/cooldown": loss})
    values = {f"score/{name}": score.value for name, score in outcome.scores.items() if name != "val_loss"}
    if (held_out := outcome.scores.get("val_loss")) is not None:
        values["loss/validation"] = held_out.value
        values |= {"loss/validation_low": held_out.low, "loss/validation_high": held_out.high}
    yield scalars_record(outcome.tokens, values)
