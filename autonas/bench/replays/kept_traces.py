"""Traces of peers in a folder: their replays are slow, and the same every time for a table, a searcher, a seed and versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from autonas.bench.replays.contestants import Arena, Contestant
from autonas.bench.replays.simulation import Limit, Trace
from autonas.errors import RequestError, resource_error
from autonas.trial import from_json, to_json

# Raised when a peer's loop has changed: traces that were kept before are of another one.
LOOPS = 2


def _file(cache: Path, arena: Arena, contestant: Contestant, seed: int, limit: Limit) -> Path:
    facts = {
        "table": arena.table.fingerprint,
        "sampler": contestant.name,
        "flags": contestant.flags,
        "versions": contestant.versions,
        "seed": seed,
        "trainings": limit.trainings,
        "workers": arena.workers,
        "loops": LOOPS,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return cache / f"{arena.table.name}-{contestant.name}-{seed}-{digest}.json"


def kept(cache: Path | None, arena: Arena, contestant: Contestant, seed: int, limit: Limit) -> Trace | None:
    """The trace of a peer from an earlier bench; None of the policy's own, which is always made anew.

    Raises:
        RequestError: the file is none of ours.
    """
    if cache is None or contestant.policy:
        return None
    path = _file(cache, arena, contestant, seed, limit)
    try:
        return from_json(Trace, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a trace ({error}); remove it, or name another --cache") from error


def keep(cache: Path | None, arena: Arena, contestant: Contestant, seed: int, limit: Limit, trace: Trace) -> None:
    """Keep the trace of a peer.

    Raises:
        ResourceError: it cannot be written.
    """
    if cache is None or contestant.policy:
        return
    path = _file(cache, arena, contestant, seed, limit)
    partial = path.with_suffix(".partial")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(to_json(trace)), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise resource_error(error, path) from error
