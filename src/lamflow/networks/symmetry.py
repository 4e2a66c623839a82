"""Quarter turns of full grid views, and the canonical one in which the agent faces up.

Seen from above, the dynamics of a grid world with egocentric actions (forward, turn, pick up, ...) are the same after a
rotation of the whole grid, if the direction in which the agent is drawn rotates with it. A function of the window turned so
that the agent faces up is invariant under those rotations by construction (canonicalisation: Kaba et al. 2023, "Equivariance with
learned canonicalization functions"). Reflections are no symmetry: they exchange left and right turns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lamflow.envs.tiles import AGENT_TILE


def agent_direction(frames_BHW2: Tensor) -> Tensor:
    """The agent's direction in full views, int64 [B]: 0 up, 1 right, 2 down, 3 left. The agent's tile ids are the largest."""
    return frames_BHW2[..., 0].flatten(1).amax(1).long() - AGENT_TILE


def centred_on_agent(planes_BHWP: Tensor, frames_BHW2: Tensor) -> Tensor:
    """Planes float [B, H, W, P] moved so that the agent of a full view stands in the middle: [B, 2H - 1, 2W - 1, P].

    What lies outside the grid is 0. Where the agent is, is read from the frames uint8 [B, H, W, 2].
    """
    batch, height, width, channels = planes_BHWP.shape
    place = frames_BHW2[..., 0].flatten(1).argmax(1)
    padded = functional.pad(planes_BHWP, (0, 0, width - 1, width - 1, height - 1, height - 1))
    rows = (place // width)[:, None] + torch.arange(2 * height - 1, device=place.device)
    columns = (place % width)[:, None] + torch.arange(2 * width - 1, device=place.device)
    cells = (rows[:, :, None] * padded.shape[2] + columns[:, None, :]).flatten(1)
    taken = padded.flatten(1, 2).gather(1, cells[..., None].expand(-1, -1, channels))
    return taken.view(batch, 2 * height - 1, 2 * width - 1, channels)


def rotate_frames(frames: Tensor, quarter_turns: int) -> Tensor:
    """Rotate square frames uint8 [..., H, W, 2] counter-clockwise by ``quarter_turns`` x 90 degrees, the agent's tile with them."""
    if quarter_turns % 4 == 0:
        return frames
    rotated = torch.rot90(frames, quarter_turns, dims=(-3, -2))
    tiles = rotated[..., 0]
    direction = (tiles.long() - AGENT_TILE - quarter_turns) % 4
    turned = torch.where(tiles >= AGENT_TILE, (AGENT_TILE + direction).to(tiles.dtype), tiles)
    return torch.stack([turned, rotated[..., 1]], dim=-1)


def rotate_each(frames: Tensor, quarter_turns_B: Tensor) -> Tensor:
    """Rotate entry b of a batch [B, ..., H, W, 2] by ``quarter_turns_B[b]`` (int64 [B])."""
    rotated = frames.clone()
    for quarter_turns in (1, 2, 3):
        chosen = quarter_turns_B % 4 == quarter_turns
        rotated[chosen] = rotate_frames(frames[chosen], quarter_turns)
    return rotated


def face_up(frames_BKHW2: Tensor, present: int) -> Tensor:
    """Rotate each window [B, K, H, W, 2] so that in its frame number ``present`` the agent faces up."""
    return rotate_each(frames_BKHW2, agent_direction(frames_BKHW2[:, present]))
