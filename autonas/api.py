"""What the commands do, as Python functions: `autonas.search(...)`, `autonas.front(...)` and their kin. Prints nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autonas.arch import ArchSpec
from autonas.data.dataset import prepare
from autonas.engine.base import JobProgress, OnProgress
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import RequestError, StudyError, TrialFailure
from autonas.ledger import Ledger, is_running, run_lease
from autonas.machine import resolve_threads
from autonas.policy.prior import Prior, joined, params_of, prior_of_study
from autonas.promotion.before import before_run
from autonas.promotion.book import Book, books, new_book, read_book
from autonas.promotion.candidates import begin_book, given_up, judge_run, look_again, next_run
from autonas.promotion.execution import begun_promotion, cancel_runs, carry_out, check_room, claimed, promote_command
from autonas.promotion.execution import record as record_promotion
from autonas.promotion.prediction import check_prediction
from autonas.promotion.promote import (
    Promotion,
    check_resumed,
    plan_promotion,
    preference,
    resumed_job,
    second_look_of,
    unfinished_run,
)
from autonas.promotion.replicas import is_choosing
from autonas.promotion.succession import YIELDING
from autonas.recipe import Recipe, load_recipe
from autonas.reporting.front import front_json
from autonas.run_folder import TRIALS, read_evaluation, run_state, run_tokens, write_json
from autonas.space.spec_file import read_spec
from autonas.study import CANCELLED, Watcher, cancel_study, run_study
from autonas.study.files import cancel_requested, forget_cancel
from autonas.trial import Job, StudyRecord

if TYPE_CHECKING:
    from autonas.loaded_run import LoadedRun

REPORTS = Path("reports")


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
        watcher=watcher,
        prior=prior,
    )
    cancelled = record.attributes.get("closed") == CANCELLED
    if not promote or recipe.promote is None or cancelled or not front_json(record):
        return record
    say = (watcher or Watcher()).say
    promote_winner(name, storage=storage, out=out, engine=engine, say=say)
    return read_study(name, storage=storage, out=out)


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


def read_recipe(
    space: str | Path,
    trials: int | None = None,
    max_hours: float | None = None,
    sampler: str | None = None,
    seed: int | None = None,
) -> Recipe:
    """The recipe in a space file, with what is not None replaced."""
    return load_recipe(str(space), trials=trials, max_hours=max_hours, sampler=sampler, seed=seed)


def study_folder(name: str, out: str | Path = TRIALS) -> Path:
    """Where a study keeps its files.

    Raises:
        StudyError: the name cannot be that of a folder.
    """
    if not name or name.startswith(".") or any(c in name for c in "/\\\0\n"):
        raise StudyError(f"--study {name!r} cannot be the name of a folder. Use letters, digits, - and _.")
    return Path(out) / name


def read_study(name: str, *, storage: str | None = None, out: str | Path = TRIALS) -> StudyRecord:
    """Everything that the ledger knows of a study, running or not.

    Raises:
        StudyError: there is none of this name.
        StorageError: its storage cannot be read.
    """
    with contextlib.closing(Ledger.open(name, study_folder(name, out), storage)) as ledger:
        return ledger.read()


def cancel(
    name: str,
    *,
    storage: str | None = None,
    out: str | Path = TRIALS,
    say: Callable[[str], None] = lambda text: None,
) -> StudyRecord:
    """Stop a study that runs, wherever it does, or close one that was interrupted; returns it as it is then.

    Its promotions that are at work on this machine are stopped too; `say` tells which, and how to go on with them.

    Raises:
        StudyError: there is none of this name, it has ended and is not being promoted, or it does not stop within a minute.
    """
    folder = study_folder(name, out)
    study = read_study(name, storage=storage, out=out)
    stopped = cancel_runs(study, folder)
    for run in stopped:
        if run_state(run) == "ended":
            say(f"the run in {run} had ended before it could be stopped")
        else:
            command = promote_command(name, going_on_with=run, storage=storage, trials_dir=out)
            say(f"the run in {run} was stopped; go on with it: {command}")
    if stopped and study.attributes.get("closed") is not None and not is_running(name, folder):
        return study
    return cancel_study(name, folder, storage)


def front(name: str, *, storage: str | None = None, out: str | Path = TRIALS) -> list[dict[str, Any]]:
    """The front of a study: trial, fingerprint, spec, scores with intervals, rung, seeds, probability of being on it."""
    return front_json(read_study(name, storage=storage, out=out))


def report(name: str, *, storage: str | None = None, out: str | Path = TRIALS, file: str | Path | None = None) -> Path:
    """Write a study's report, by default to reports/<study>.html; returns where."""
    from autonas.reporting.render import write_report

    study = read_study(name, storage=storage, out=out)
    return write_report(study, Path(file) if file else REPORTS / f"{name}.html", evaluations_of(study))


