"""`plan`: of a study, or with --spec of one full run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from autonas.commands import OK, check_vocabulary, engine_settings, note, print_json, spec_to_train
from autonas.errors import RequestError

if TYPE_CHECKING:
    from autonas.arch import ArchSpec
    from autonas.data.estimate import CorpusSize
    from autonas.engine.choice import EngineSettings
    from autonas.recipe import Recipe

_RUN_SECONDS = 28.0  # of timing one architecture: a shared machine has slow spells of some seconds, which have to average out
_PROCESS_S = 1.0  # of Python and the command itself, before anything here can be timed
_TIMING_ENDS_S = 40.0  # after the command's begin: its answer is promised within a minute


def plan(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.estimate import size_corpus

    begun = time.monotonic()
    if options.spec is not None and options.steps is None:
        raise RequestError("--spec needs --steps: the architecture and the length of one full run")
    recipe = read_recipe(options.space, options.trials, options.max_hours, None, options.seed)
    # What is refused is refused before the corpus is read, which may take long.
    if options.steps is not None:
        spec = spec_to_train(options, recipe)
        check_vocabulary(options, spec, recipe.space.vocab_size)
        corpus = size_corpus(recipe.corpus, recipe.tokenizer, say=note)
        _print(_plan_run(options, recipe, spec, corpus), _run_lines, as_json=options.json)
    else:
        settings = engine_settings(options)
        workers = workers_of_plan(settings)
        corpus = size_corpus(recipe.corpus, recipe.tokenizer, say=note)
        values = _plan_study(settings, workers, recipe, corpus, begun + _TIMING_ENDS_S)
        _print(values, _study_lines, as_json=options.json)
    return OK


def _print(values: dict[str, Any], lines: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        print("\n".join(lines(values)))


def _plan_study(settings: EngineSettings, workers: int, recipe: Recipe, corpus: CorpusSize, deadline: float) -> dict[str, Any]:
    from autonas.evaluation.timing import OthersOnCpu
    from autonas.machine import resolve_threads
    from autonas.plan import Workplace, plan_study, probes
    from autonas.plan.measuring import time_architectures

    threads = resolve_threads(settings.threads)
    others = OthersOnCpu()
    timed = time_architectures(recipe, probes(recipe), device=settings.device, threads=threads, say=note, deadline=deadline)
    workplace = Workplace(
        engine=settings.name,
        workers=workers,
        threads=threads,
        device=settings.device,
        timed=timed,
        others_share=others(),
    )
    return plan_study(recipe, corpus, workplace)


def workers_of_plan(settings: EngineSettings) -> int:
    """The jobs that would run at once: as asked, or as many as fit on this machine. What a search would refuse is refused."""
    from autonas.engine.choice import check_settings, fitting
    from autonas.machine import num_cores, resolve_threads

    check_settings(settings)
    threads = resolve_threads(settings.threads)
    if settings.name == "inline":
        return 1
    if settings.workers is not None:
        return settings.workers
    if settings.ray_address is not None:
        raise RequestError("how many workers a cluster has is not looked up for a plan; give --workers")
    from autonas.evaluation.latency import resolve_device
    from autonas.training.speed import num_gpus

    fits = fitting(num_cores(), threads)
    if resolve_device(settings.device).type == "cuda":
        fits = min(fits, fitting(num_gpus(), settings.gpus_per_worker or 1.0))
    return max(fits, 1)


def _plan_run(options: argparse.Namespace, recipe: Recipe, spec: ArchSpec, corpus: CorpusSize) -> dict[str, Any]:
    from autonas.evaluation.timing import OthersOnCpu
    from autonas.machine import resolve_threads
    from autonas.plan import busy_notes, run_plan
    from autonas.plan.measuring import time_architecture, time_scoring
    from autonas.run_folder import step_tokens

    threads = resolve_threads(options.threads)
    note("timing the architecture")
    begun = time.monotonic()
    import autonas.worker  # noqa: F401 — what a run begins with takes seconds, and is timed here

    starting = _PROCESS_S + time.monotonic() - begun
    others = OthersOnCpu()
    scoring = time_scoring(recipe, spec, device=options.device, threads=threads)
    timed = time_architecture(
        recipe,
        spec,
        device=options.device,
        threads=threads,
        seconds=_RUN_SECONDS,
        planned_tokens=options.steps * step_tokens(spec, recipe.training),
    )
    values = run_plan(
        recipe,
        spec,
        options.steps,
        corpus,
        timed.seconds_per_token,
        scoring_seconds=scoring,
        starting_seconds=starting,
    )
    return {
        **values,
        "threads": threads,
        "latency_ms": timed.latency_ms,
        "timed_tokens": timed.timed_tokens,
        "step_tokens": timed.step_tokens,
        "timed_steps": timed.timed_steps,
        "estimated_from_documents": corpus.sampled_documents,
        "others_share": (share := others()),
        "warnings": busy_notes(share),
    }


def _study_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    from autonas.reporting.quantities import duration_text, scaled_text, tokens_text

    space, params, engine, disk = plan["space"], plan["params"], plan["engine"], plan["disk_bytes"]
    size = "infinitely many" if space["size"] is None else f"{space['size']:,}"
    yield f"{plan['study']}: {', '.join(plan['objectives'])}"
    yield f"  space       {size} combinations of {', '.join(space['searched'])}; {space['legal_share']:.0%} legal"
    yield f"  parameters  {scaled_text(params['min'])} to {scaled_text(params['max'])}, median {scaled_text(params['median'])}"
    yield f"  memory      {scaled_text(plan['training_bytes'])} bytes at most while training"
    yield _corpus_line(plan["corpus"])
    latencies = [timed["latency_ms"] for timed in plan["timed"] if timed["latency_ms"] is not None]
    if latencies:
        yield f"  latency     {', '.join(f'{value:.2f}' for value in latencies)} ms a token, of the architectures timed"
    yield (
        f"  workers     {engine['workers']} ({engine['engine']}), threads each {engine['threads']}, timed one at a time with "
        f"{_method(plan['timed'])}"
    )
    yield f"  calibrating {duration_text(plan['calibration_seconds'])}; latencies {duration_text(plan['latency_seconds'])}"
    for number, rung in enumerate(plan["rungs"]):
        yield (
            f"  rung {number}      {tokens_text(rung['tokens'])} tokens ({rung['epochs']:.2f} epochs), "
            f"{rung['trials']} trials, {duration_text(rung['seconds_per_trial'])} each, "
            f"{duration_text(rung['seconds'])} together"
        )
    yield f"  in all      about {duration_text(plan['seconds'])} on this machine"
    promotion = plan["promotion"]
    if promotion is not None:
        times = [duration_text(promotion[name]["seconds"]) for name in ("median", "largest")]
        yield (
            f"  promotion   {promotion['steps']:,} steps, {tokens_text(promotion['tokens'])} tokens "
            f"({promotion['epochs']:.1f} epochs): about {times[0]} for a median architecture, {times[1]} for the largest"
        )
        if (look := promotion["second_look"]) is not None:
            yield (
                f"  second look {look['candidates']} candidates, {look['seeds']} new trainings each, "
                f"{duration_text(look['seconds'])} together"
            )
    yield from _replica_lines(plan["replicas"])
    yield (
        f"  disk        {scaled_text(disk['corpus'])} bytes of corpus, at most {scaled_text(disk['checkpoints'])} of "
        f"checkpoints, {scaled_text(disk['full_run'])} of a full run"
    )
    for warning in plan["warnings"]:
        yield f"  note: {warning}"


def _replica_lines(replicas: Mapping[str, Any]) -> Iterator[str]:
    """The replicas of a median architecture's full run, and what neither they nor the rungs can judge."""
    from autonas.reporting.quantities import duration_text, scaled_text, tokens_text

    replica, dimensions = replicas["replica"], replicas["dimensions"]
    if not dimensions:
        return
    if not replicas["wanted"]:
        yield "  replicas    none are wanted (horizon.replicas: false): what is horizon-bound keeps its defaults"
    elif replica is None:
        yield f"  replicas    none: {replicas['reason']}"
    else:
        spec, ratios = replica["spec"], replica["ratios"]
        times = (
            ""
            if replicas["seconds"] is None
            else (f", {duration_text(replicas['seconds_each'])} each, {duration_text(replicas['seconds'])} one after the other")
        )
        yield (
            f"  replicas    {spec['layers']} × {spec['width']}, {scaled_text(replica['params'])} parameters, "
            f"1/{replica['scale']:.3g} of a median architecture's; {tokens_text(replica['unique_tokens'])} unique tokens, "
            f"{replica['epochs']:.1f} epochs, {tokens_text(replica['tokens'])} tokens"
        )
        yield f"              at most {replicas['trainings']}{times}; {replicas['flops_share']:.1%} of the full run's FLOPs"
        kept = ", ".join(f"{name.replace('_', ' ')} {own:.3g} (of {full:.3g})" for name, (full, own) in ratios.items())
        yield f"              {kept}"
        for dimension in dimensions:
            if dimension["possible"]:
                values = ", ".join(f"{value:g}" for value in dimension["values"])
                yield f"              {dimension['reason']}; tried: {values}"
    for dimension in dimensions:
        if not dimension["possible"]:
            yield f"  unranked    {dimension['reason']}"
    epochs = [rung["epochs"] for rung in replicas["rungs"]]
    if not any(entry["possible"] for rung in replicas["rungs"] for entry in rung["dimensions"].values()):
        yield (
            f"  unranked    at the rungs, of {', '.join(f'{count:.2g}' for count in epochs)} of the full run's "
            f"{replicas['full']['epochs']:.3g} epochs: {', '.join(dimension['dimension'] for dimension in dimensions)}"
        )


