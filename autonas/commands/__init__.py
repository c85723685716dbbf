"""What each command does: call, print, return an exit code. Imported by cli.py when the command is given."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from autonas.arch import ArchSpec
from autonas.engine.choice import EngineSettings
from autonas.errors import RequestError

if TYPE_CHECKING:
    from autonas.recipe import Recipe

OK, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


def note(text: str) -> None:
    """A line of progress, on stderr. A reader that has gone away stops the news and not the work."""
    with contextlib.suppress(BrokenPipeError):
        print(f"autonas: {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The one JSON document of a --json command, on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def spec_to_train(options: argparse.Namespace, recipe: Recipe) -> ArchSpec:
    """The architecture of --spec, or the only one of the space.

    Raises:
        RequestError: the space holds many; or the file is no architecture.
    """
    from autonas.space.spec_file import read_spec

    space = recipe.space
    if options.spec is not None:
        return read_spec(options.spec, {"vocab_size": space.vocab_size, "context_length": space.context_length})
    if space.searched:
        raise RequestError(
            f"--spec: {options.space} describes a space of many architectures ({', '.join(space.searched)}); say which to train"
        )
    return space.decode({})


def check_vocabulary(options: argparse.Namespace, spec: ArchSpec, vocab_size: int) -> None:
    """See that the architecture of --spec has as many tokens as the tokenizer of --space. Raises RequestError."""
    if spec.vocab_size != vocab_size:
        raise RequestError(
            f"{options.spec}: vocab_size is {spec.vocab_size} and the tokenizer of {options.space} has {vocab_size} "
            "entries. Leave it out, or give the recipe it belongs to with --space."
        )


def engine_settings(options: argparse.Namespace) -> EngineSettings:
    """Where jobs run, as the command's options say."""
    return EngineSettings(
        name=options.engine,
        ray_address=options.ray_address or (os.environ.get("RAY_ADDRESS") or None if options.engine == "ray" else None),
        workers=options.workers,
        threads=options.threads or 1,
        device=options.device,
        gpus_per_worker=options.gpus_per_worker,
    )