def report_run(run: str | Path, *, file: str | Path | None = None) -> Path:
    """Write the page of a full run, which may still be trained, by default to evaluation.html in its folder; returns where.

    Raises:
        StudyError: there is no run in `run`, or its files cannot be read.
    """
    from autonas.reporting.run_page import write_page
    from autonas.reporting.run_so_far import run_so_far

    folder = Path(run)
    run_so_far(folder)  # there is one
    return write_page(read_evaluation(folder), folder, None if file is None else Path(file))


def evaluations_of(study: StudyRecord) -> dict[str, dict[str, Any]]:
    """What evaluation.json says of each of a study's full runs that have ended and are still there, by the folder's name."""
    folders = [Path(each["folder"]) for each in study.attributes.get("promotions") or ()]
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if run_state(folder) == "ended":
            try:
                found[folder.name] = read_evaluation(folder)
            except StudyError as error:  # of one run: the report of its study tells it
                found[folder.name] = {"findings": [{"check": "evaluation", "severity": "note", "text": str(error)}]}
    return found


def load(run: str | Path, *, device: str = "auto") -> LoadedRun:
    """The model, tokenizer and spec of a finished run, or of a folder that `export` wrote as safetensors or hf."""
    from autonas.exporting.loading import is_export, load_export  # torch comes with it
    from autonas.loaded_run import load_run

    return load_export(Path(run), device) if is_export(Path(run)) else load_run(Path(run), device)


