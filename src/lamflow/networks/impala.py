"""The IMPALA network over stacked RGB frames (Espeholt et al. 2018, arXiv 1802.01561), with LAPO's full-size stem or a patch stem.

Shapes: B batch, K frames, H rows, W columns, C channels, D vector width. Frames are uint8 [B, K, H, W, 3]; inside, tensors
are [B, C, H, W] in channels_last memory.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.pixels import PatchStem, PixelConv2d, about_grey, network_dtype, pixel_planes, row_planes


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3, with ``inner`` channels in between."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, channels, 3, padding=1)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Same shape as the input."""
        hidden = functional.relu(self.first(functional.relu(features_BCHW)), inplace=True)
        return features_BCHW + self.second(hidden)


def _downsampling(settings: ImpalaSettings, index: int, inputs: int, outputs: int) -> list[nn.Module]:
    """What comes before a sequence's residual blocks: a 3x3 convolution and a max-pool to half the side, or the patch stem."""
    if index == 0 and settings.stem == "patch":
        return [PatchStem(inputs, outputs)]
    convolution = PixelConv2d if index == 0 else nn.Conv2d
    return [convolution(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]


class ImpalaEncoder(nn.Module):
    """K frames to one vector [B, hidden_width], after the ReLU of the hidden layer."""

    def __init__(
        self, *, settings: ImpalaSettings, num_frames: int, frame_shape: tuple[int, ...], extra_dim: int = 0
    ) -> None:
        super().__init__()
        self.patches = settings.stem == "patch"
        height, width, colors = frame_shape
        layers: list[nn.Module] = []
        channels = colors * num_frames
        for index, base in enumerate(settings.channels):
            outputs = base * settings.scale
            layers += _downsampling(settings, index, channels, outputs)
            layers += [ResidualBlock(outputs, outputs) for _ in range(settings.blocks)]
            side = 4 if index == 0 and settings.stem == "patch" else 2
            height, width, channels = -(-height // side), -(-width // side), outputs
        self.trunk = nn.Sequential(*layers)
        self.trunk_shape = (channels, height, width)
        self.hidden = nn.Linear(channels * height * width + extra_dim, settings.hidden_width)

    def forward(self, frames_BKHWC: Tensor) -> Tensor:
        """Frames uint8 [B, K, H, W, 3] to features float [B, hidden_width]."""
        return self.dense(self.convolved(frames_BKHWC), self.hidden)

    def convolved(self, frames_BKHWC: Tensor) -> Tensor:
        """What the hidden layer gets: the trunk's activations as they lie in memory, rows, columns, channels: [B, H * W * C]."""
        dtype = network_dtype(frames_BKHWC.device, self.hidden.weight.dtype)
        planes = row_planes(frames_BKHWC) if self.patches else pixel_planes(frames_BKHWC)
        features_BCHW = functional.relu(self.trunk(about_grey(planes, dtype)), inplace=True)
        return features_BCHW.permute(0, 2, 3, 1).flatten(1)

    def dense(self, convolved_BD: Tensor, layer: nn.Linear) -> Tensor:
        """The activations [B, hidden_width] of a hidden layer: ``self.hidden``, or another one of its shape.

        Its weights are those of features in the order C, H, W; they are turned, so that neither the features nor their gradient
        are copied. Those of extra inputs stand behind them.
        """
        weights = layer.weight.to(convolved_BD.dtype)
        size = prod(self.trunk_shape)
        turned = weights[:, :size].unflatten(1, self.trunk_shape).permute(0, 2, 3, 1).flatten(1)
        if weights.shape[1] > size:
            turned = torch.cat([turned, weights[:, size:]], dim=1)
        return functional.relu(functional.linear(convolved_BD, turned, layer.bias), inplace=True)
