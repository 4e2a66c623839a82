"""Which precision a setting means, also inside an autocast."""

from __future__ import annotations

import pytest
import torch

from lamflow.training import precision
from lamflow.training.precision import autocast

CPU = torch.device("cpu")


def product() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_bf16_and_float32_are_what_they_say() -> None:
    with autocast("bf16", CPU):
        assert product() == torch.bfloat16
    with autocast("float32", CPU):
        assert product() == torch.float32


@pytest.mark.parametrize(("gains", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bf16_where_that_gains(gains: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_gains", lambda device: gains)
    with autocast("auto", CPU):
        assert product() == dtype


def test_float32_holds_inside_a_lower_precision() -> None:
    """A probe is trained while a LAM of lower precision is validated."""
    with autocast("bf16", CPU), autocast("float32", CPU):
        assert product() == torch.float32
