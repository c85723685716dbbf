"""Multi-objective neural architecture search for small code language models.

The functions below are the Python interface. They are imported when they are first used, so that `import autonas` is quick
and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autonas import plot
    from autonas.api import (
        cancel,
        count_params,
        evaluate,
        export,
        finetune,
        front,
        load,
        promote,
        propose_promotion,
        read_study,
        report,
        report_run,
        search,
        write_trial_events,
    )
    from autonas.api.records import Front
    from autonas.engine.choice import EngineSettings
    from autonas.evaluation.detectors import is_collapsed
    from autonas.pareto import hypervolume

__version__ = "0.1.0"
__all__ = [
    "EngineSettings",
    "Front",
    "cancel",
    "count_params",
    "evaluate",
    "export",
    "finetune",
    "front",
    "hypervolume",
    "is_collapsed",
    "load",
    "plot",
    "promote",
    "propose_promotion",
    "read_study",
    "report",
    "report_run",
    "search",
    "write_trial_events",
]

_HOMES = {
    "EngineSettings": "autonas.engine.choice",
    "Front": "autonas.api.records",
    "hypervolume": "autonas.pareto",
    "is_collapsed": "autonas.evaluation.detectors",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autonas' has no attribute {name!r}")
    if name == "plot":
        return importlib.import_module("autonas.plot")
    return getattr(importlib.import_module(_HOMES.get(name, "autonas.api")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
