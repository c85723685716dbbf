"""Commands for data: `corpus` and `tokenizer`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autonas.commands import OK, note, print_json
from autonas.errors import RequestError, StudyError

if TYPE_CHECKING:
    from autonas.data.store import Dataset
    from autonas.evaluation.class_loss import ClassLosses
    from autonas.recipe import Recipe

_WINDOWS = 4096  # counted at once


def corpus(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import prepare

    if options.run is not None and options.action != "inspect":
        raise RequestError(
            "--run goes with `autonas corpus inspect`, which scores a run by token class; leave it out, or inspect"
        )
    recipe = read_recipe(options.space)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    if options.verify:
        dataset.verify()
    if options.action == "inspect":
        _inspect(options, recipe, dataset)
    elif options.json:
        print_json({"fingerprint": dataset.fingerprint, "folder": str(dataset.folder), "report": dataset.report})
    else:
        print("\n".join(dataset.lines()))
    return OK


def _inspect(options: argparse.Namespace, recipe: Recipe, dataset: Dataset) -> None:
    import dataclasses

    from autonas.data.inspection import inspect_dataset, inspection_lines
    from autonas.evaluation.coding.contamination import corpus_findings
    from autonas.trial import to_json

    losses = None
    if options.run is not None:
        note(f"scoring {options.run} by token class")
        losses = _run_losses(Path(options.run), dataset)
    inspection = inspect_dataset(dataset, recipe.evaluation.language, recipe.space.context_length)
    inspection = dataclasses.replace(inspection, findings=(*inspection.findings, *corpus_findings(dataset)))
    if options.json:
        print_json({**to_json(inspection), **({} if losses is None else {"losses": to_json(losses)})})
        return
    print("\n".join(inspection_lines(inspection)))
    if losses is not None:
        from autonas.evaluation.class_loss import class_finding

        found = class_finding(losses)
        print("\n".join([*losses.lines(), *([f"{found.severity}: {found.text}"] if found else [])]))


def _run_losses(run: Path, dataset: Dataset) -> ClassLosses:
    """Loss by token class of a finished run, beside counts of the very tokens that it was shown."""
    import json

    from autonas.evaluation.baselines import count_bigrams
    from autonas.evaluation.class_loss import class_losses
    from autonas.loaded_run import load_run
    from autonas.run_data import run_windows
    from autonas.run_folder import read_job

    model, job = load_run(run).model, read_job(run)
    if job.data.fingerprint != dataset.fingerprint:
        raise RequestError(
            f"--run: {run} was trained on data set {job.data.fingerprint}, and --space has {dataset.fingerprint}; give the "
            "recipe that it was trained with"
        )
    evaluation = run / "evaluation.json"
    try:
        tokens = int(json.loads(evaluation.read_text(encoding="utf-8"))["tokens"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{evaluation}: cannot be read ({error}); end the run with --resume, or restore the file") from error
    windows = run_windows(dataset, job)
    shown = -(-tokens // job.spec.context_length)
    parts = (windows.take(first, min(_WINDOWS, shown - first)) for first in range(0, shown, _WINDOWS))
    return class_losses(model, dataset, job.evaluation, count_bigrams(parts, dataset.vocab_size))


def teach(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import prepare
    from autonas.teachers import write_texts
    from autonas.trial import to_json

    recipe = read_recipe(options.space)
    file = Path(options.out)
    if file.exists():
        raise RequestError(f"--out {file} exists already; remove it, or name another file")
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=note)
    written = write_texts(
        options.model,
        dataset,
        file,
        count=options.texts,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        device=options.device,
        say=note,
    )
    if options.json:
        print_json({"file": str(file), **to_json(written)})
    else:
        print(
            f"{file}: {written.texts:,} texts, {written.characters:,} characters; {written.collapsed:,} left out as collapsed"
        )
    return OK


def tokenizer(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe
    from autonas.data.dataset import train_tokenizer
    from autonas.data.tokenizer import Tokenizer

    if options.action == "train":
        if options.space is None:
            raise RequestError("autonas tokenizer train needs --space FILE, the recipe whose corpus it is trained on")
        recipe = read_recipe(options.space)
        size = options.vocab_size or recipe.tokenizer.vocab_size
        tokenizer = train_tokenizer(recipe.corpus, size, Path(options.file))
    else:
        tokenizer = Tokenizer.load(options.file)
    if options.action == "encode":
        text = sys.stdin.read() if options.text is None else options.text
        ids = tokenizer.encode(text)
        if options.json:
            print_json({"ids": ids, "num_tokens": len(ids), "num_bytes": len(text.encode())})
        else:
            print(" ".join(map(str, ids)))
        return OK
    facts = tokenizer.describe()
    if options.json:
        print_json(facts)
    else:
        print("\n".join(f"{name:16} {value}" for name, value in facts.items()))
    return OK
