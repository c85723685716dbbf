"""Generated code behind walls: `Sandbox.open()`, `check`, a `Verdict`. The standard library only."""

from autonas.evaluation.sandbox.limits import Limits
from autonas.evaluation.sandbox.sandbox import Sandbox, describe
from autonas.evaluation.sandbox.verdict import Verdict
from autonas.evaluation.sandbox.walls import Wall

__all__ = ["Limits", "Sandbox", "Verdict", "Wall", "describe"]
