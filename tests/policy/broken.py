"""What test_sampler.py asks in place of gaussian.py: the same process, with a sampler whose matrices cannot be decomposed."""

from __future__ import annotations

from typing import NoReturn

import optuna

from autonas.policy import gaussian


def serve() -> NoReturn:
    optuna.samplers.GPSampler.sample_relative = _fail  # type: ignore[assignment,method-assign]
    gaussian.serve()


def _fail(*_: object) -> NoReturn:
    from torch.linalg import LinAlgError  # type: ignore[attr-defined]

    raise LinAlgError("linalg.cholesky: the input is not positive-definite\nsecond line")