def export(
    run: str | Path,
    *,
    format: str | Sequence[str],  # noqa: A002 — as the command has it
    out: str | Path,
    int8: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Write a finished run as other tools load it: "safetensors", "hf", "onnx", "gguf", some of them, or "all".

    One format is written into `out`, several into folders of their names in it, after each was held to the run's model in its
    own runtime; returns what parity.json has, a mapping for each. `int8` adds quantised weights to onnx and gguf, and measures
    their loss.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
        ExportError: what was written does not compute what the run's model does; nothing of it is kept.
    """
    from autonas.exporting.export import export_run  # torch comes with it

    return export_run(Path(run), [format] if isinstance(format, str) else list(format), Path(out), int8=int8, say=say)


def evaluate(
    run: str | Path,
    *,
    against: str | Path | None = None,
    only: Sequence[str] = (),
    again: bool = False,
    tasks: Sequence[str] = ("builtin",),
    space: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_part: Callable[[str, int, int], object] = lambda name, done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Ask everything of a finished run; returns what its evaluation.json then holds. evaluation.html beside it is for reading.

    Parts that were asked the same before are not done again, unless `again`; `only` names those to do. `against` is another run
    that has been evaluated: losses are compared with its by document, collapse by prompt. `space` is the recipe of the run's
    corpus, where its data set is not on this machine. `tasks` are coding tasks: "builtin", files of HumanEval or MBPP, or names
    on the hub.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
    """
    from autonas.reporting.run_page import write_page
    from autonas.suite.comparison import compare_runs, evaluated_parts, renew_comparisons
    from autonas.suite.running import evaluate_run  # torch comes with it
    from autonas.suite.subject import SuiteSettings

    folder, dataset = Path(run), None
    if against is not None:
        evaluated_parts(Path(against))  # found out now, and not after what takes minutes
    if space is not None:
        recipe = read_recipe(space)
        dataset = prepare(recipe.corpus, recipe.tokenizer, say=say)
    values = evaluate_run(
        folder,
        settings=SuiteSettings(tasks=tuple(tasks)),
        only=only,
        again=again,
        dataset=dataset,
        device=device,
        threads=threads,
        on_part=on_part,
        say=say,
    )
    write_page(values, folder)
    before = values.get("comparisons", {})
    comparisons = renew_comparisons(folder, before, say)
    if against is not None:
        comparisons[str(against)] = compare_runs(folder, Path(against))
    if comparisons != before:
        values = {**values, "comparisons": comparisons}
        write_json(folder / "evaluation.json", values)
        write_page(values, folder)
    return values


def finetune(
    run: str | Path,
    data: str | Path,
    *,
    method: str = "lora",
    out: str | Path | None = None,
    resume: bool = False,
    space: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[JobProgress, int], None] = lambda progress, total_steps: None,
    **settings: Any,
) -> Path:
    """Tune a finished run on the examples of `data`; returns the tuned run's folder, which `load` and `evaluate` take.

    `method` is "lora" (adapters) or "sft" (every weight). The folder is `out`, by default the run's with the method behind its
    name. `settings` are those of `tuning.planning.plan_tuning`: steps or epochs, rate, batch, rank, alpha, dropout, targets,
    validation_share, patience, tasks, allow_contamination, seed. `space` is the recipe of the run's corpus, where its data set
    is not on this machine.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
        TrialFailure: the tuning ended badly (it diverged, there was no memory); its last checkpoint is kept.
    """
    from autonas.engine.inline import InlineEngine
    from autonas.tuning.planning import plan_tuning

    folder = Path(out) if out is not None else Path(f"{Path(run)}-{method}")
    ref = None
    if space is not None:
        recipe = read_recipe(space)
        ref = prepare(recipe.corpus, recipe.tokenizer, say=say).ref
    job, plan = plan_tuning(
        Path(run),
        Path(data),
        method=method,
        folder=folder,
        device=device,
        threads=resolve_threads(threads),
        data_ref=ref,
        **settings,
    )
    for line in plan.lines():
        say(line)
    total = plan.tokens_of(job)
    with (
        claimed(job, resume=resume) as job,
        contextlib.closing(InlineEngine(lambda step: on_progress(step, total))) as engine,
    ):
        check_room(engine, job)
        carry_out(job, engine, say=say)
    report_run(folder)
    return folder


