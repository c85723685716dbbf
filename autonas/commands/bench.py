"""`bench`."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Mapping
from typing import Any

from autonas.commands import OK, engine_settings, note, print_json
from autonas.errors import RequestError

_WIDTH = 80
# The options that each bench takes, and what it calls them.
_TAKES: dict[str, dict[str, str]] = {
    "overhead": {"seconds": "seconds", "trials_per_worker": "trials_per_worker"},
    "train": {
        "seconds": "seconds",
        "shape": "shape_name",
        "peers": "peers",
        "peer_dir": "peer_dir",
        "no_compile_peers": "compile_peers",
        "peer_compile_mode": "compile_mode",
        "batch_tokens": "batch_tokens",
        "context": "context",
        "smoothing": "smoothing",
        "dropout": "dropout",
    },
    "lora": {"seconds": "seconds", "shape": "shape_name", "peers": "peers", "batch": "batch", "dropout": "dropout"},
    "decode": {"seconds": "seconds", "shape": "shape_name", "peers": "peers", "no_compile_peers": "compile_peers"},
    "latency": {"archs": "archs", "processes": "processes", "seed": "seed", "context": "context"},
    "startup": {"archs": "archs", "seed": "seed", "batch_tokens": "batch_tokens", "no_compile_peers": "compiled_archs"},
    "ledger": {"trials": "trials", "sampler": "sampler", "seed": "seed"},
    "search": {
        "table": "table",
        "table_spec": "table_spec",
        "study": "study",
        "out": "out",
        "samplers": "samplers",
        "seeds": "seeds",
        "trials": "trainings",
        "per_sampler": "per_sampler",
        "hide_cheap": "hide_cheap",
        "cache": "cache",
        "jobs": "jobs",
        "plot": "plot",
    },
    "studies": {"space": "space", "samplers": "samplers", "seeds": "seeds", "trials": "trials", "out": "out"},
    "arms": {"space": "space", "trials": "cases", "seed": "seed", "out": "out"},
    "recipes": {"seeds": "seeds", "seed": "seed"},
    "claims": {"space": "space", "seeds": "seeds", "seed": "seed", "out": "out"},
    "optimizers": {"space": "space", "seeds": "seeds", "seed": "seed", "out": "out"},
    "table": {
        "space": "space",
        "study": "study",
        "trials": "trials",
        "seed": "seed",
        "out": "out",
        "table_out": "table_out",
        "resume": "resume",
        "sentinels": "sentinel_count",
        "factor": "factor",
    },
    "detectors": {},
    "gpu": {"peer_dir": "peer_dir"},
}
# Those that train on workers; those that ask nothing of a device.
_ON_WORKERS, _WITHOUT_DEVICE = ("arms", "claims", "overhead", "studies", "table"), ("detectors", "gpu", "ledger", "search")
_OPTIONS = sorted({option for taken in _TAKES.values() for option in taken})


def bench(options: argparse.Namespace) -> int:
    from autonas.bench import run_bench

    if options.name in ("arms", "claims", "optimizers", "table", "studies"):
        again = "the same command" + (" with --resume" if options.name == "table" else "")
        options.resume_hint = lambda options: again
    found = run_bench(options.name, **_asked(options), say=note)
    if options.json or options.name == "gpu":
        print_json(found)
    elif options.name == "search":
        from autonas.bench.replays.text import lines

        print(*lines(found), sep="\n")
    elif options.name == "claims":
        from autonas.bench.claims_text import lines as claim_lines

        print(*claim_lines(found), sep="\n")
    else:
        _print(found)
    return OK


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What was said on the command line, as the bench's own arguments. Raises RequestError when it has no such argument."""
    takes = _TAKES[options.name]
    asked: dict[str, Any] = {}
    for option in _OPTIONS:
        value = getattr(options, option)
        if value is None:
            continue
        if option not in takes:
            raise RequestError(f"bench {options.name} has no use for --{option.replace('_', '-')}; leave it out")
        if option in ("peers", "samplers"):
            value = tuple(name for name in value.split(",") if name)
        asked[takes[option]] = False if option == "no_compile_peers" else value
    if options.name in _ON_WORKERS:
        asked["engine"] = engine_settings(options)
    elif options.name not in _WITHOUT_DEVICE:
        asked |= {"device": options.device, "threads": options.threads}
    if options.name == "search":
        asked |= _replayed_study(asked) | {"workers": options.workers or 1}
    return asked


def _replayed_study(asked: dict[str, Any]) -> dict[str, Any]:
    """The study of the user's that is replayed, as its ledger remembers it."""
    from autonas.api import read_study
    from autonas.run_folder import TRIALS

    out, study = asked.pop("out", None), asked.get("study")
    if study is None:
        if out is not None:
            raise RequestError("bench search: --out says where studies are kept; name one with --study, or leave it out")
        return {}
    return {"study": read_study(study, storage=os.environ.get("AUTONAS_STORAGE") or None, out=out or TRIALS)}


def _print(found: Mapping[str, Any]) -> None:
    """Rows for people, in lines of 80 columns; the whole of it is in the JSON."""
    conditions, environment = found["conditions"], found["environment"]
    if conditions:
        packages = environment["packages"]
        versions = ", ".join(
            f"{name} {packages[name]}" for name in ("torch", "transformers", "accelerate", "peft") if packages[name]
        )
        _say(f"{conditions['device']}, {conditions['threads']} threads; {versions}; commit {environment['commit']}")
        print()
    for row in found["rows"]:
        _print_row(row)
    for name, contestant in _flags(conditions):
        _say(f"{name}: {contestant}", "  ")


def _print_row(row: Mapping[str, Any]) -> None:
    goal = "" if row["goal"] is None else f"; goal {row['goal']:g}: {'met' if row['met'] else 'not met'}"
    against = f" / {row['peer_name']}" if row["peer_name"] else ""
    if row["ours"] is None:
        _say(f"{row['metric']}{against}: {row['note']}{goal}")
        return
    if row["ratio"] is None:
        interval = "" if row["low"] is None else f" ({row['low']:.4g} to {row['high']:.4g})"
        peer = "" if row["peer"] is None else f"; {row['peer_name']}: {_number(row['peer'])}"
        _say(f"{row['metric']}: {_number(row['ours'])} {row['unit']}{interval}{peer}{goal}")
    else:
        interval = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
        _say(f"{row['metric']}{against}: {row['ratio']:.3g}x{interval}{goal}")
        spreads = "" if row["spread"] is None else f", spread {row['spread']:.0%} and {row['peer_spread']:.0%}"
        _say(f"{_number(row['ours'])} against {_number(row['peer'])} {row['unit']}{spreads}", "    ")
    if row["note"]:
        _say(row["note"], "    ")


def _flags(conditions: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How each contestant ran, where the bench says it."""
    found = [(name, str(flags)) for name, flags in conditions.get("flags", {}).items()]
    for style, said in conditions.get("styles", {}).items():
        for name, contestant in said["contestants"].items():
            found.append((f"{style}, {name}", f"{contestant['step_ms']:.1f} ms a step; {contestant['flags']}"))
    return found


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _say(text: str, indent: str = "") -> None:
    print(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ", break_on_hyphens=False))
