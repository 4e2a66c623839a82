"""What policies see.

Shapes: B batch, K context frames, P proprioceptive entries, G task entries.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PolicyInputs(NamedTuple):
    """``frames`` uint8 [B, K, *frame_shape] and ``proprioception`` uint8 [B, K, P], the last one the present; ``begun`` bool
    [B, K], False where the episode had not begun (frame and proprioception then repeat the first); ``task`` uint8 [B, G]."""

    frames: Tensor
    begun: Tensor
    proprioception: Tensor
    task: Tensor
