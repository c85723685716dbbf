"""Commands that build models: `train`, `generate`, `latency`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec
from autonas.commands import OK, note, print_json
from autonas.errors import RequestError, StudyError


def train(options: argparse.Namespace) -> int:
    from autonas.api import TRIALS, read_recipe
    from autonas.data.dataset import prepare
    from autonas.machine import resolve_threads
    from autonas.promotion.full_run import RunSettings, train_run
    from autonas.reporting.quantities import duration_text, interval_text, score_text, tokens_text
    from autonas.trial import Score, from_json

    recipe = read_recipe(options.space)
    space = recipe.space
    spec = _read_spec(options.spec, {"vocab_size": space.vocab_size, "context_length": space.context_length})
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    if spec.vocab_size != dataset.vocab_size:
        raise RequestError(
            f"{options.spec}: vocab_size is {spec.vocab_size} and the tokenizer of {options.space} has {dataset.vocab_size} "
            "entries. Leave it out, or give the recipe it belongs to with --space."
        )
    settings = RunSettings(
        steps=options.steps,
        seed=options.seed,
        training=recipe.training,
        evaluation=recipe.evaluation,
        latency=recipe.latency,
        cooldown_share=recipe.search.cooldown_share,
    )
    out = Path(options.out) if options.out else TRIALS / f"run-{spec.fingerprint}"
    shown = -1.0

    def progress(step: Any, total: int) -> None:
        nonlocal shown
        if step.tokens / total - shown >= 0.02 or step.tokens == total:
            shown = step.tokens / total
            left = duration_text((total - step.tokens) / step.tokens_per_s)
            note(f"{shown:4.0%}  {tokens_text(step.tokens)} tokens  loss {step.loss:.3f}  about {left} left")

    evaluation = train_run(
        spec,
        dataset,
        settings,
        out=out,
        resume=options.resume,
        device=options.device,
        threads=resolve_threads(options.threads),
        say=note,
        on_progress=progress,
    )
    if options.json:
        print_json(evaluation)
        return OK
    for name, values in evaluation["scores"].items():
        score = from_json(Score, values)
        interval = interval_text(score)
        print(f"{name:16} {score_text(score)}{f'  ({interval})' if interval else ''}  {score.unit}")
    print(f"run: {out}")
    return OK


def generate(options: argparse.Namespace) -> int:
    from autonas.evaluation.latency import resolve_device
    from autonas.model.decode import stream
    from autonas.promotion.full_run import LoadedRun, load_run

    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    name, colon, number = options.model.rpartition(":")
    loaded: LoadedRun
    if colon and number.isdecimal() and not Path(options.model).exists():
        loaded = _load_trial(name, int(number), options)
    elif not Path(options.model).exists() and (Path(options.out) / name.removesuffix(":") / "recipe.yaml").exists():
        raise StudyError(f"{options.model} is a study. Name one of its trials on the front too, such as {name}:3.")
    else:
        loaded = load_run(Path(options.model), str(resolve_device(options.device)))
    tokenizer = loaded.tokenizer
    start = tokenizer.encode(prompt) or [tokenizer.end_of_text]
    tokens = stream(
        loaded.model,
        start,
        max_new_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        seed=options.seed,
        stop_token=tokenizer.end_of_text,
    )
    if options.json:
        made = list(tokens)
        print_json({"prompt": prompt, "completion": tokenizer.decode(made), "tokens": len(made)})
        return OK
    sys.stdout.write(prompt)
    made, written = [], ""
    for token in tokens:
        made.append(token)
        text = tokenizer.decode(made)
        # A character may take several tokens: what ends in half of one is held back.
        if not text.endswith("\ufffd"):
            sys.stdout.write(text[len(written) :])
            sys.stdout.flush()
            written = text
    print(tokenizer.decode(made)[len(written) :])
    return OK


def _load_trial(name: str, number: int, options: argparse.Namespace) -> Any:
    from autonas.api import read_study, study_folder
    from autonas.data.dataset import prepare
    from autonas.evaluation.latency import resolve_device
    from autonas.promotion.full_run import LoadedRun
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
