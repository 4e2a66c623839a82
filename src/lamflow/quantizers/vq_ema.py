"""Vector quantisation with exponential-moving-average codebooks (van den Oord et al. 2017, appendix A.1; LAPO section 3.1).

Shapes: B batch, G codebooks, T tokens a codebook, C codes a codebook, W code width; the latent is [B, G * T * W].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.quantizers.interface import Quantized, of_first_process, summed_over_processes
from lamflow.quantizers.vq_ema_settings import VqEmaSettings


class VectorQuantizerEma(nn.Module):
    """Nearest code of each token, codebooks learnt as moving averages of the vectors they stand for.

    With n_c vectors of a batch for code c, their sum s_c, and decay d:

        N_c <- d N_c + (1 - d) n_c,   S_c <- d S_c + (1 - d) s_c,   M_c = (N_c + eps) / (sum N + C eps) * sum N,   code c = S_c / M_c.

    N_c begins at 1. With ``ema_counts: lapo`` it begins at 0 and becomes M_c after each step, as in LAPO's code: at the first step a code
    that no vector uses becomes about d / eps times as large, and comes back only as eps per step is written into its count.

    Always float32, also under autocast. Buffers change in training mode only, after the batch was quantised. The
    straight-through estimator passes the gradient of the quantised latent to the latent as it is. Under torch.distributed the
    counts and sums of a batch are summed over all processes, so that each has the codebook of the whole batch.
    """

    codebook: Tensor
    cluster_size: Tensor
    cluster_sum: Tensor

    def __init__(self, settings: VqEmaSettings) -> None:
        super().__init__()
        self.settings = settings
        shape = (settings.codebooks, settings.codes, settings.code_dim)
        bound = 5.0 / settings.codes
        self.register_buffer("codebook", torch.empty(shape).uniform_(-bound, bound))
        first_count = 0.0 if settings.ema_counts == "lapo" else 1.0
        self.register_buffer("cluster_size", torch.full(shape[:2], first_count))
        self.register_buffer("cluster_sum", self.codebook.clone())

    def forward(self, latents_BD: Tensor) -> Quantized:
        """Quantise latents float [B, D]."""
        with torch.autocast(latents_BD.device.type, enabled=False):
            vectors = self._split(latents_BD.float())
            codes = self.nearest(vectors)
            one_hot = functional.one_hot(codes, self.settings.codes).to(vectors.dtype)
            quantized = torch.einsum("gnc,gcw->gnw", one_hot, self.codebook)
            if self.training:
                self._update(vectors.detach(), one_hot)
            commitment = functional.mse_loss(vectors, quantized)
            passed = vectors + (quantized - vectors).detach()
            return Quantized(self._join(passed), self._codes_by_row(codes), commitment)

    def nearest(self, vectors_GNW: Tensor) -> Tensor:
        """Index of the nearest code by Euclidean distance, int64 [G, N]."""
        squared = self.codebook.square().sum(-1)[:, None, :] - 2 * torch.bmm(vectors_GNW, self.codebook.transpose(1, 2))
        return squared.argmin(-1)

    def decode(self, codes_BK: Tensor) -> Tensor:
        """Codes int64 [B, G * T] to the latents they stand for, float32 [B, D]."""
        codes_GN = codes_BK.view(-1, self.settings.codebooks, self.settings.tokens).transpose(0, 1).flatten(1)
        vectors = torch.stack([book[codes] for book, codes in zip(self.codebook, codes_GN, strict=True)])
        return self._join(vectors)

    def _split(self, latents_BD: Tensor) -> Tensor:
        settings = self.settings
        vectors = latents_BD.view(-1, settings.codebooks, settings.tokens, settings.code_dim)
        return vectors.transpose(0, 1).flatten(1, 2)

    def _join(self, vectors_GNW: Tensor) -> Tensor:
        settings = self.settings
        return vectors_GNW.unflatten(1, (-1, settings.tokens)).transpose(0, 1).flatten(1)

    def _codes_by_row(self, codes_GN: Tensor) -> Tensor:
        return codes_GN.unflatten(1, (-1, self.settings.tokens)).transpose(0, 1).flatten(1)

    @torch.no_grad()
    def _update(self, vectors_GNW: Tensor, one_hot_GNC: Tensor) -> None:
        settings = self.settings
        sums_GCW = torch.bmm(one_hot_GNC.transpose(1, 2), vectors_GNW)
        statistics = summed_over_processes(torch.cat([sums_GCW, one_hot_GNC.sum(1)[..., None]], dim=-1))
        self.cluster_size.lerp_(statistics[..., -1], 1 - settings.decay)
        self.cluster_sum.lerp_(statistics[..., :-1], 1 - settings.decay)
        total = self.cluster_size.sum(-1, keepdim=True)
        smoothed = (self.cluster_size + settings.epsilon) / (total + settings.codes * settings.epsilon) * total
        self.codebook.copy_(self.cluster_sum / smoothed[..., None])
        if settings.ema_counts == "lapo":
            self.cluster_size.copy_(smoothed)
        if settings.revive_below > 0:
            self._revive(vectors_GNW)

    def _revive(self, vectors_GNW: Tensor) -> None:
        """Codes that hardly any vector uses move onto random vectors of the batch (Dhariwal et al. 2020, Jukebox).

        Vectors are drawn at every call, whether or not a code needs them, so that the device need not be asked; of several processes,
        all take those of the first one.
        """
        dead_GC = self.cluster_size < self.settings.revive_below
        picks = torch.randint(vectors_GNW.shape[1], dead_GC.shape, device=vectors_GNW.device)
        drawn = torch.gather(vectors_GNW, 1, picks[..., None].expand(-1, -1, vectors_GNW.shape[-1]))
        drawn = of_first_process(drawn)
        self.codebook.copy_(torch.where(dead_GC[..., None], drawn, self.codebook))
        size = torch.full_like(self.cluster_size, self.settings.revive_below)
        self.cluster_size.copy_(torch.where(dead_GC, size, self.cluster_size))
        self.cluster_sum.copy_(torch.where(dead_GC[..., None], drawn * size[..., None], self.cluster_sum))
