"""A search, from its space file to its finished study, and the promotion at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autonas.api.promotions import promote_winner
from autonas.api.reading import read_recipe, read_study, study_folder
from autonas.engine.base import OnProgress
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import RequestError
from autonas.machine import resolve_threads
from autonas.policy.prior import Prior, joined, params_of, prior_of_study
from autonas.recipe import Recipe
from autonas.reporting.front import front_json
from autonas.run_folder import TRIALS
from autonas.space.spec_file import read_spec
from autonas.study import CANCELLED, Watcher, run_study
from autonas.study.files import EVENTS, cancel_requested
from autonas.study.trial_events import TrialEvents
from autonas.trial import StudyRecord


def search(
    space: str | Path | Recipe,
    *,
    study: str | None = None,
    trials: int | None = None,
    max_hours: float | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    storage: str | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    warm_start: Sequence[str | Path] = (),
    engine: EngineSettings | None = None,
    out: str | Path = TRIALS,
    promote: bool = True,
    tensorboard: str | Path | None = None,
    watcher: Watcher | None = None,
    on_progress: OnProgress | None = None,
) -> StudyRecord:
    """Search a space, a file or the bare name of one that ships with autonas; returns the finished study.

    A space file with a `promote:` section has its winner trained in full at the end, unless `promote` is False.

    The study is kept in `out`/`study` (default: trials/ and the space's name). `resume` goes on with it; `retry_failed` then
    begins a new trial in the place of each that failed. `warm_start` names earlier studies in `out` (or `storage`), whose
    fronts are begun with and whose losses are learnt from, and files of single architectures to begin with. `storage` is any
    Optuna storage URL to use instead of the embedded ledger. Unless `engine` says otherwise, Ray workers run the trials on this
    machine, one thread each: a second one makes small models at most 1.7 times as fast on a quiet machine, and up to 25 times
    as slow on a busy one.

    `tensorboard` is a folder for an event file of each trial, written as trials are scored.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
    """
    if retry_failed and not resume:
        raise RequestError("--retry-failed tries again what has failed in a study that exists; give --resume with it")
    overrides = (trials, max_hours, sampler, seed)
    if isinstance(space, Recipe) and any(value is not None for value in overrides):
        raise RequestError("search: a Recipe has its trials, max_hours, sampler and seed; give them to load_recipe")
    recipe = space if isinstance(space, Recipe) else read_recipe(space, *overrides)
    name = study or recipe.name
    if warm_start and resume:
        raise RequestError("--warm-start is for a study that begins; one that is resumed keeps what it was begun with")
    prior = _prior(warm_start, recipe, storage, out, (watcher or Watcher()).say) if warm_start else None
    engine = engine or EngineSettings()
    resolve_threads(engine.threads)
    folder = study_folder(name, out)
    record = run_study(
        recipe,
        make_engine(engine, on_progress, stop=lambda: cancel_requested(folder)),
        name=name,
        folder=folder,
        storage=storage,
        resume=resume,
        retry_failed=retry_failed,
        device=engine.device,
        threads=engine.threads,
        watcher=_with_events(watcher or Watcher(), tensorboard),
        prior=prior,
    )
    cancelled = record.attributes.get("closed") == CANCELLED
    if not promote or recipe.promote is None or cancelled or not front_json(record):
        return record
    say = (watcher or Watcher()).say
    promote_winner(name, storage=storage, out=out, engine=engine, say=say)
    return read_study(name, storage=storage, out=out)


def write_trial_events(
    name: str, folder: str | Path | None = None, *, storage: str | None = None, out: str | Path = TRIALS
) -> Path:
    """Write an event file for each trial of a study that was scored, for TensorBoard; returns the folder that they are in.

    By default it is the study's own, tensorboard/. A search writes the same as it goes on with `tensorboard`.
    """
    place = study_folder(name, out) / EVENTS if folder is None else Path(folder)
    TrialEvents(place)(read_study(name, storage=storage, out=out))
    return place


def _with_events(watcher: Watcher, folder: str | Path | None) -> Watcher:
    """The watcher, before whom the event files are brought up to date."""
    if folder is None:
        return watcher
    events = TrialEvents(Path(folder))

    def changed(study: StudyRecord) -> None:
        events(study)
        watcher.changed(study)

    return Watcher(say=watcher.say, changed=changed)


def _prior(
    sources: Sequence[str | Path], recipe: Recipe, storage: str | None, out: str | Path, say: Callable[[str], None]
) -> Prior:
    """What studies (by name) and architectures (by file) suggest to a search of `recipe`."""
    if recipe.search.sampler != "autonas":
        raise RequestError(f"--warm-start is for the sampler autonas, and this one is {recipe.search.sampler}; leave one out")
    found = []
    for source in map(str, sources):
        if Path(source).suffix in (".yaml", ".yml", ".json"):
            spec = read_spec(source, {"vocab_size": recipe.space.vocab_size, "context_length": recipe.space.context_length})
            params = params_of(spec, recipe.space)
            if params is None:
                raise RequestError(
                    f"--warm-start {source}: the space {recipe.name} does not hold this architecture, or a rule or limit "
                    "forbids it; change the file, or widen the space"
                )
            found.append(Prior(sources=(source,), starts=(params,)))
            continue
        prior = prior_of_study(read_study(source, storage=storage, out=out), recipe.space)
        if not prior.params:
            raise RequestError(f"--warm-start {source}: no trial that this study completed is in the space {recipe.name}")
        say(f"warm start from {source}: begins with {len(prior.starts)} of its front, learns from {len(prior.params)} scores")
        found.append(prior)
    return joined(found)
