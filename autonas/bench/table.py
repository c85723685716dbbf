"""A table of our own: decoders trained with learning curves, all scores and two seeds for a part, written for others to use.

The trainings are an ordinary study in which every trial has every rung, so that it can be interrupted and gone on with; what is
written of it is in table_export.py, and how its last rung compares with longer trainings in sentinels.py.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autonas import cost
from autonas.bench import Findings, Row, Say, sentinels
from autonas.bench.ranks import agreement
from autonas.bench.table_export import Exported, export
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import RequestError
from autonas.ledger import Ledger
from autonas.machine import resolve_threads
from autonas.recipe import load_recipe
from autonas.study import Watcher, run_study, study_status
from autonas.study.files import cancel_requested
from autonas.trial import StudyRecord, TrialRecord

SPACE = "curves.yaml"
# Of a table on which searching early can pay: half of its cells lie within a tenth of the best loss at their size. The best at
# a size is that of all cells with at most a tenth more parameters.
SHARE_GOAL, CLOSE, ROOM = 0.5, 1.1, 1.1


def measure(
    *,
    space: str | None = None,
    study: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    out: str | Path = "trials",
    table_out: str | Path | None = None,
    resume: bool = False,
    sentinel_count: int | None = None,
    factor: float = 10.0,
    engine: EngineSettings | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Train the table, or go on with it, and write it to `table_out` (default: the study's folder, table/).

    With `study` alone, one that is there is written as it stands. With `sentinel_count`, so many decoders of a table that is
    there are trained `factor` times as long as its last rung, by a study of their own beside it.

    Raises:
        RequestError: what was asked cannot be done as asked.
    """
    engine = engine or EngineSettings()
    resolve_threads(engine.threads)
    name = study if study is not None else load_recipe(space or SPACE).name
    folder = _folder(name, out)
    trained = (space, trials, seed) if study is not None else None
    if sentinel_count is not None or trained == (None, None, None):
        if sentinel_count is None and resume:
            raise RequestError(
                f"--resume: give --space FILE too, to go on with {name!r}; without them it is written as it stands"
            )
        record = read(name, folder)
    else:
        record = _train(space or SPACE, trials, seed, name, folder, engine, resume=resume, say=say)
    table_folder = Path(table_out) if table_out is not None else folder / "table"
    exported = export(record, table_folder)
    say(f"{len(exported.trainings)} trainings in {table_folder}")
    for number, why in exported.left_out:
        say(f"trial {number} is left out: {why}")
    rows = rows_of(exported, record)
    if sentinel_count is not None:
        rows += _sentinels(record, sentinel_count, factor, out, table_folder, engine, resume=resume, say=say)
    environment = record.attributes.get("environment") or {}
    conditions = {
        "device": environment.get("device", "unknown"),
        "threads": environment.get("threads", 0),
        "study": name,
        "table": str(table_folder),
        "rungs": list(record.recipe["budget"]["rungs"]),
        "left_out": len(exported.left_out),
    }
    return Findings(rows=rows, conditions=conditions)


def read(name: str, folder: Path) -> StudyRecord:
    """An existing study. Raises StudyError, StorageError."""
    with contextlib.closing(Ledger.open(name, folder, None)) as ledger:
        return ledger.read()


def _folder(name: str, out: str | Path) -> Path:
    if name.startswith(".") or Path(name).name != name:
        raise RequestError(f"--study {name!r} cannot be the name of a folder. Use letters, digits, - and _.")
    return Path(out) / name


def _train(
    space: str,
    trials: int | None,
    seed: int | None,
    name: str,
    folder: Path,
    engine: EngineSettings,
    *,
    resume: bool,
    say: Say,
) -> StudyRecord:
    recipe = load_recipe(space, trials=trials, seed=seed)
    if recipe.search.scheduler != "curves":
        raise RequestError(
            f"--space {space}: budget.scheduler is {recipe.search.scheduler}, and a table needs every rung of every trial; "
            "write `scheduler: curves`."
        )
    return run_study(
        recipe,
        make_engine(engine, stop=lambda: cancel_requested(folder)),
        name=name,
        folder=folder,
        resume=resume,
        device=engine.device,
        threads=engine.threads,
        watcher=_watcher(recipe.search.trials + recipe.search.repeats, say),
    )


def _watcher(total: int, say: Say) -> Watcher:
    """Says whenever a decoder is done."""
    told = -1

    def changed(study: StudyRecord) -> None:
        nonlocal told
        counts = study_status(study)
        done = counts["complete"] + counts["failed"]
        if done != told:
            told = done
            say(f"{counts['complete']} of {total} decoders" + (f", {counts['failed']} failed" if counts["failed"] else ""))

    return Watcher(say=say, changed=changed)


