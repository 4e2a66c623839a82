"""States as checkpoints keep them: tensors, numbers, text and containers of them, so that reading one runs nothing that it says."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ARRAY = "numpy array"
"""Key of the dictionary that stands for an array or a scalar of numpy."""
_BYTES = "bytes"


def to_plain(state: Any, place: str = "state") -> Any:
    """``state`` with numpy arrays, numpy scalars and bytes as uint8 tensors; TypeError names the ``place`` of what cannot be kept."""
    if isinstance(state, np.ndarray | np.generic) and not state.dtype.hasobject:
        array = np.asarray(state)
        content = _tensor(array.tobytes())
        return {_ARRAY: content, "dtype": array.dtype.str, "shape": list(array.shape), "scalar": np.isscalar(state)}
    if isinstance(state, bytes):
        return {_BYTES: _tensor(state)}
    if type(state) in (dict, OrderedDict):
        plain = type(state)((key, to_plain(value, f"{place}[{key!r}]")) for key, value in state.items())
        if isinstance(state, OrderedDict):
            vars(plain).update(vars(state))  # versions of a module's parts
        return plain
    if type(state) in (list, tuple):
        return type(state)(to_plain(value, f"{place}[{index}]") for index, value in enumerate(state))
    if state is None or type(state) in (bool, int, float, str) or isinstance(state, Tensor):
        return state
    raise TypeError(
        f"{place}: found a {type(state).__name__}, expected tensors, arrays, numbers, text and containers of them"
    )


def from_plain(plain: Any) -> Any:
    """What ``to_plain`` was given."""
    if isinstance(plain, dict) and _ARRAY in plain:
        array = np.frombuffer(plain[_ARRAY].numpy().tobytes(), plain["dtype"]).reshape(plain["shape"]).copy()
        return array[()] if plain["scalar"] else array
    if isinstance(plain, dict) and _BYTES in plain:
        return plain[_BYTES].numpy().tobytes()
    if isinstance(plain, dict):
        state = type(plain)((key, from_plain(value)) for key, value in plain.items())
        if isinstance(plain, OrderedDict):
            vars(state).update(vars(plain))
        return state
    return type(plain)(map(from_plain, plain)) if type(plain) in (list, tuple) else plain


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)
