"""Commands that build models: `train`, `generate`, `latency`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autonas.arch import ArchSpec
from autonas.commands import OK, check_vocabulary, note, print_json, spec_to_train
from autonas.errors import RequestError, StudyError

if TYPE_CHECKING:
    from autonas.loaded_run import LoadedRun


def train(options: argparse.Namespace) -> int:
    import contextlib

    from autonas.api import read_recipe, report_run
    from autonas.data.dataset import prepare
    from autonas.engine.inline import InlineEngine
    from autonas.machine import resolve_threads
    from autonas.promotion.execution import carry_out, check_room, claimed
    from autonas.promotion.promote import full_job
    from autonas.run_folder import TRIALS, run_tokens
    from autonas.terminal import RunDisplay

    recipe = read_recipe(options.space)
    spec = spec_to_train(options, recipe)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    check_vocabulary(options, spec, dataset.vocab_size)
    job = full_job(
        recipe,
        spec,
        dataset.ref,
        study="",
        trial=0,
        steps=options.steps,
        training=recipe.training,
        seed=options.seed,
        data_seed=options.seed,
        folder=Path(options.out) if options.out else TRIALS / f"run-{spec.fingerprint}",
        device=options.device,
        threads=resolve_threads(options.threads),
    )
    total = run_tokens(job)
    with (
        claimed(job, resume=options.resume) as job,
        RunDisplay() as display,
        contextlib.closing(InlineEngine(lambda step: display(step, total))) as engine,
    ):
        check_room(engine, job)
        display.begin(Path(job.folder))
        carry_out(job, engine, say=display.say)
    report_run(job.folder)
    print_evaluation(Path(job.folder), as_json=options.json)
    return OK


def print_evaluation(run: Path, *, as_json: bool) -> None:
    """The scores of a run that has ended."""
    import json

    from autonas.reporting.quantities import interval_text, score_text
    from autonas.trial import Score, from_json

    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    if as_json:
        print_json({**evaluation, "run": str(run)})
        return
    for name, values in evaluation["scores"].items():
        score = from_json(Score, values)
        interval = interval_text(score)
        print(f"{name:16} {score_text(score)}{f'  ({interval})' if interval else ''}  {score.unit}")
    print(f"run: {run}")
    if (run / "evaluation.html").exists():
        print(f"page: {run / 'evaluation.html'}")


def generate(options: argparse.Namespace) -> int:
    from autonas.evaluation.latency import resolve_device
    from autonas.loaded_run import Options, load_run

    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    name, colon, number = options.model.rpartition(":")
    if colon and number.isdecimal() and not Path(options.model).exists():
        loaded = _load_trial(name, int(number), options)
    elif not Path(options.model).exists() and (Path(options.out) / name.removesuffix(":") / "recipe.yaml").exists():
        raise StudyError(f"{options.model} is a study. Name one of its trials on the front too, such as {name}:3.")
    else:
        loaded = load_run(Path(options.model), str(resolve_device(options.device)))
    if loaded.tuned:
        prompt = prompt.rstrip()  # as its examples had it: the line break behind it is the answer's
    wish: Options = {
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "repetition_penalty": options.repetition_penalty,
        "stop": [_unescaped(text) for text in options.stop],
        "seed": options.seed,
    }
    if left_out := loaded.left_out(prompt, options.max_tokens):
        note(f"the first {left_out} tokens of the prompt do not fit the model's context and are left out")
    if options.json:
        done = loaded.complete(prompt, **wish)
        print_json({"prompt": prompt, "completion": done.text, "tokens": len(done.tokens), "finish_reason": done.finish_reason})
        return OK
    pieces = loaded.stream(prompt, **wish)
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return OK


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _load_trial(name: str, number: int, options: argparse.Namespace) -> LoadedRun:
    from autonas.api import read_study, study_folder
    from autonas.data.dataset import prepare
    from autonas.evaluation.latency import resolve_device
    from autonas.loaded_run import LoadedRun
    from autonas.recipe import Recipe
    from autonas.training.checkpoint import load_model

    study = read_study(name, storage=options.storage, out=options.out)
    if number >= len(study.trials):
        raise StudyError(f"{name} has no trial {number}; its last is {len(study.trials) - 1}.")
    weights = study_folder(name, options.out) / "checkpoints" / f"{number:05d}" / "cooled.safetensors"
    if not weights.exists():
        kept = sorted(path.parent.name.lstrip("0") or "0" for path in weights.parent.parent.glob("*/cooled.safetensors"))
        raise StudyError(f"trial {number} of {name} has no weights: only trials on the front keep them ({', '.join(kept)}).")
    recipe = Recipe.from_resolved(study.recipe)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    model, _ = load_model(weights, resolve_device(options.device))
    return LoadedRun(model=model, tokenizer=dataset.tokenizer, spec=model.spec)


def latency(options: argparse.Namespace) -> int:
    import dataclasses

    from autonas.api import read_recipe
    from autonas.evaluation.latency import measure_latency
    from autonas.evaluation.latency_cache import table_entry
    from autonas.reporting.quantities import score_text
    from autonas.trial import LatencySettings

    settings = LatencySettings()
    defaults: dict[str, Any] = {}
    if options.space is not None:
        recipe = read_recipe(options.space)
        settings = dataclasses.replace(recipe.latency, table=None)
        defaults = {"vocab_size": recipe.space.vocab_size, "context_length": recipe.space.context_length}
    given = {
        name: getattr(options, name)
        for name in ("device", "dtype", "threads", "batch", "context")
        if getattr(options, name) is not None
    }
    if given.get("dtype", "auto") not in ("auto", "float32", "bfloat16"):
        raise RequestError(f"--dtype {given['dtype']!r}: choose auto, float32 or bfloat16")
    settings = dataclasses.replace(settings, **given)
    spec = _read_spec(options.spec, defaults)
    result = measure_latency(spec, settings, note)
    if options.json:
        print_json(table_entry(spec, result))
        return OK
    print(f"decode   {score_text(result.decode)}  {result.decode.note}")
    print(f"prefill  {score_text(result.prefill)}  {result.prefill.note}")
    print("  ".join(f"{key} {value}" for key, value in result.stamps.items() if value))
    return OK


def _read_spec(path: str, defaults: dict[str, Any]) -> ArchSpec:
    from autonas.space.spec_file import read_spec

    return read_spec(path, defaults)
