"""Small tables of finished trials, written as files: scores follow size and depth, with a little noise."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SPEC: dict[str, Any] = {
    "parameters": {
        "n_layer": {"int": [2, 4]},
        "width": {"choice": [8, 16, 32, 64]},
        "norm": {"choice": ["layernorm", "rmsnorm"]},
        "ratios": {"list": {"separator": "-", "choice": [2, 3, 4], "length": "n_layer"}},
    },
    "sizes": ["params"],
    "objectives": {
        "val_loss": {"direction": "minimize", "scale": "log", "costly": True, "unit": "nats"},
        "params": {"direction": "minimize", "scale": "log", "costly": False},
        "speed": {"direction": "maximize", "scale": "log", "costly": False},
    },
    "cost": "seconds",
}
CURVES: dict[str, Any] = {
    "file": "curves.csv",
    "key": "name",
    "step": "epoch",
    "values": {"val_loss": "loss"},
    "cost": "wall_s",
    "unit": "s",
}
EPOCHS = 9
Line = dict[str, Any]


def finished(count: int = 40, seed: int = 0) -> list[Line]:
    """The lines of a table, one for each trial."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        layers, width = int(rng.integers(2, 5)), int(rng.choice([8, 16, 32, 64]))
        ratios = rng.choice([2, 3, 4], size=layers)
        params = layers * width * width * int(ratios.sum() + 4)
        loss = 1.5 + 12.0 / params**0.25 + 0.05 * layers + float(rng.normal(0, 0.05))
        lines.append(
            {
                "name": f"t{number}",
                "n_layer": layers,
                "width": width,
                "norm": str(rng.choice(["layernorm", "rmsnorm"])),
                "ratios": "-".join(map(str, ratios)),
                "val_loss": round(loss, 5),
                "params": params,
                "speed": round(1e4 / (layers * (width + 20)), 5),
                "seconds": round(1.0 + params / 2e4, 5),
            }
        )
    return lines


def curves_of(lines: Sequence[Line]) -> list[Line]:
    """The lines of the second file: curves that end at each trial's loss, in equal steps of cost."""
    found = []
    for line in lines:
        for epoch in range(1, EPOCHS + 1):
            above = (EPOCHS - epoch) / EPOCHS * (1.0 + 0.1 * line["n_layer"])
            cell = {"name": line["name"], "epoch": epoch, "loss": round(line["val_loss"] + above, 5)}
            found.append({**cell, "wall_s": round(line["seconds"] / EPOCHS, 7)})
    return found


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def write_table(folder: Path, lines: Sequence[Line] | None = None, **changes: Any) -> tuple[Path, Path]:
    """A table and its spec in `folder`: SPEC with whole sections replaced, or left out where they are None."""
    spec = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
    table = write_lines(folder / "trials.csv", finished() if lines is None else lines)
    file = folder / "trials.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return table, file


def write_table_with_curves(folder: Path, lines: Sequence[Line] | None = None, **changes: Any) -> tuple[Path, Path]:
    """As `write_table`, with learning curves of nine epochs."""
    lines = finished() if lines is None else lines
    write_lines(folder / "curves.csv", curves_of(lines))
    return write_table(folder, lines, **{"cost": None, "curves": CURVES, **changes})
