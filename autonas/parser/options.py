"""What several commands share: groups of options, and how values are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from autonas.engine.choice import ENGINES

Command = Callable[..., argparse.ArgumentParser]


def recipe_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", required=True, metavar="FILE", help="a space file, or the bare name of a shipped one")
    parser.add_argument("--seed", type=int, metavar="S")


def engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=ENGINES, default="ray", help="Ray workers (default), or this process alone")
    parser.add_argument(
        "--ray-address",
        metavar="A",
        help="a running cluster (default: $RAY_ADDRESS, or this machine)",
    )
    parser.add_argument("--workers", type=count, metavar="N", help="jobs at once (default: as many as fit)")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda", help="what models are trained on")
    parser.add_argument("--threads", type=count, metavar="N", help="CPU cores of each worker (default: 1)")
    parser.add_argument(
        "--gpus-per-worker", type=share, metavar="G", help="GPUs of each worker, or the part of one (default: 1)"
    )


def study_options(parser: argparse.ArgumentParser, out_name: str = "--out") -> None:
    parser.add_argument(
        "--storage", metavar="URL", default=os.environ.get("AUTONAS_STORAGE") or None, help="an Optuna storage URL"
    )
    parser.add_argument(out_name, dest="out", default="trials", metavar="DIR", help="where studies are kept (default: trials)")


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a trial")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a whole number up to 65535")
    return int(text)


def share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not (0 < share <= 1 or (share > 1 and share.is_integer())):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a part of a GPU, such as 0.5, nor a whole number of them")
    return share


def hours(text: str) -> float:
    return positive(text, "hours")


def seconds(text: str) -> float:
    return positive(text, "seconds")


def times(text: str) -> float:
    return positive(text, "times")


def rate(text: str) -> float:
    return positive(text, "")


def drop(text: str) -> float:
    share = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0.0 <= share < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no share below 1")
    return share


def positive(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number{unit and f' of {unit}'}")
    return number
