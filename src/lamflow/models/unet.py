"""LAPO's forward dynamics model over pixels, a U-Net (arXiv 2312.10812, appendix), at full resolution or on patches.

Shapes: B batch, K frames, H rows, W columns, C channels, D latent width, O output channels. Frames are uint8
[B, K, H, W, 3]; inside, tensors are [B, C, H, W] in channels_last memory.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.config import UnetSettings
from lamflow.models.impala import ResidualBlock, normalised_pixels

PATCH_SIDE = 4
"""Side of the patches that the patch stem moves into channels, in pixels."""


class LatentConv2d(nn.Conv2d):
    """A 3x3 convolution over planes and a latent that is tiled over them, without the tiles.

    Its parameters are those of a convolution over the concatenated planes. As it is linear, the latent adds the same
    vector everywhere but at the border, where zero padding hides some of the kernel's taps.
    """

    visible_taps: Tensor

    def __init__(self, planes: int, latent_dim: int, outputs: int) -> None:
        super().__init__(planes + latent_dim, outputs, 3, padding=1)
        self.planes = planes
        taps = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
        self.register_buffer("visible_taps", taps, persistent=False)

    def forward(self, planes_BCHW: Tensor, latents_BD: Tensor) -> Tensor:  # type: ignore[override]
        """[B, O, H, W] for H, W >= 2."""
        plane_weights, latent_weights = self.weight.split([self.planes, self.in_channels - self.planes], dim=1)
        output = functional.conv2d(planes_BCHW, plane_weights, self.bias, padding=1)
        return output + self._tiled(latents_BD, latent_weights, output.shape[2], output.shape[3])

    def _tiled(self, latents_BD: Tensor, weights_ODhw: Tensor, height: int, width: int) -> Tensor:
        """What the latent adds at each place: [B, O, H, W], channels_last."""
        kinds = torch.einsum("yh,xw,odhw->dyxo", self.visible_taps, self.visible_taps, weights_ODhw)
        shifts_ByxO = (latents_BD @ kinds.flatten(1)).unflatten(1, (3, 3, -1))
        top, middle, bottom = shifts_ByxO.split(1, dim=1)
        rows = torch.cat([top, middle.expand(-1, height - 2, -1, -1), bottom], dim=1)
        left, middle, right = rows.split(1, dim=2)
        return torch.cat([left, middle.expand(-1, -1, width - 2, -1), right], dim=2).permute(0, 3, 1, 2)


class DownBlock(nn.Module):
    """Convolution, batch norm, residual layer, and a max-pool to half the side. ``latent_dim`` > 0: also reads a tiled latent."""

    def __init__(self, inputs: int, outputs: int, latent_dim: int = 0) -> None:
        super().__init__()
        self.convolution = (
            LatentConv2d(inputs, latent_dim, outputs) if latent_dim else nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = ResidualBlock(outputs, outputs // 2)

    def forward(self, features_BCHW: Tensor, *latents_BD: Tensor) -> Tensor:
        """[B, C, H, W] (and latents [B, D]) to [B, O, H / 2, W / 2]."""
        features = self.residual(self.norm(self.convolution(features_BCHW, *latents_BD)))
        return functional.relu(functional.max_pool2d(features, 2))


class UpBlock(nn.Module):
    """Transposed convolution to twice the side, batch norm and residual layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = ResidualBlock(outputs, outputs // 2)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, O, 2 H, 2 W]."""
        return functional.relu(self.residual(self.norm(self.convolution(features_BCHW))))


class UnetForwardDynamics(nn.Module):
    """FDM(o_{t-1}, o_t, z): the pixels of o_{t+1}.

    Down blocks halve the side to 2, a convolution takes that to one cell, and as many up blocks and one more lead back,
    each of them reading the output of the down block of its side. The latent enters at the input, as if tiled over it, and at the
    one cell in place of a skip. The last block sees the input frames again.
    """

    def __init__(
        self, *, settings: UnetSettings, frame_shape: tuple[int, int, int], latent_dim: int, num_frames: int = 2
    ) -> None:
        super().__init__()
        self.patch = PATCH_SIDE if settings.stem == "patch" else 1
        self.predicts_change = settings.predicts == "change"
        base, side = settings.base_width, frame_shape[0] // self.patch
        if frame_shape[0] != frame_shape[1] or side < 4 or side & (side - 1) or frame_shape[0] % self.patch:
            raise ValueError(
                f"found frames of {frame_shape[0]}x{frame_shape[1]} pixels, expected squares whose side is a power of two "
                f"and at least {4 * self.patch}: use a grid network or other frames"
            )
        pixels = frame_shape[2] * self.patch**2
        planes = num_frames * pixels
        depth = side.bit_length() - 2
        widths = [base * 2**index for index in range(depth + 1)]
        self.first = DownBlock(planes, widths[0], latent_dim)
        self.down = nn.ModuleList(DownBlock(a, b) for a, b in itertools.pairwise(widths[:-1]))
        self.bottom = nn.Conv2d(widths[-2], widths[-1], 2)
        skips = [latent_dim, *reversed(widths[:-1])]
        up_widths = [*reversed(widths), base]
        self.up = nn.ModuleList(
            UpBlock(a + skip, b) for (a, b), skip in zip(itertools.pairwise(up_widths), skips, strict=True)
        )
        # A pixel is predicted from 24 channels at full resolution; a patch has 48 values to be predicted.
        last = base if self.patch == 1 else 2 * base
        head = nn.Conv2d(last, pixels, 1)
        if self.predicts_change:
            for parameter in head.parameters():
                nn.init.zeros_(parameter)  # so that the first prediction is the present frame
        self.last = nn.Sequential(
            nn.Conv2d(base + planes, last, 3, padding=1), ResidualBlock(last, last // 2), nn.ReLU(), head
        )

    def forward(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """Frames uint8 [B, K, H, W, 3] and latents [B, D] to the next frame float32 [B, 3, H, W]; black is -.5, white .5."""
        return _out_of_channels(self._predicted(frames_BKHWC, latents_BD), self.patch)

    def prediction_losses(self, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> Tensor:
        """Mean squared error to o_{t+1} uint8 [B, H, W, 3] over pixels and channels, in units of the range from black to white,
        squared: float32 [B]."""
        target = _into_channels(next_BHWC[:, None], self.patch, torch.float32)
        errors = functional.mse_loss(self._predicted(frames_BKHWC, latents_BD), target, reduction="none")
        return errors.mean(dim=(1, 2, 3))

    def most_likely(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """The predicted next frame, uint8 [B, H, W, 3]."""
        levels = (self(frames_BKHWC, latents_BD) + 0.5) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _predicted(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """The next frame with its patches in channels, float32 [B, 3 * patch**2, H / patch, W / patch]."""
        device = frames_BKHWC.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else latents_BD.dtype
        planes = _into_channels(frames_BKHWC, self.patch, dtype)
        skips = [self.first(planes, latents_BD)]
        for block in self.down:
            skips.append(block(skips[-1]))
        features = self.bottom(skips[-1])
        for block, skip in zip(self.up, [latents_BD[:, :, None, None], *reversed(skips)], strict=True):
            features = block(torch.cat([features, skip.to(features.dtype)], dim=1))
        output = torch.tanh(self.last(torch.cat([features, planes], dim=1)).float())
        if self.predicts_change:
            return _into_channels(frames_BKHWC[:, -1:], self.patch, torch.float32) + output
        return output / 2


def _into_channels(frames_BKHWC: Tensor, patch: int, dtype: torch.dtype) -> Tensor:
    """uint8 [B, K, H, W, 3] to [B, K * patch**2 * 3, H / patch, W / patch] in -.5 .. .5, channels_last; of a patch's channels
    those of its upper left pixel come first."""
    if patch == 1:
        return normalised_pixels(frames_BKHWC, dtype)
    patches = frames_BKHWC.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    planes_BHWC = patches.permute(0, 2, 4, 1, 3, 5, 6).flatten(3)
    return planes_BHWC.permute(0, 3, 1, 2).to(dtype).div_(255).sub_(0.5)


def _out_of_channels(planes_BCHW: Tensor, patch: int) -> Tensor:
    """The pixels of one frame: [B, patch**2 * 3, H / patch, W / patch] to [B, 3, H, W]."""
    patches = planes_BCHW.unflatten(1, (patch, patch, -1))
    return patches.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)
