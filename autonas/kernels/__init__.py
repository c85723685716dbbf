"""Our own loops between the matrix products of training on a processor: C, compiled here once, called on torch's memory.

`kernels.c` says what each function computes; `find_kernels` finds or builds them for a number format. They know sizes and
addresses only: shapes are the caller's to keep. No function allocates, and none waits for anything.
"""

from autonas.kernels.build import Kernels, find_kernels

__all__ = ["Kernels", "find_kernels"]