def _sentinels(
    table: StudyRecord,
    count: int,
    factor: float,
    out: str | Path,
    folder: Path,
    engine: EngineSettings,
    *,
    resume: bool,
    say: Say,
) -> list[Row]:
    chosen = sentinels.choose(table, count)
    recipe = sentinels.long_recipe(table, f"{table.name}-sentinels", count, factor)
    own = _folder(recipe.name, out)
    numbers = ", ".join(str(trial.number) for trial in chosen)
    say(f"training trials {numbers} for {recipe.search.rungs[0]:,} tokens, in {own}")
    long = sentinels.train(
        table,
        chosen,
        recipe,
        make_engine(engine, stop=lambda: cancel_requested(own)),
        own,
        resume=resume,
        device=engine.device,
        threads=engine.threads,
        watcher=_watcher(count, say),
    )
    found = sentinels.paired(chosen, long)
    if len(found) < 2:
        raise RequestError(f"the study {recipe.name!r} has {len(found)} long trainings yet, too few to compare; --resume it")
    sentinels.write(found, folder)
    return sentinels.rows_of(found, count, sentinels.forecasts(table, found))


# What the table is like


def rows_of(exported: Exported, study: StudyRecord) -> list[Row]:
    """What a table is like: its cells, how hard their choice is, its noise, its trust in early rungs, its price."""
    originals = [trial for trial in exported.trainings if trial.repeat_of is None]
    sizes = np.array([cost.count_params(trial.spec) for trial in originals if trial.spec is not None], dtype=np.float64)
    rungs = np.array([[outcome.scores["val_loss"].value for outcome in trial.rungs] for trial in originals])  # (n, r)
    share, by_perplexity = close_share(sizes, rungs[:, -1]), close_share(sizes, np.exp(rungs[:, -1]))
    rows = [
        Row(metric="cells", unit="architectures", ours=float(len(originals))),
        Row(metric="trainings, other seeds included", unit="trainings", ours=float(len(exported.trainings))),
        Row(
            metric=f"cells within {CLOSE - 1:.0%} of the best loss at their size",
            unit="share",
            ours=share,
            goal=SHARE_GOAL,
            met=share >= SHARE_GOAL,
            note=f"the best of all cells with at most {ROOM - 1:.0%} more parameters; by perplexity {by_perplexity:.0%}",
        ),
        _seed_row(exported.trainings),
    ]
    for rung, tokens in enumerate(study.recipe["budget"]["rungs"][:-1]):
        found = agreement(rungs[:, rung], rungs[:, -1])
        if found is not None:
            metric = f"agreement of the losses at {tokens:,} tokens with the last rung's"
            rows.append(Row(metric=metric, unit="tau", ours=found.tau, low=found.low, high=found.high))
    seconds = sum(outcome.seconds for trial in study.trials for outcome in trial.rungs)
    rows.append(Row(metric="training and scoring", unit="worker hours", ours=seconds / 3600))
    if (spent := study.attributes.get("spent_s")) is not None:
        rows.append(Row(metric="the study, latencies and waiting included", unit="h", ours=float(spent) / 3600))
    return rows


def close_share(sizes: np.ndarray, losses: np.ndarray) -> float:
    """The share of cells (n,) whose loss is at most `CLOSE` times the best among cells of at most `ROOM` times their size."""
    best = np.array([losses[sizes <= size * ROOM].min() for size in sizes])
    return float(np.mean(losses <= best * CLOSE))


def _seed_row(trainings: Sequence[TrialRecord]) -> Row:
    """The deviation of the loss over seeds, pooled over architectures, with the bootstrap's interval over them."""
    groups: dict[int, list[float]] = {}
    for trial in trainings:
        number = trial.number if trial.repeat_of is None else trial.repeat_of
        groups.setdefault(number, []).append(trial.rungs[-1].scores["val_loss"].value)
    several = [np.array(losses) for losses in groups.values() if len(losses) > 1]
    metric, unit = "deviation of the loss over seeds", "nats"
    if not several:
        return Row(metric=metric, unit=unit, ours=None, note="not measured: no architecture was trained twice")
    squares = np.array([((losses - losses.mean()) ** 2).sum() for losses in several])
    freedom = np.array([len(losses) - 1 for losses in several])
    picks = np.random.default_rng(0).integers(len(several), size=(2000, len(several)))
    low, high = np.percentile(np.sqrt(squares[picks].sum(axis=1) / freedom[picks].sum(axis=1)), (2.5, 97.5))
    found, note = math.sqrt(squares.sum() / freedom.sum()), f"of {len(several)} architectures that were trained again"
    return Row(metric=metric, unit=unit, ours=found, low=float(low), high=float(high), note=note)
