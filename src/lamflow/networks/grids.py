"""Networks over grids of categories (XLand-MiniGrid).

Shapes: B batch, K frames, H rows, W columns, E embedding width, C channels, D vector width, N members of an ensemble.
A frame is uint8 [H, W, 2]: tile id and colour id, both categories.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.networks.grid_settings import GridTrunkSettings


class CategoryEmbedding(nn.Module):
    """Embeds vectors or grids of categories: one table a column, the results concatenated along the last axis."""

    offsets: Tensor

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.sizes = sizes
        offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)
        self.table = nn.Embedding(sum(sizes), dim)
        self.output_dim = len(sizes) * dim

    def forward(self, categories: Tensor) -> Tensor:
        """Integer [..., len(sizes)] to float [..., len(sizes) * dim]."""
        indices = categories.long() + self.offsets
        return self.table(indices).flatten(-2)


def one_hot_grid(frames_BHW2: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Both channels of a frame as one-hot planes: uint8 [B, H, W, 2] to float32 [B, H, W, sum(sizes)]."""
    tile = functional.one_hot(frames_BHW2[..., 0].long(), sizes[0])
    color = functional.one_hot(frames_BHW2[..., 1].long(), sizes[1])
    return torch.cat([tile, color], dim=-1).float()


class GridTrunk(nn.Module):
    """Embeds K frames and applies ``layers`` 3x3 convolutions with residual connections; translation-equivariant but for borders."""

    def __init__(
        self, *, settings: GridTrunkSettings, num_frames: int, category_sizes: tuple[int, int], extra_planes: int = 0
    ):
        super().__init__()
        self.embedding = CategoryEmbedding(category_sizes * num_frames, settings.embedding_dim)
        channels = self.embedding.output_dim + extra_planes
        widths = [channels] + [settings.width] * settings.layers
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))

    def forward(
        self, frames_BKHW2: Tensor, planes_BHWP: Tensor | None = None, shift_BC: Tensor | None = None
    ) -> Tensor:
        """Frames uint8 [B, K, H, W, 2], optional planes float [B, H, W, P]; to features [B, C, H, W].

        ``shift_BC`` [B, layers * C] is added before each layer's activation: a latent tiled over the grid enters a convolution
        in just this way, but for the zero padding at the border.
        """
        frames_BHWK2 = frames_BKHW2.movedim(1, 3).flatten(3)
        features = self.embedding(frames_BHWK2)
        if planes_BHWP is not None:
            features = torch.cat([features, planes_BHWP], dim=-1)
        features = features.permute(0, 3, 1, 2)
        shifts = (
            shift_BC.chunk(len(self.convolutions), dim=-1) if shift_BC is not None else [None] * len(self.convolutions)
        )
        for index, (convolution, shift) in enumerate(zip(self.convolutions, shifts, strict=True)):
            update = convolution(features)
            if shift is not None:
                update = update + shift[:, :, None, None]
            update = functional.relu(update)
            features = update if index == 0 else features + update
        return features
