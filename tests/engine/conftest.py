"""One Ray for all tests of a module: starting it takes seconds, and the engine uses one that is there already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autonas.engine.choice import EngineSettings
from autonas.engine.ray_cluster import connect


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    import ray

    assert connect(EngineSettings(workers=4, device="cpu"))
    yield
    ray.shutdown()
