from __future__ import annotations

import pytest
import torch

from autonas.errors import DeviceError
from autonas.training import precision
from autonas.training.precision import autocast_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has", "expected"), [(True, torch.bfloat16), (False, None)])
def test_auto_follows_the_device(monkeypatch: pytest.MonkeyPatch, has: bool, expected: torch.dtype | None) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    assert autocast_dtype("auto", CPU) == expected
    assert autocast_dtype("float32", CPU) is None


def test_bfloat16_without_instructions_for_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    with pytest.raises(DeviceError, match=r"cpu does not\. Use auto or float32"):
        autocast_dtype("bfloat16", CPU)


def test_a_device_of_another_kind_computes_in_float32() -> None:
    assert autocast_dtype("auto", torch.device("meta")) is None
