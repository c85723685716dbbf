"""How a study is begun, or gone on with: everything that has to hold before the first job runs."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from autonas.data.dataset import Dataset, prepare
from autonas.engine.base import Engine
from autonas.engine.choice import check_device
from autonas.errors import DeviceError, InfeasibleArch, RecipeError, StudyError
from autonas.ledger import JOURNAL, Ledger, check_new, is_running, study_lease
from autonas.plan import data_notes
from autonas.policy.prior import Prior
from autonas.recipe import Recipe, difference
from autonas.run_data import check_shown
from autonas.study import files
from autonas.study.search import CANCELLED, WARM_START, Search, Watcher
from autonas.trial import StudyRecord, to_json


def run_study(
    recipe: Recipe,
    engine: Engine,
    *,
    name: str,
    folder: Path,
    storage: str | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    device: str = "cpu",
    threads: int = 1,
    watcher: Watcher | None = None,
    prior: Prior | None = None,
) -> StudyRecord:
    """Search until the budget is spent, and return the study. Interrupted at any moment, `resume` goes on from there.

    `prior` is what earlier trainings suggest to a new study; a resumed one keeps its own.

    `retry_failed` begins a new trial in the place of every one that has failed. A study that was cancelled returns as it is.

    Raises:
        StudyError: the study exists (and not `resume`), does not exist (and `resume`), is running elsewhere, or has another
            recipe or other data.
        RequestError: anything else that cannot be done as asked.
    """
    with study_lease(name, folder):
        watcher = watcher or Watcher()
        files.forget_cancel(folder)  # of an earlier run; whoever asks from now on means this one
        if recipe.training.schedule != "wsd":
            raise RecipeError(
                f"training.schedule is {recipe.training.schedule}, which has no stable trunk to go on from: "
                "a search needs wsd; cosine is for `autonas train`."
            )
        check_device(device)
        with contextlib.closing(engine), contextlib.ExitStack() as stack:
            if not resume:
                _check_unused(name, folder, storage)
                check_new(name, folder, storage)  # now, before Ray is started and a corpus built for it
            if resume:
                ledger = stack.enter_context(contextlib.closing(Ledger.open(name, folder, storage)))
                recipe = _resumed_recipe(ledger, recipe)
                _check_time(ledger, recipe)
            # Now, since workers that cannot be had should be known before a corpus is built.
            watcher.say(engine.describe())
            # The corpus comes before the study: a corpus that cannot be read must not leave an empty study behind.
            watcher.say("preparing the corpus")
            dataset = prepare(recipe.corpus, recipe.tokenizer, say=watcher.say)
            if recipe.promote is not None:
                check_shown(dataset, recipe.curriculum, recipe.teacher)  # and not when the search is over
            for text in data_notes(recipe, dataset):
                watcher.say(f"note: {text}")
            if resume:
                _check_same_data(ledger, dataset)
                ledger.extend_budget(recipe.resolved)
            else:
                created = Ledger.create(name, folder, storage, recipe.resolved, recipe.objectives)
                ledger = stack.enter_context(contextlib.closing(created))
                if prior is not None:
                    ledger.set_attribute(WARM_START, to_json(prior))
                files.clear(folder)
            study = Search(with_vocabulary(recipe, dataset), dataset, engine, ledger, folder, device, threads, watcher)
            try:
                study.search(retry_failed=retry_failed)
            except (DeviceError, RecipeError, InfeasibleArch):
                if not resume and study.is_blank():
                    ledger.discard()
                    files.remove(folder)
                raise
            return ledger.read()


def with_vocabulary(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with the vocabulary that its tokenizer really has: a user's own tokenizer brings its own size."""
    if recipe.space.vocab_size == dataset.vocab_size:
        return recipe
    return dataclasses.replace(recipe, space=dataclasses.replace(recipe.space, vocab_size=dataset.vocab_size))


