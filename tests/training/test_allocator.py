from __future__ import annotations

import platform

from autonas.training.allocator import keep_freed_memory


def test_memory_is_kept_where_the_c_library_is_glibc() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
