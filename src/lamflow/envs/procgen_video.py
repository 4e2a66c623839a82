"""Videos of Procgen episodes at the simulator's own picture size, rendered afterwards from levels and actions.

Shapes: L transitions, S side of a picture in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.envs.spec import FRAMES, EnvironmentSpec

VIDEO_SIDE = 512
"""Side of the simulator's pictures in pixels."""


def render_video(
    spec: EnvironmentSpec,
    level_id: int,
    actions: NDArray[np.int64],
    *,
    side: int = VIDEO_SIDE,
    frames: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Pictures uint8 [L, S, S, 3] of what was seen before each of ``actions`` int64 [L] on a level.

    ``side`` divides 512. ``frames`` uint8 [>= L, 64, 64, 3]: what was recorded then; ValueError at the first picture that the
    replay does not repeat (data of another simulator, level or mode), and when the episode ends before its last action.
    """
    if side < 1 or VIDEO_SIDE % side:
        raise ValueError(f"found side {side}, expected a divisor of {VIDEO_SIDE}")
    environment = ProcgenVectorEnvironment(spec, 1, render=True)
    try:
        seen = environment.reset(np.array([level_id], np.int64)).parts[FRAMES][0]
        pictures = []
        for step, action in enumerate(actions):
            if frames is not None and (seen != frames[step]).any():
                raise ValueError(
                    f"{spec.name}, level {level_id}: the replay differs from the recorded frames at step {step}; expected actions that "
                    "were taken on this level in this mode"
                )
            pictures.append(_smaller(environment.pictures()[0], side))
            result = environment.step(np.array([action], np.int64))
            if (result.terminated[0] or result.truncated[0]) and step < len(actions) - 1:
                raise ValueError(
                    f"{spec.name}, level {level_id}: the replay ended after {step + 1} of {len(actions)} actions"
                )
            seen = result.observation.parts[FRAMES][0]
    finally:
        environment.close()
    return np.stack(pictures)


def _smaller(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The mean over square blocks: uint8 [S, S, 3]."""
    block = VIDEO_SIDE // side
    if block == 1:
        return picture
    blocks = picture.reshape(side, block, side, block, 3)
    return blocks.mean(axis=(1, 3), dtype=np.float32).round().astype(np.uint8)
