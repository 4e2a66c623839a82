"""Large pictures of an episode over pixels, played again: ``lamflow.envs.<family>_video``, found by name, of families that have them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec


def video_module(spec: EnvironmentSpec) -> str | None:
    """The name of the module of an environment's family, None where it has no such pictures."""
    name = f"lamflow.envs.{spec.family}_video"
    return name if find_spec(name) else None


def render_video(
    spec: EnvironmentSpec, level_id: int, actions: NDArray[np.int64], *, side: int, frames: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Pictures uint8 [L, side, side, 3] of what was seen before each of ``actions`` int64 [L] on a level, which must repeat ``frames``
    uint8 [>= L, H, W, 3]; ValueError where they do not. The family must have pictures."""
    name = video_module(spec)
    assert name is not None, f"{spec.family} has no videos"
    pictures: NDArray[np.uint8] = import_module(name).render_video(spec, level_id, actions, side=side, frames=frames)
    return pictures
