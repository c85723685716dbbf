"""Our own loops between the matrix products of training and decoding on a processor: C, compiled here once, on torch's memory.

training.c and decode.c say what each function computes; `find_kernels` finds or builds them for a number format. They know
sizes and addresses only: shapes are the caller's to keep. No function allocates, and none waits for anything.
"""

from autonas.kernels.build import Cache, Decoder, Dropout, Kernels, find_kernels

__all__ = ["Cache", "Decoder", "Dropout", "Kernels", "find_kernels"]
