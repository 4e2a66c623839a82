"""LAPO's forward dynamics model over pixels, a U-Net (arXiv 2312.10812, appendix), at full resolution or on patches.

Shapes: B batch, K frames, H rows, W columns, C channels, D latent width, O output channels. Frames are uint8
[B, K, H, W, 3]; inside, tensors are [B, C, H, W] in channels_last memory.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.networks.impala import ResidualBlock
from lamflow.networks.pixels import LEVELS, PATCH_SIDE, about_grey, network_dtype, patch_planes, pixel_planes
from lamflow.networks.unet_settings import UnetSettings
from lamflow.networks.vectors import StandardisedChange
from lamflow.spaces import Pixels


class LatentConv2d(nn.Conv2d):
    """A 3x3 convolution over pixels and a latent that is tiled over them, without the tiles.

    Its parameters are those of a convolution over the concatenation of both, pixels being in -.5 .. .5. As it is linear, each tap of
    the kernel adds one vector for the latent, at the places where zero padding does not hide the tap.
    """

    def __init__(self, planes: int, latent_dim: int, outputs: int) -> None:
        super().__init__(planes + latent_dim, outputs, 3, padding=1)
        self.planes = planes

    def forward(self, planes_BCHW: Tensor, latents_BD: Tensor) -> Tensor:  # type: ignore[override]
        """[B, O, H, W], of levels about mid-grey."""
        plane_weights, latent_weights = self.weight.split([self.planes, self.in_channels - self.planes], dim=1)
        output = functional.conv2d(planes_BCHW, plane_weights / LEVELS, self.bias, padding=1)
        taps_BTO = (latents_BD @ latent_weights.permute(1, 2, 3, 0).flatten(1)).unflatten(1, (9, -1))
        everywhere = torch.ones(1, 1, *planes_BCHW.shape[2:], device=output.device, dtype=output.dtype)
        visible_BPT = functional.unfold(everywhere, 3, padding=1).transpose(1, 2).expand(output.shape[0], -1, -1)
        places_BPO = torch.baddbmm(output.permute(0, 2, 3, 1).flatten(1, 2), visible_BPT, taps_BTO)
        return places_BPO.unflatten(1, output.shape[2:]).permute(0, 3, 1, 2)


class RevisitConv2d(nn.Conv2d):
    """A 3x3 convolution over features and pixels.

    Its parameters are those of a convolution over the concatenation of both, pixels being in -.5 .. .5. Two convolutions whose
    outputs are added need no concatenation, and no gradient is computed for the pixels.
    """

    def __init__(self, features: int, planes: int, outputs: int) -> None:
        super().__init__(features + planes, outputs, 3, padding=1)
        self.features = features

    def forward(self, features_BCHW: Tensor, planes_BCHW: Tensor) -> Tensor:  # type: ignore[override]
        """[B, O, H, W], of features and of levels about mid-grey."""
        feature_weights, plane_weights = self.weight.split([self.features, self.in_channels - self.features], dim=1)
        output = functional.conv2d(planes_BCHW, plane_weights / LEVELS, self.bias, padding=1)
        return output.add_(functional.conv2d(features_BCHW, feature_weights, padding=1))


class DownBlock(nn.Module):
    """Convolution, batch norm, residual layer, and a max-pool to half the side. ``latent_dim`` > 0: the inputs are levels about
    mid-grey, with a tiled latent."""

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
        return functional.relu(functional.max_pool2d(features, 2), inplace=True)


class UpConv2d(nn.ConvTranspose2d):
    """A transposed 2x2 convolution with stride 2: a linear map of each cell to the four of its square."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)

    def forward(self, features_BCHW: Tensor) -> Tensor:  # type: ignore[override]
        """[B, C, H, W] to [B, O, 2 H, 2 W]."""
        assert self.bias is not None
        weight, bias = self.weight.permute(2, 3, 1, 0).flatten(0, 2), self.bias.repeat(4)
        squares = functional.linear(features_BCHW.permute(0, 2, 3, 1), weight, bias).unflatten(3, (2, 2, -1))
        return squares.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class UpBlock(nn.Module):
    """Transposed convolution to twice the side, batch norm and residual layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = UpConv2d(inputs, outputs)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = ResidualBlock(outputs, outputs // 2)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to [B, O, 2 H, 2 W]."""
        return functional.relu(self.residual(self.norm(self.convolution(features_BCHW))), inplace=True)


