"""`search` and `plan`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from autonas.commands import FAILED, OK, engine_settings, note, print_json

if TYPE_CHECKING:
    from autonas.arch import ArchSpec
    from autonas.recipe import Recipe


def search(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe, report, search
    from autonas.reporting.front import front_json
    from autonas.reporting.text import text_front
    from autonas.study import Watcher
    from autonas.terminal import StudyDisplay

    recipe = read_recipe(options.space, options.trials, options.max_hours, options.sampler, options.seed)
    name = options.study or recipe.name
    with StudyDisplay(name, recipe, quiet=options.quiet) as display:
        study = search(
            recipe,
            study=name,
            storage=options.storage,
            resume=options.resume,
            engine=engine_settings(options),
            out=options.out,
            watcher=Watcher(say=display.say, changed=display.changed),
            on_progress=display.progress,
        )
    written = report(name, storage=options.storage, out=options.out)
    if options.json:
        print_json(front_json(study))
    else:
        print(text_front(study))
        print(f"\nreport: {written}")
    return OK if front_json(study) else FAILED


def plan(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import prepare
    from autonas.machine import resolve_threads
    from autonas.plan import make_plan
    from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
    from autonas.study import with_vocabulary

    recipe = read_recipe(options.space, options.trials, options.max_hours, None, options.seed)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    recipe = with_vocabulary(recipe, dataset)
    threads = resolve_threads(options.threads or 1)
    plan = make_plan(recipe, dataset, lambda spec: _seconds_per_token(spec, recipe, options.device, threads))
    if options.json:
        print_json(plan)
        return OK
    space, params = plan["space"], plan["params"]
    size = "infinitely many" if space["size"] is None else f"{space['size']:,}"
    print(f"{plan['study']}: {', '.join(plan['objectives'])}")
    print(f"  space       {size} combinations of {', '.join(space['searched'])}; {space['legal_share']:.0%} legal")
    print(f"  parameters  {scaled_text(params['min'])} to {scaled_text(params['max'])}, median {scaled_text(params['median'])}")
    print(f"  memory      {scaled_text(plan['training_bytes'])} bytes at most while training")
    corpus = plan["corpus"]
    train_tokens, validation_tokens = tokens_text(corpus["train_tokens"]), tokens_text(corpus["validation_tokens"])
    print(f"  corpus      {train_tokens} tokens to train on, {validation_tokens} to validate")
    print(f"  calibrating {duration_text(plan['calibration_seconds'])}; latencies {duration_text(plan['latency_seconds'])}")
    for number, rung in enumerate(plan["rungs"]):
        print(
            f"  rung {number}      {tokens_text(rung['tokens'])} tokens ({rung['epochs']:.2f} epochs), {rung['trials']} trials, "  # noqa: E501
            f"{duration_text(rung['seconds_per_trial'])} each, {duration_text(rung['seconds'])} together"
        )
    print(f"  in all      about {duration_text(plan['seconds'])} on this machine")
    for warning in plan["warnings"]:
        print(f"  note: {warning}")
    return OK


def _seconds_per_token(spec: ArchSpec, recipe: Recipe, device: str, threads: int) -> float:
    from autonas.trial import Budget, DataRef, Job
    from autonas.worker import measure_speed

    job = Job(
        kind="train",
        study=recipe.name,
        trial=0,
        attempt=0,
        spec=spec,
        budget=Budget(rung=0, tokens=0, cooldown_tokens=0),
        seed=0,
        data_seed=0,
        data=DataRef(folder="", fingerprint=""),
        training=recipe.training,
        evaluation=recipe.evaluation,
        latency=recipe.latency,
        objectives=(),
        folder="",
        device=device,
        threads=threads,
    )
    return measure_speed(job)
