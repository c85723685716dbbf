"""Figures on their way into a page: as JSON, and Plotly's script, once, to draw them with."""

from __future__ import annotations

import base64
import functools
import gzip
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

Figures = Mapping[str, go.Figure]
_DIGITS = 6  # of a coordinate: far below a pixel, and half the bytes


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """A figure's data and layout as plain JSON values, numbers with as many digits as can be seen, gaps as null."""
    made: dict[str, Any] = figure.to_plotly_json()
    return {"data": _plain(made["data"]), "layout": _plain(made["layout"])}


@functools.cache
def plotly_script() -> str:
    """Plotly's JavaScript as its Python library brings it."""
    script: str = get_plotlyjs()
    return script


@functools.cache
def packed_script() -> str:
    """The same, packed: gzip in base64, 1.9 MB instead of 4.8. A page's script unpacks it."""
    return base64.b64encode(gzip.compress(plotly_script().encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "bdata" in value:  # an array as Plotly packs it
            array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
            return _plain(array.reshape([int(size) for size in str(value.get("shape", array.size)).split(",")]))
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{_DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    return value
