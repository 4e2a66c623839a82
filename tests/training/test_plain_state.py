"""States of all kinds go into checkpoints and come back as they were."""

from __future__ import annotations

import io
import random
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lamflow.training.plain_state import from_plain, to_plain


def there_and_back(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(to_plain(state), buffer)
    buffer.seek(0)
    return from_plain(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.uint32).reshape(2, 3),
        np.zeros((0, 4), np.bool_),
        np.array([1.5, np.nan, np.inf], ">f4"),
        np.array(3, np.int16),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]).view("u1"),
        np.arange(12).reshape(3, 4)[:, ::2],
    ],
)
def test_arrays_keep_type_shape_and_content_and_may_be_written_to(array: Any) -> None:
    found = there_and_back(array)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert found.flags.writeable


def test_scalars_of_numpy_keep_their_type() -> None:
    found = there_and_back([np.float32(0.1), np.int64(2**60), 0.1, 7, True, None, "text", b"\x00\xff", b""])
    assert [type(value) for value in found[:4]] == [np.float32, np.int64, float, int]
    assert found == [np.float32(0.1), np.int64(2**60), 0.1, 7, True, None, "text", b"\x00\xff", b""]


def test_random_states_and_optimisers_are_as_they_were() -> None:
    module = nn.BatchNorm1d(2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(4, 2)).square().sum().backward()
    optimizer.step()
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "optimizer": optimizer.state_dict()}  # noqa: NPY002
    found = there_and_back(states | {"module": module.state_dict()})
    assert found["python"] == states["python"]
    np.random.set_state(found["numpy"])  # noqa: NPY002
    optimizer.load_state_dict(found["optimizer"])
    assert isinstance(found["module"], OrderedDict) and found["module"]._metadata == module.state_dict()._metadata
    module.load_state_dict(found["module"])


@pytest.mark.parametrize("state", [object(), np.array([None]), {1, 2}])
def test_what_cannot_be_kept_is_named_when_it_is_written(state: Any) -> None:
    with pytest.raises(TypeError, match=r"state\['games'\]\[1\]: found a \w+, expected tensors, arrays, numbers"):
        to_plain({"games": [0, state]})