class UnetForwardDynamics(nn.Module):
    """FDM(o_{t-1}, o_t, z): the pixels of o_{t+1}.

    Down blocks halve the side to 2, a convolution takes that to one cell, and as many up blocks and one more lead back,
    each of them reading the output of the down block of its side. The latent enters at the input, as if tiled over it, and at the
    one cell in place of a skip. The last block sees the input frames again. Frames are padded to a square whose side is a power of two, at
    the right and below, with what convolutions pad with (mid-grey); the prediction is cropped to the frame. ``name``: of the part that the
    frames are, by which a standardised target's moments are known.
    """

    def __init__(
        self,
        *,
        settings: UnetSettings,
        frame_shape: tuple[int, ...],
        latent_dim: int,
        num_frames: int = 2,
        name: str = FRAMES,
    ) -> None:
        super().__init__()
        self.patch = PATCH_SIDE if settings.stem == "patch" else 1
        self.predicts_change = settings.target != "frame"
        self.units = StandardisedChange(name, Pixels(frame_shape)) if settings.learns_standardised else None
        base, (self.height, self.width) = settings.base_width, frame_shape[:2]
        self.shown = (-(-self.height // self.patch), -(-self.width // self.patch))
        if min(self.shown) < 4:
            raise ValueError(
                f"found frames of {self.height}x{self.width} pixels, expected sides of at least {3 * self.patch + 1} pixels: "
                "scale or pad the frames where the episodes are made"
            )
        self.side = 2 ** (max(self.shown) - 1).bit_length()
        pixels = frame_shape[2] * self.patch**2
        self.pixels, planes = pixels, num_frames * pixels
        depth = self.side.bit_length() - 2
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
        self.last = nn.ModuleList(
            [RevisitConv2d(base, planes, last), ResidualBlock(last, last // 2), nn.ReLU(inplace=True), head]
        )

    def forward(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """Frames uint8 [B, K, H, W, 3] and latents [B, D] to the next frame float32 [B, 3, H, W]; black is -.5, white .5."""
        levels_BCHW = self._planes(frames_BKHWC)
        output = self._output(levels_BCHW, latents_BD)
        if self.units is not None:
            output = self._deviations(self.units) * output + self._mean_change(self.units)
        return self._cropped(_out_of_channels(output + (self._origin(levels_BCHW) - LEVELS / 2) / LEVELS, self.patch))

    def prediction_losses(self, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> Tensor:
        """Mean squared error to o_{t+1} uint8 [B, H, W, 3] over pixels and channels, in units of the range from black to white,
        squared: float32 [B]."""
        if self.units is not None:
            return self.training_losses(frames_BKHWC, latents_BD, next_BHWC)[1]
        levels_BCHW = self._planes(frames_BKHWC)
        target = self._planes(next_BHWC[:, None]).float().sub_(self._origin(levels_BCHW))
        errors = torch.sub(self._output(levels_BCHW, latents_BD), target, alpha=1 / LEVELS)
        return self._mean_squares(errors)

    def training_losses(self, frames_BKHWC: Tensor, latents_BD: Tensor, next_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """See ``StandardisedDynamics``: mean squared errors over pixels and channels, in standard deviations of each colour's change, and
        in those of ``prediction_losses``, float32 [B] each."""
        assert self.units is not None, "the target is not standardised"
        levels_BCHW, deviations_C11 = self._planes(frames_BKHWC), self._deviations(self.units)
        change = self._planes(next_BHWC[:, None]).float().sub_(self._origin(levels_BCHW)) / LEVELS
        target = (change - self._mean_change(self.units)) / deviations_C11
        errors = self._output(levels_BCHW, latents_BD) - target
        return self._mean_squares(errors), self._mean_squares(errors * deviations_C11)

    def _mean_squares(self, errors_BCHW: Tensor) -> Tensor:
        """Over pixels and channels, [B]."""
        if self.height % self.patch or self.width % self.patch:  # pixels beyond the frame count for nothing
            errors_BCHW = self._cropped(_out_of_channels(errors_BCHW, self.patch))
        # By the norm, whose gradient takes the fewest passes over the pixels.
        return torch.linalg.vector_norm(errors_BCHW, dim=(1, 2, 3)).square() / errors_BCHW[0].numel()

    def _deviations(self, units: StandardisedChange) -> Tensor:
        """Of the change of each of the output's channels, [C, 1, 1]; between black and white lies 1."""
        return (units.scale / LEVELS).repeat(self.patch**2)[:, None, None]

    def _mean_change(self, units: StandardisedChange) -> Tensor:
        """Of each of the output's channels, [C, 1, 1]."""
        return (units.mean / LEVELS).repeat(self.patch**2)[:, None, None]

    def most_likely(self, frames_BKHWC: Tensor, latents_BD: Tensor) -> Tensor:
        """The predicted next frame, uint8 [B, H, W, 3]."""
        return self.frame_of(self(frames_BKHWC, latents_BD), frames_BKHWC)

    def frame_of(self, outputs: Tensor, frames_BKHWC: Tensor) -> Tensor:
        """The same of what ``forward`` answers, uint8 [B, H, W, 3]."""
        levels = (outputs + 0.5) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _planes(self, frames_BKHWC: Tensor) -> Tensor:
        """Frames uint8 [B, K, H, W, 3] as the network's planes, uint8 [B, C, H / patch, W / patch], rounded up."""
        return pixel_planes(frames_BKHWC) if self.patch == 1 else patch_planes(frames_BKHWC)

    def _origin(self, levels_BCHW: Tensor) -> Tensor | float:
        """What the output is added to, in levels: the present frame, which is the last of the planes, or mid-grey."""
        return levels_BCHW[:, -self.pixels :] if self.predicts_change else LEVELS / 2

    def _output(self, levels_BCHW: Tensor, latents_BD: Tensor) -> Tensor:
        """The next frame less its origin, standardised where the target is, with its patches in channels: float32
        [B, 3 * patch**2, H / patch, W / patch]."""
        planes = about_grey(levels_BCHW, network_dtype(levels_BCHW.device, latents_BD.dtype))
        height, width = self.shown
        is_padded = min(height, width) < self.side
        if is_padded:
            planes = functional.pad(planes, (0, self.side - width, 0, self.side - height))
        skips = [self.first(planes, latents_BD)]
        for block in self.down:
            skips.append(block(skips[-1]))
        features = self.bottom(skips[-1])
        for block, skip in zip(self.up, [latents_BD[:, :, None, None], *reversed(skips)], strict=True):
            features = block(torch.cat([features, skip.to(features.dtype)], dim=1))
        revisit, residual, activation, head = self.last
        output = head(activation(residual(revisit(features, planes)))).float()
        if self.units is None:  # a standardised change has no bounds
            output = torch.tanh(output)
        if is_padded:
            output = output[:, :, :height, :width]
        return output if self.predicts_change else output / 2

    def _cropped(self, pixels_BCHW: Tensor) -> Tensor:
        """The pixels of the frame, without those that complete its last patches."""
        return pixels_BCHW[:, :, : self.height, : self.width]


def _out_of_channels(planes_BCHW: Tensor, patch: int) -> Tensor:
    """The pixels of one frame: [B, patch**2 * 3, H / patch, W / patch] to [B, 3, H, W]."""
    patches = planes_BCHW.unflatten(1, (patch, patch, -1))
    return patches.permute(0, 3, 4, 1, 5, 2).flatten(4).flatten(2, 3)


def build_unet(
    *, settings: UnetSettings, spec: EnvironmentSpec, latent_dim: int, num_frames: int = 2
) -> UnetForwardDynamics:
    """The model for the frames of ``spec``."""
    network = UnetForwardDynamics(
        settings=settings, frame_shape=spec.frame_shape, latent_dim=latent_dim, num_frames=num_frames, name=spec.main
    )
    return nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