def propose_promotion(
    study: str,
    *,
    trial: int | None = None,
    select: str | None = None,
    limits: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int | None = None,
    storage: str | None = None,
    out: str | Path = TRIALS,
    run: str | Path | None = None,
    retest: int | None = None,
    retest_seeds: int | None = None,
    succession: bool | None = None,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Promotion:
    """What `promote` with the same arguments would do: the pick and its reason, the job, its epochs and its seconds here."""
    record = read_study(study, storage=storage, out=out)
    engine = engine or EngineSettings()
    settings = Recipe.from_resolved(record.recipe).promote
    wanted = preference(settings, trial=trial, select=select, limits=limits, weights=weights)
    return plan_promotion(
        record,
        wanted,
        study_folder=study_folder(study, out),
        steps=steps,
        run=None if run is None else Path(run),
        device=engine.device,
        threads=resolve_threads(engine.threads),
        say=say,
        **second_look_of(settings, wanted, retest=retest, seeds=retest_seeds, succession=succession),
    )


def promote(
    study: str,
    *,
    trial: int | None = None,
    select: str | None = None,
    limits: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int | None = None,
    storage: str | None = None,
    out: str | Path = TRIALS,
    run: str | Path | None = None,
    resume: bool = False,
    retest: int | None = None,
    retest_seeds: int | None = None,
    succession: bool | None = None,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_progress: Callable[[JobProgress, int], None] = lambda progress, total_tokens: None,
) -> Path:
    """Train the winner of a study in full; returns the run's folder, which `load` takes.

    The winner is the front's knee, or what `select` (an objective), `limits` (score to most) and `weights` (objective to
    weight) prefer, or `trial`; what is left out is as the space file's `promote:` says. The folder is `run`, by default one in
    the study's `runs/`. `resume` goes on with the run that was interrupted, as it was begun; `run` is then its folder, or the
    promotion's. `on_run` is told the folder when a full run begins, `on_progress` its steps.

    First the best `retest` candidates are trained again with `retest_seeds` new seeds each, and the likeliest best is picked.
    With `succession` the next of them takes the place of one whose run diverges or collapses. A trial that is named is trained
    again only where `retest` is given, and nobody takes its place.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
        TrialFailure: the run ended badly (it diverged, there was no memory); its last checkpoint is kept. With several
            candidates: all of their runs did, or all candidates are out before.
    """
    engine, promotion = engine or EngineSettings(), None
    where: dict[str, Any] = {"storage": storage, "out": out, "engine": engine, "say": say}
    where |= {"on_run": on_run, "on_progress": on_progress}
    if resume:
        if select is not None or limits or weights:
            raise StudyError("--resume goes on with a run as it was begun: leave out --select, --limit and --weight")
        if retest is not None or retest_seeds is not None or succession is not None:
            raise StudyError(
                "--resume goes on with a promotion as it was begun: leave out --retest, --retest-seeds, --no-retest and "
                "--no-succession"
            )
        record = read_study(study, storage=storage, out=out)
        own = study_folder(study, out)
        begun = unfinished_run(own) if run is None else Path(run)
        book = next((each for each in books(own) if each.is_in(begun)), None)
        if book is not None:
            running = book.under_way.trial if book.under_way else book.retest.candidates[0].trial
            options = (("--steps", steps, book.steps), ("--trial", trial, running))
            check_resumed(book.folder, record, book.study, options)
            return _by_book(record, book, **where)
        asked: dict[str, Any] = {
            "steps": steps,
            "trial": trial,
            "device": engine.device,
            "threads": resolve_threads(engine.threads),
            "say": say,
        }
        if is_choosing(begun):
            promotion = begun_promotion(record, begun, study_folder=own, **asked)
            job = promotion.job
        else:
            job = resumed_job(record, begun, **asked)
    else:
        promotion = propose_promotion(
            study,
            trial=trial,
            select=select,
            limits=limits,
            weights=weights,
            steps=steps,
            storage=storage,
            out=out,
            run=run,
            retest=retest,
            retest_seeds=retest_seeds,
            succession=succession,
            engine=engine,
            say=say,
        )
        if promotion.retest is not None:
            record = read_study(study, storage=storage, out=out)
            settings = Recipe.from_resolved(record.recipe).promote
            wanted = preference(settings, trial=trial, select=select, limits=limits, weights=weights)
            own = study_folder(study, out)
            book = begin_book(record, own, promotion, wanted, None if run is None else Path(run))
            say(promotion.describe())
            return _by_book(record, book, **where)
        job = promotion.job
    return _in_full(study, job, promotion, **where)


def _by_book(
    study: StudyRecord,
    book: Book,
    *,
    storage: str | None,
    out: str | Path,
    engine: EngineSettings,
    say: Callable[[str], None],
    on_run: Callable[[Path], object],
    on_progress: Callable[[JobProgress, int], None],
) -> Path:
    """Carry a promotion with several candidates through, from wherever it was; returns the folder of the run that stands."""
    own, name = study_folder(study.name, out), study.name
    where: dict[str, Any] = {"storage": storage, "out": out, "engine": engine, "say": say}
    where |= {"on_run": on_run, "on_progress": on_progress}
    here: dict[str, Any] = {"device": engine.device, "threads": resolve_threads(engine.threads), "say": say}
    with run_lease(book.folder):
        forget_cancel(book.folder)
        book = read_book(book.folder) or book  # another process may have gone on with it meanwhile
        if book.look is None:
            runner = make_engine(engine, stop=lambda: cancel_requested(book.folder))
            with contextlib.closing(runner):
                book = look_again(study, book, runner, study_folder=own, storage=storage, trials_dir=out, **here)
        while (turn := next_run(study, book, own, **here)) is not None:
            book, promotion = turn.book, turn.promotion
            folder, failure = Path(turn.attempt.folder), ""
            try:
                if turn.job is not None:
                    _in_full(name, turn.job, promotion, **where)
            except TrialFailure as error:
                if error.kind not in YIELDING:
                    raise
                failure = str(error)
            book = judge_run(book, turn.attempt, failure, study_folder=own, storage=storage, say=say)
            if book.closed == "ended":
                return folder
        book = book.noted(closed="given up")
        raise TrialFailure("error", given_up(book))


def _in_full(
    study: str,
    job: Job,
    promotion: Promotion | None,
    *,
    storage: str | None,
    out: str | Path,
    engine: EngineSettings,
    say: Callable[[str], None],
    on_run: Callable[[Path], object],
    on_progress: Callable[[JobProgress, int], None],
) -> Path:
    """Carry out a promotion's job, a new one's or (without `promotion`) one to be gone on with; returns the run's folder."""
    record = read_study(study, storage=storage, out=out)
    retries = Recipe.from_resolved(record.recipe).search.retries
    folder, total, in_full = Path(job.folder), run_tokens(job), promotion is None

    def report(step: JobProgress) -> None:
        if in_full:  # and not of a replica
            on_progress(step, total)

    with contextlib.ExitStack() as stack:
        job = stack.enter_context(claimed(job, resume=promotion is None))
        runner = make_engine(engine, report, stop=lambda: cancel_requested(folder))
        stack.enter_context(contextlib.closing(runner))
        check_room(runner, job, say)  # now, since a promotion that cannot begin is not one to be remembered
        if promotion is None:
            say(f"going on with {folder}")
        else:
            say(promotion.describe())
            if not record_promotion(promotion, study_folder(study, out), storage):
                say(f"the study {study!r} is at work in another process: the promotion is noted in {folder} alone")
            own = study_folder(study, out)
            job = before_run(record, promotion, job, runner, study_folder=own, trials_dir=out, storage=storage, say=say)
        in_full = True
        on_run(folder)
        carry_out(job, runner, retries=retries, say=say, storage=storage, trials_dir=out)
        for text in check_prediction(folder):
            say(text)
    report_run(folder)
    return folder


def promote_winner(
    study: str,
    *,
    storage: str | None = None,
    out: str | Path = TRIALS,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_progress: Callable[[JobProgress, int], None] = lambda progress, total_tokens: None,
) -> Path:
    """What a search does at its end: `promote` as its space file says; goes on with that run, or leaves it, if there is one."""
    proposed = propose_promotion(study, storage=storage, out=out, engine=engine)
    if proposed.retest is not None:
        record = read_study(study, storage=storage, out=out)
        wanted = preference(Recipe.from_resolved(record.recipe).promote)
        book = new_book(record, study_folder(study, out), wanted, proposed.retest, proposed.steps, None)
        known = read_book(book.folder)
        if known is not None and known.closed:
            return _already(known, say)
        begun = None if known is None else known.folder
        where: dict[str, Any] = {"storage": storage, "out": out, "engine": engine, "say": say}
        where |= {"on_run": on_run, "on_progress": on_progress}
        return promote(study, run=begun, resume=begun is not None, **where)
    state = run_state(proposed.folder)
    if state == "ended":
        say(f"trial {proposed.pick.trial} was promoted before: {proposed.folder}")
        return proposed.folder
    return promote(
        study,
        storage=storage,
        out=out,
        run=proposed.folder,
        resume=state == "begun",
        engine=engine,
        say=say,
        on_run=on_run,
        on_progress=on_progress,
    )


def _already(book: Book, say: Callable[[str], None]) -> Path:
    """The run of a promotion that was carried through before. Raises TrialFailure where none of its runs stands."""
    if book.closed == "given up":
        raise TrialFailure("error", given_up(book))
    stands = next(each for each in book.runs if each.state == "ended")
    say(f"trial {stands.trial} was promoted before: {stands.folder}")
    return Path(stands.folder)


def count_params(spec: Mapping[str, Any]) -> int:
    """The exact number of parameters of an architecture, given by the space file's names.

    Raises:
        InfeasibleArch: the values do not describe an architecture.
    """
    from autonas import cost

    return cost.count_params(ArchSpec.from_dict(spec))
