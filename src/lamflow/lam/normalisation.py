"""Batch normalisation of a LAM's latents, before any quantiser (Ioffe and Szegedy 2015, arXiv 1502.03167).

Shapes: B batch, D latent width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from lamflow.quantizers.interface import several_processes


class LatentNorm(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` in float32, also under autocast; of several processes that share a training, over the whole batch.

    In training mode the batch is normalised by its own mean and variance, and the moving ones learn from it. In evaluation mode, as when a
    LAM labels or is validated, the moving ones are used and stay as they are.
    """

    def forward(self, latents_BD: Tensor) -> Tensor:
        """Latents float [B, D] to float32 [B, D]; ValueError for a training batch of one."""
        with torch.autocast(latents_BD.device.type, enabled=False):
            latents = latents_BD.float()
            return (
                self._of_all_processes(latents) if self.training and several_processes() else super().forward(latents)
            )

    def _of_all_processes(self, latents_BD: Tensor) -> Tensor:
        count = all_reduce(latents_BD.new_tensor(float(len(latents_BD))))
        mean = all_reduce(latents_BD.sum(0)) / count
        centred = latents_BD - mean
        variance = all_reduce(centred.square().sum(0)) / count
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        normalised: Tensor = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normalised
