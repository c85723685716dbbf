"""The first lines within the walls, given to the interpreter as a text: load the other files, and start one of them.

Arguments: the role, then descriptors: the compiled files, the job, and those that the role's `main` takes.
"""

import marshal
import os
import sys


def _start(role: str, bundle: int, job: int, *descriptors: int) -> None:
    for name, code in marshal.loads(os.pread(bundle, 1 << 24, 0)).items():
        module = type(sys)(name)
        module.__package__, module.__path__ = "inside", []
        sys.modules[name] = module
        exec(code, module.__dict__)
    text = os.pread(job, 1 << 26, 0)
    os.close(bundle)
    os.close(job)
    sys.modules[f"inside.{role}"].main(text, *descriptors)


if __name__ == "__main__":
    _start(sys.argv[1], *map(int, sys.argv[2:]))
