"""LAPO's networks as one writes them down: float32, NCHW, the latent tiled over the planes. The baseline of the benchmarks.

The same functions as the library's, of the same weights: parameters have the same names and shapes. Frames come as float32
[B, 3K, H, W] in -.5 .. .5.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.unet_settings import UnetSettings
from lamflow.quantizers.vq_ema_settings import VqEmaSettings

PATCH_SIDE = 4


class Residual(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class Impala(nn.Module):
    """Frames [B, C, H, W] to features [B, hidden_width]."""

    def __init__(self, settings: ImpalaSettings, channels: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, base in enumerate(settings.channels):
            outputs = base * settings.scale
            if index == 0 and settings.stem == "patch":
                layers.append(nn.Conv2d(channels, outputs, 8, stride=4, padding=2))
                side = -(-side // 4)
            else:
                layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
                side = -(-side // 2)
            layers += [Residual(outputs, outputs) for _ in range(settings.blocks)]
            channels = outputs
        self.trunk = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels * side**2, settings.hidden_width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.hidden(functional.relu(self.trunk(x).flatten(1))))


class Encoder(nn.Module):
    """Frames [B, C, H, W] to [B, outputs]: LAPO's IDM and its policy."""

    def __init__(self, settings: ImpalaSettings, num_frames: int, side: int, outputs: int) -> None:
        super().__init__()
        self.impala = Impala(settings, 3 * num_frames, side)
        self.output = nn.Linear(settings.hidden_width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.impala(x))


class Policy(nn.Module):
    """A policy over one frame."""

    def __init__(self, settings: ImpalaSettings, side: int, outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(settings, 1, side, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


class Quantizer(nn.Module):
    """Vector quantisation with moving averages: latents [B, D] to quantised ones and the commitment loss."""

    codebook: Tensor
    cluster_size: Tensor
    cluster_sum: Tensor

    def __init__(self, settings: VqEmaSettings) -> None:
        super().__init__()
        self.settings = settings
        books, codes, width = settings.codebooks, settings.codes, settings.code_dim
        self.register_buffer("codebook", torch.zeros(books, codes, width))
        self.register_buffer("cluster_size", torch.ones(books, codes))
        self.register_buffer("cluster_sum", torch.zeros(books, codes, width))

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantised latents [B, D] with the straight-through gradient, codes int64 [G, B * T], and the commitment loss."""
        settings = self.settings
        split = latents.view(-1, settings.codebooks, settings.tokens, settings.code_dim).transpose(0, 1).flatten(1, 2)
        codes = torch.cdist(split.detach(), self.codebook).argmin(-1)
        one_hot = functional.one_hot(codes, settings.codes).to(split.dtype)
        quantized = one_hot @ self.codebook
        if self.training:
            self._update(split.detach(), one_hot)
        commitment = functional.mse_loss(split, quantized)
        passed = split + (quantized - split).detach()
        joined = passed.unflatten(1, (-1, settings.tokens)).transpose(0, 1).flatten(1)
        return joined, codes, commitment

    @torch.no_grad()
    def _update(self, split: Tensor, one_hot: Tensor) -> None:
        settings = self.settings
        self.cluster_size.lerp_(one_hot.sum(1), 1 - settings.decay)
        self.cluster_sum.lerp_(one_hot.transpose(1, 2) @ split, 1 - settings.decay)
        total = self.cluster_size.sum(-1, keepdim=True)
        smoothed = (self.cluster_size + settings.epsilon) / (total + settings.codes * settings.epsilon) * total
        self.codebook.copy_(self.cluster_sum / smoothed[..., None])


class Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = Residual(outputs, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(functional.max_pool2d(self.residual(self.norm(self.convolution(x))), 2))


class Up(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = Residual(outputs, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.residual(self.norm(self.convolution(x))))


class Unet(nn.Module):
    """Two frames [B, 6, H, W] and latents [B, D] to the next frame [B, 3, H, W]; with a patch stem all on planes of patches."""

    def __init__(self, settings: UnetSettings, side: int, latent_dim: int) -> None:
        super().__init__()
        self.patch = PATCH_SIDE if settings.stem == "patch" else 1
        self.predicts_change = settings.target == "change"
        base, side, pixels = settings.base_width, side // self.patch, 3 * self.patch**2
        widths = [base * 2**index for index in range(side.bit_length() - 1)]
        self.first = Down(2 * pixels + latent_dim, widths[0])
        self.down = nn.ModuleList(Down(a, b) for a, b in itertools.pairwise(widths[:-1]))
        self.bottom = nn.Conv2d(widths[-2], widths[-1], 2)
        skips, up_widths = [latent_dim, *reversed(widths[:-1])], [*reversed(widths), base]
        self.up = nn.ModuleList(
            Up(a + skip, b) for (a, b), skip in zip(itertools.pairwise(up_widths), skips, strict=True)
        )
        last = base if self.patch == 1 else 2 * base
        self.last = nn.Sequential(
            nn.Conv2d(base + 2 * pixels, last, 3, padding=1),
            Residual(last, last // 2),
            nn.ReLU(),
            nn.Conv2d(last, pixels, 1),
        )

    def forward(self, frames: Tensor, latents: Tensor) -> Tensor:
        planes = patches(frames, self.patch)
        latents = latents[:, :, None, None]
        features = [self.first(torch.cat([planes, latents.expand(-1, -1, *planes.shape[2:])], dim=1))]
        for block in self.down:
            features.append(block(features[-1]))
        x = self.bottom(features[-1])
        for block, skip in zip(self.up, [latents, *reversed(features)], strict=True):
            x = block(torch.cat([x, skip], dim=1))
        output = torch.tanh(self.last(torch.cat([x, planes], dim=1)))
        if self.predicts_change:
            return planes[:, planes.shape[1] // 2 :] + output
        return output / 2


def patches(frames: Tensor, side: int) -> Tensor:
    """[B, 3K, H, W] to [B, 3K * side**2, H / side, W / side], frame by frame and then pixel by pixel of a patch."""
    if side == 1:
        return frames
    cut = frames.unflatten(3, (-1, side)).unflatten(2, (-1, side)).unflatten(1, (-1, 3))
    return cut.permute(0, 1, 4, 6, 2, 3, 5).flatten(1, 4)


class LatentActionModel(nn.Module):
    """IDM, quantiser and FDM over three frames [B, 9, H, W]."""

    def __init__(self, settings: OneStepSettings, side: int) -> None:
        super().__init__()
        assert isinstance(settings.inverse_dynamics, ImpalaSettings)
        assert isinstance(settings.forward_dynamics, UnetSettings)
        self.commitment_weight = settings.quantizer.commitment_weight
        latent_dim = settings.quantizer.latent_dim
        self.inverse_dynamics = Encoder(settings.inverse_dynamics, 3, side, latent_dim)
        self.quantizer = Quantizer(settings.quantizer)
        self.forward_dynamics = Unet(settings.forward_dynamics, side, latent_dim)

    def loss(self, frames: Tensor) -> Tensor:
        """The mean squared error of the predicted last frame, and the commitment loss."""
        latents, _, commitment = self.quantizer(self.inverse_dynamics(frames))
        predicted = self.forward_dynamics(frames[:, :6], latents)
        target = patches(frames[:, 6:], self.forward_dynamics.patch)
        return functional.mse_loss(predicted, target) + self.commitment_weight * commitment
