"""The limits that a process sets itself before it runs anything foreign. They can only be lowered afterwards."""

from __future__ import annotations

import os
import resource
from typing import Any


def limit_process(limits: dict[str, Any]) -> None:
    """Set `limits`: names of `resource` without their prefix, to whole numbers; and empty the environment."""
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    os.environ.clear()
    os.umask(0o077)
