"""`python -m autonas.evaluation.sandbox`: which walls this machine has. Ends with 2 where one is missing."""

from __future__ import annotations

import sys

from autonas.errors import ResourceError
from autonas.evaluation.sandbox import Sandbox, describe


def main() -> int:
    """Print the walls; without all of them, why, and what is left."""
    try:
        sandbox = Sandbox.open()
    except ResourceError as error:
        print(error, file=sys.stderr)  # noqa: T201
        try:
            sandbox = Sandbox.open(allow_weak=True)
        except ResourceError:
            return 2
    print("\n".join(describe(sandbox.walls)))  # noqa: T201
    return 2 if sandbox.weak else 0


if __name__ == "__main__":
    sys.exit(main())
