"""Measurements of autonas itself, side by side with peers: `autonas bench NAME`. Nothing here gates a test."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from autonas import machine
from autonas.trial import to_json

BENCHES = {"overhead": "what the controller costs: idle worker time between trials"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number. `ratio` compares with a peer, better is larger; `met` is None where there is no goal."""

    metric: str
    unit: str
    ours: float
    low: float | None = None  # 95 % interval of `ratio` where there is one, else of `ours`
    high: float | None = None
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None


def run_bench(name: str, **options: Any) -> dict[str, Any]:
    """Measure, and return what `autonas bench NAME --json` prints."""
    rows: list[Row] = importlib.import_module(f"autonas.bench.{name}").measure(**options)
    return {"name": name, "environment": machine.environment(), "rows": to_json(rows)}