def _check_unused(name: str, folder: Path, storage: str | None) -> None:
    """See that the folder is no other study's: a new one clears away what lies there. Raises StudyError."""
    if storage is not None and (folder / JOURNAL).exists():
        raise StudyError(f"{folder} is the folder of a study with a ledger of its own. Give another --study name or --out.")
    if storage is None and files.ledger_is_elsewhere(folder):
        raise StudyError(
            f"{folder} is the folder of a study {name!r} whose ledger is in another storage. Give --storage and --resume to go "
            "on with it, remove the folder, or give another --study name."
        )


def _check_time(ledger: Ledger, recipe: Recipe) -> None:
    """See that there is time to go on: else all that is alive would be stopped at once, for good. Raises StudyError."""
    attributes = ledger.read().attributes
    spent_s, hours = float(attributes.get("spent_s", 0.0)), recipe.search.max_hours
    if attributes.get("closed") is None and hours is not None and spent_s >= hours * 3600:
        raise StudyError(
            f"the study {ledger.name!r} has run for {spent_s / 3600:.3f} of its {hours:g} hours. Give it more: --max-hours H, "
            "with H counted from its beginning."
        )


def _resumed_recipe(ledger: Ledger, recipe: Recipe) -> Recipe:
    """The recipe to go on with: a resumed study may be given more trials and other hours; nothing else may differ."""
    stored = Recipe.from_resolved(ledger.read().recipe)
    if stored.fingerprint != recipe.fingerprint:
        changed = difference(stored, recipe)
        raise StudyError(
            f"the study {ledger.name!r} has another recipe: {'; '.join(changed[:5])}. Only trials and hours may change on "
            "--resume; give another --study name for another recipe."
        )
    if recipe.search.trials >= stored.search.trials:
        return recipe
    # Begun with more trials than the file says, by --trials: leaving that out on --resume takes nothing back.
    budget = {**recipe.resolved["budget"], "trials": stored.search.trials}
    return Recipe.from_resolved({**recipe.resolved, "budget": budget})


def _check_same_data(ledger: Ledger, dataset: Dataset) -> None:
    known = ledger.read().attributes.get("data")
    if known is not None and known["fingerprint"] != dataset.fingerprint:
        raise StudyError(
            f"the corpus of the study {ledger.name!r} has changed: it was {known['fingerprint']} and is now "
            f"{dataset.fingerprint}. Scores on different data cannot be compared; start another study."
        )


def study_status(study: StudyRecord) -> Mapping[str, int]:
    """How many trials are in each state, declared repeats included."""
    counts = dict.fromkeys(("live", "complete", "stopped", "infeasible", "failed"), 0)
    for trial in study.trials:
        counts[trial.state] += 1
    return counts


def cancel_study(name: str, folder: Path, storage: str | None = None, *, timeout_s: float = 60.0) -> StudyRecord:
    """Stop a study wherever it runs, or mark one that was interrupted as not to be gone on with; returns it as it is then.

    What was finished stays; `resume` takes it up again all the same.

    Raises:
        StudyError: there is no such study, it has ended already, or whoever runs it does not stop within `timeout_s`.
    """
    with contextlib.closing(Ledger.open(name, folder, storage)) as ledger:
        closed = ledger.read().attributes.get("closed")
        running = is_running(name, folder)
        if closed is not None and not running:
            raise StudyError(f"the study {name!r} has ended already ({closed}).")
        files.request_cancel(folder)
        deadline = time.monotonic() + timeout_s
        while running and time.monotonic() < deadline:
            time.sleep(0.1)
            running = is_running(name, folder)
        if running:
            raise StudyError(
                f"the study {name!r} has not stopped in {timeout_s:.0f} s. It will when it next looks: see `autonas status`."
            )
        with study_lease(name, folder):
            files.forget_cancel(folder)
            if ledger.read().attributes.get("closed") is None:
                ledger.set_attribute("closed", CANCELLED)
            return ledger.read()
