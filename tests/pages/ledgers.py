"""A study record as a ledger on disk, for what reads studies by their names."""

from __future__ import annotations

import contextlib
from pathlib import Path

from autonas.ledger import Ledger
from autonas.trial import Failure, StudyRecord


def keep(study: StudyRecord, trials_dir: Path) -> None:
    """Write the study into a journal of its own, trial by trial, those that were repeated or stopped as they were."""
    folder = trials_dir / study.name
    folder.mkdir(parents=True)
    objectives = list(study.recipe["objectives"])
    with contextlib.closing(Ledger.create(study.name, folder, None, study.recipe, objectives)) as ledger:
        for key, value in study.attributes.items():
            ledger.set_attribute(key, value)
        for trial in study.trials:
            if trial.state == "infeasible":
                rule, _, reason = trial.reason.partition(": ")
                number = ledger.add_infeasible(trial.params, {}, rule=rule, reason=reason, nearest=None, spec=trial.spec)
                assert number == trial.number
                continue
            assert trial.spec is not None
            number = ledger.begin(trial.params, {}, trial.spec, trial.scores, repeat_of=trial.repeat_of)
            assert number == trial.number
            for outcome in trial.rungs:
                ledger.finish_rung(outcome)
            if trial.state == "complete":
                scores = [trial.score(name, len(trial.rungs) - 1) for name in objectives]
                ledger.complete(number, [score.value for score in scores if score is not None])
            elif trial.state == "stopped":
                ledger.stop(number)
            else:
                ledger.fail(number, Failure(kind=trial.failure or "error", message=trial.reason))
