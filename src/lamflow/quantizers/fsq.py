"""Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505).

Shapes: B batch, T tokens, W entries of a token; the latent is [B, T * W].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.quantizers.fsq_settings import FsqSettings
from lamflow.quantizers.interface import Quantized

_MARGIN = 1e-3
"""By which the bound exceeds the outermost levels, so that an entry may come to them."""


class FiniteScalarQuantizer(nn.Module):
    """Rounds entry w of each token to one of L_w levels.

    The entry z is bounded first, f(z) = tanh(z + s) (L - 1) (1 + margin) / 2 - o, where an even L has o = 1/2 and a shift s by which
    f(0) = 0, and an odd one neither. round(f(z)) has L values; divided by floor(L / 2) they lie in [-1, 1]. The straight-through estimator
    passes the gradient by the rounding and not by the bound. There is no codebook, no loss, and nothing that learns. Always float32.
    """

    levels: Tensor
    place_values: Tensor

    def __init__(self, settings: FsqSettings) -> None:
        super().__init__()
        self.settings = settings
        levels = torch.tensor(settings.levels)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer(
            "place_values", torch.cumprod(torch.tensor([1, *settings.levels[:-1]]), 0), persistent=False
        )

    def forward(self, latents_BD: Tensor) -> Quantized:
        """Quantise latents float [B, D]; the codes count the levels, the first entry's fastest."""
        with torch.autocast(latents_BD.device.type, enabled=False):
            tokens = latents_BD.float().unflatten(1, (-1, len(self.settings.levels)))
            bounded = self._bounded(tokens)
            rounded = bounded + (bounded.round() - bounded).detach()
            half = self.levels // 2
            codes = ((rounded.detach() + half).long() * self.place_values).sum(-1)
            return Quantized((rounded / half).flatten(1), codes, latents_BD.new_zeros(()))

    def decode(self, codes_BT: Tensor) -> Tensor:
        """Codes int64 [B, T] to the latents that they stand for, float32 [B, D]."""
        half = self.levels // 2
        digits = codes_BT[..., None] // self.place_values % self.levels
        return ((digits - half) / half).flatten(1)

    def _bounded(self, tokens_BTW: Tensor) -> Tensor:
        reach = (self.levels - 1) * (1 + _MARGIN) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(tokens_BTW + torch.atanh(offset / reach)) * reach - offset
