"""Finished runs: loaded, evaluated, tuned, exported, shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autonas.api.reading import read_recipe
from autonas.arch import ArchSpec
from autonas.data.dataset import prepare
from autonas.engine.base import JobProgress
from autonas.machine import resolve_threads
from autonas.promotion.execution import carry_out, check_room, claimed
from autonas.run_folder import read_evaluation, write_json

if TYPE_CHECKING:
    from autonas.loaded_run import LoadedRun


def report_run(run: str | Path, *, file: str | Path | None = None) -> Path:
    """Write the page of a full run, which may still be trained, by default to evaluation.html in its folder; returns where.

    Raises:
        StudyError: there is no run in `run`, or its files cannot be read.
    """
    from autonas.pages.run_page import write_page
    from autonas.reporting.run_so_far import run_so_far

    folder = Path(run)
    run_so_far(folder)  # there is one
    return write_page(read_evaluation(folder), folder, None if file is None else Path(file))


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
    from autonas.pages.run_page import write_page
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


def count_params(spec: Mapping[str, Any]) -> int:
    """The exact number of parameters of an architecture, given by the space file's names.

    Raises:
        InfeasibleArch: the values do not describe an architecture.
    """
    from autonas import cost

    return cost.count_params(ArchSpec.from_dict(spec))
