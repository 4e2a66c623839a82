"""No quantiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.quantizers.interface import Quantized
from lamflow.quantizers.none_settings import NoneSettings


class IdentityQuantizer(nn.Module):
    """No quantiser: a continuous latent, with no codes (int64 [B, 0])."""

    def __init__(self, settings: NoneSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, latents_BD: Tensor) -> Quantized:
        return Quantized(
            latents_BD, latents_BD.new_zeros(latents_BD.shape[0], 0, dtype=torch.long), latents_BD.new_zeros(())
        )

    def decode(self, codes_BK: Tensor) -> Tensor:
        """AssertionError: there are no codes."""
        raise AssertionError("a continuous latent has no codes")