def _corpus_line(corpus: Mapping[str, Any]) -> str:
    from autonas.reporting.quantities import tokens_text

    train, validation = tokens_text(corpus["train_tokens"]), tokens_text(corpus["validation_tokens"])
    documents = corpus["estimated_from_documents"]
    about = "" if documents is None else f"; estimated from {documents:,} documents"
    return f"  corpus      {train} tokens to train on, {validation} to validate{about}"


def _method(timed: list[dict[str, Any]]) -> str:
    """How the speed was found out."""
    cut = [entry for entry in timed if entry["timed_tokens"] < entry["step_tokens"]]
    sizes = f"{len(timed)} architectures"
    if not cut:
        return f"whole steps of {sizes}"
    least = min(entry["timed_tokens"] for entry in cut)
    return f"steps of {sizes}, shortened to {least:,} tokens and more and reckoned up to {cut[0]['step_tokens']:,}"


def _run_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    from autonas.reporting.quantities import duration_text, scaled_text, tokens_text

    yield f"{scaled_text(plan['params'])} parameters, {plan['steps']:,} steps, {tokens_text(plan['tokens'])} tokens"
    yield f"  corpus      read {plan['epochs']:.2f} times"
    yield f"  starting    {duration_text(plan['starting_seconds'])}"
    timed = f"{plan['timed_steps']} steps timed, threads {plan['threads']}"
    yield f"  training    {duration_text(plan['training_seconds'])} ({timed})"
    yield f"  scoring     {duration_text(plan['scoring_seconds'])}"
    yield f"  in all      about {duration_text(plan['seconds'])} on this machine"
    yield f"  memory      {scaled_text(plan['training_bytes'])} bytes; disk {scaled_text(plan['disk_bytes'])} bytes"
    for warning in plan["warnings"]:
        yield f"  note: {warning}"
