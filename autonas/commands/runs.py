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
    from collections.abc import Iterator

    from autonas.data.tokenizer import Tokenizer
    from autonas.engine.base import JobProgress
    from autonas.model.stopping import TextStop


def train(options: argparse.Namespace) -> int:
    import contextlib

    from autonas.api import read_recipe
    from autonas.data.dataset import prepare
    from autonas.engine.inline import InlineEngine
    from autonas.machine import resolve_threads
    from autonas.promotion.execution import carry_out, check_room, claimed
    from autonas.promotion.promote import full_job
    from autonas.run_folder import TRIALS, run_tokens

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
    progress, total = RunProgress(), run_tokens(job)
    with (
        claimed(job, resume=options.resume) as job,
        contextlib.closing(InlineEngine(lambda step: progress(step, total))) as engine,
    ):
        check_room(engine, job)
        carry_out(job, engine, say=note)
    print_evaluation(Path(job.folder), as_json=options.json)
    return OK


class RunProgress:
    """Tells how far a full run is, a line for every fiftieth of it."""

    def __init__(self) -> None:
        self._shown = -1.0

    def __call__(self, step: JobProgress, total_tokens: int) -> None:
        from autonas.reporting.quantities import duration_text, tokens_text

        share = step.tokens / total_tokens
        if share - self._shown >= 0.02 or (step.tokens >= total_tokens and self._shown < 1):
            self._shown = share
            left = duration_text((total_tokens - step.tokens) / step.tokens_per_s)
            note(f"{share:4.0%}  {tokens_text(step.tokens)} tokens  loss {step.loss:.3f}  about {left} left")


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


def generate(options: argparse.Namespace) -> int:
    from autonas.evaluation.latency import resolve_device
    from autonas.full_run import LoadedRun, load_run
    from autonas.model.decode import Sampling, StopRule, stream
    from autonas.model.stopping import TextStop
    from autonas.tuning.encoding import prompt_tokens

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
    if loaded.tuned:
        prompt = prompt.rstrip()  # as its examples had it: the line break behind it is the answer's
    tokens = stream(
        loaded.model,
        prompt_tokens(tokenizer, prompt) if loaded.tuned else tokenizer.encode(prompt) or [tokenizer.end_of_text],
        max_new_tokens=options.max_tokens,
        sampling=Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        ),
        seed=options.seed,
        stop=StopRule(token=tokenizer.end_of_text),
    )
    made: list[int] = []
    pieces = _pieces(tokens, made, tokenizer, TextStop([_unescaped(text) for text in options.stop]))
    if options.json:
        print_json({"prompt": prompt, "completion": "".join(pieces), "tokens": len(made)})
        return OK
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return OK


def _pieces(tokens: Iterator[int], made: list[int], tokenizer: Tokenizer, stop: TextStop) -> Iterator[str]:
    """The text of `tokens` as it becomes certain, up to a stop; the tokens it took are put into `made`."""
    for token in tokens:
        made.append(token)
        text = tokenizer.decode(made)
        # A character may take several tokens: what ends in half of one is held back.
        if not text.endswith("\ufffd"):
            yield stop.feed(text)
            if stop.ended:
                return
    yield stop.feed(tokenizer.decode(made), complete=True)


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _load_trial(name: str, number: int, options: argparse.Namespace) -> Any:
    from autonas.api import read_study, study_folder
    from autonas.data.dataset import prepare
    from autonas.evaluation.latency import resolve_device
    from autonas.full_run import LoadedRun
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
