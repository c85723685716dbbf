"""Measurements of autonas itself, side by side with peers: `autonas bench NAME`. Nothing here gates a test."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autonas import machine
from autonas.trial import to_json

BENCHES = {
    "overhead": "what the controller costs: idle worker time between trials",
    "train": "training beside Hugging Face Trainer, a plain loop and nanoGPT",
    "lora": "steps of tuning with adapters, beside PEFT in a plain loop and in Hugging Face Trainer",
    "decode": "greedy generation beside Hugging Face generate, same weights",
    "latency": "how well measured latencies repeat in fresh processes",
    "startup": "what a warm worker needs to begin with a new architecture",
    "ledger": "trials a second and the wait for a proposal, with an objective that costs nothing",
    "search": "searches replayed on a table of finished trials, in virtual time, beside other searchers",
    "studies": "real searches with each sampler in turn: hypervolume at equal compute",
    "arms": "full runs with every arm of the horizon-bound dimensions, beside what replicas chose",
    "claims": "the prior system's claims about regularisation, prompts and size, tried again on causal models",
    "recipes": "ways to teach one small model at equal compute: stages, functions, a teacher",
    "optimizers": "AdamW, Muon and Grokfast on one decoder, each tuned, at equal tokens and time; averages of weights",
    "table": "trains a table of decoders with learning curves, and writes it for replays",
    "detectors": "how often the collapse detectors are right on labelled texts, beside the prior system's rules",
    "gpu": "every goal of a GPU, within eight minutes",
}
_PEER_PACKAGES = ("transformers", "accelerate", "peft", "triton")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number. `ratio` compares with a peer, better is larger; `met` is None where there is no goal."""

    metric: str
    unit: str
    ours: float | None  # None: not measured, and `note` says why
    low: float | None = None  # 95 % interval of `ratio` where there is one, else of `ours`
    high: float | None = None
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None
    spread: float | None = None  # interquartile range over median, of ours and of the peer's blocks
    peer_spread: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Rows, and under which conditions they were measured: shapes, flags of each peer, device, threads, losses."""

    rows: list[Row]
    conditions: Mapping[str, Any] = field(default_factory=dict)


def not_measured(metric: str, reason: str, *, peer_name: str | None = None, goal: float | None = None, unit: str = "") -> Row:
    """The row of what there is no number of. A goal that was not measured is not met."""
    met = None if goal is None else False
    return Row(metric=metric, unit=unit, ours=None, peer_name=peer_name, goal=goal, met=met, note=f"not measured: {reason}")


def run_bench(name: str, **options: Any) -> dict[str, Any]:
    """Measure, and return what `autonas bench NAME --json` prints."""
    found: Findings | list[Row] = importlib.import_module(f"autonas.bench.{name}").measure(**options)
    findings = found if isinstance(found, Findings) else Findings(rows=found)
    environment = machine.environment()
    environment["packages"] |= {package: machine.package_version(package) for package in _PEER_PACKAGES}
    return {
        "name": name,
        "environment": environment,
        "conditions": to_json(findings.conditions),
        "rows": [dataclasses.asdict(row) for row in findings.rows],
    }
