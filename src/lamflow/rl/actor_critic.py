"""The expert's network over pixels: an IMPALA encoder with a policy and a value head.

Legend: B batch, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import ImpalaSettings
from lamflow.models.impala import ImpalaEncoder


class PixelActorCritic(nn.Module):
    """pi(a | o) and V(o) of a single frame. Masked actions have probability 0."""

    masked: Tensor

    def __init__(self, *, settings: ImpalaSettings, spec: EnvironmentSpec, mask_duplicate_actions: bool) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = ImpalaEncoder(settings=settings, num_frames=1, frame_shape=spec.frame_shape)
        self.policy = nn.Linear(settings.hidden_width, spec.num_actions)
        self.value = nn.Linear(settings.hidden_width, 1)
        for head, gain in ((self.policy, 0.01), (self.value, 1.0)):
            nn.init.orthogonal_(head.weight, gain)
            nn.init.zeros_(head.bias)
        duplicates = [mask_duplicate_actions and first != a for a, first in enumerate(spec.class_of_action)]
        self.register_buffer("masked", torch.tensor(duplicates), persistent=False)

    def forward(self, frames_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, H, W, 3] to log-probabilities float32 [B, A] and values float32 [B]."""
        features = self.encoder(frames_BHWC[:, None])
        logits = self.policy(features).float().masked_fill(self.masked, -torch.inf)
        return torch.log_softmax(logits, dim=-1), self.value(features).float()[:, 0]
