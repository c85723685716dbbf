"""What a promotion does before its run: chooses on replicas what only a long run can judge, and says how the run will end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from autonas.engine.base import Engine
from autonas.policy.replica import FullRun
from autonas.promotion.execution import record, told_of_cancelling
from autonas.promotion.prediction import predict_run, predictions_text, write_prediction
from autonas.promotion.promote import Promotion
from autonas.promotion.replicas import run_replicas
from autonas.recipe import Recipe
from autonas.trial import Job, StudyRecord


def before_run(
    study: StudyRecord,
    promotion: Promotion,
    job: Job,
    engine: Engine,
    *,
    study_folder: Path,
    trials_dir: str | Path,
    storage: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Job:
    """The promotion's job, claimed as `job`, with what its replicas chose; its prediction is in its folder by then.

    Raises:
        RequestError: a replica cannot be trained as asked, or the folder cannot be written.
        TrialFailure: replicas' workers were lost again and again, or the promotion was cancelled.
    """
    experiment, predicted = promotion.experiment, promotion.predicted
    if experiment is not None:
        search = Recipe.from_resolved(study.recipe).search
        with told_of_cancelling(job, storage=storage, trials_dir=trials_dir):
            choice = run_replicas(job, experiment, engine, seed=search.seed, retries=search.retries, say=say)
        if choice is not None:
            job = dataclasses.replace(job, spec=choice.spec(job.spec))
            record(promotion, study_folder, storage, choice)
            full: FullRun = dataclasses.replace(experiment.full, spec=job.spec)
            predicted = predict_run(
                study,
                promotion.pick.trial,
                full,
                replica=experiment.replica,
                choice=choice,
                revised=promotion.revised,
                new_seeds=promotion.looked.get("seeds", 0),
            )
            say(predictions_text(predicted))
    write_prediction(promotion.folder, predicted)
    return job
