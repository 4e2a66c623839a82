"""Observations that are vectors of numbers, or of categories, as networks take them.

Shapes: B batch, E entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lamflow.networks.grids import CategoryEmbedding
from lamflow.spaces import Categories, Part, Vector, num_entries

SMALLEST_DEVIATION = 1e-6
"""Entries that do not vary are 0."""
FURTHEST = 10.0
"""Standard deviations from the mean, of an input."""


def change_of(name: str) -> str:
    """By which name the moments of a part's change, from a frame to the next, are known."""
    return f"change of {name}"


class Standardised(nn.Module):
    """The vector ``name`` float32 [..., E], less the mean of the data, in standard deviations of them. Both travel with the weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, part: Vector) -> None:
        super().__init__()
        self.name, self.output_dim = name, num_entries(part)
        self.register_buffer("mean", torch.zeros(part.shape))
        self.register_buffer("deviation", torch.ones(part.shape))

    def forward(self, values: Tensor) -> Tensor:
        """Float32 [..., E]; what is further off than ``FURTHEST`` is cut there."""
        return ((values - self.mean) / self.deviation.clamp_min(SMALLEST_DEVIATION)).clamp(-FURTHEST, FURTHEST)


class StandardisedChange(Standardised):
    """The change of the part ``name`` from a frame to the next; of pixels with a mean and a deviation per colour."""

    def __init__(self, name: str, part: Part) -> None:
        super().__init__(change_of(name), Vector(part.shape[-1:]))

    def standardise(self, changes: Tensor) -> Tensor:
        """Changes [..., E] without a cut, float32: what a network learns, and not what it sees."""
        return (changes.float() - self.mean) / self.scale

    def unstandardise(self, standardised: Tensor) -> Tensor:
        """Changes [..., E] of what ``standardise`` answers."""
        return standardised * self.scale + self.mean

    @property
    def scale(self) -> Tensor:
        """The deviation float32 [E]; above 0."""
        return self.deviation.clamp_min(SMALLEST_DEVIATION)


class VectorContext(nn.Module):
    """K frames of numbers as one vector: the first one, and the change from each frame to the next, all standardised. That tells as much as
    the frames do, and what happens between them, which may be a thousandth of them, is as large as they are."""

    def __init__(self, name: str, part: Vector, num_frames: int) -> None:
        super().__init__()
        self.output_dim = num_frames * num_entries(part)
        self.first = Standardised(name, part)
        self.change = StandardisedChange(name, part) if num_frames > 1 else None

    def forward(self, frames_BKE: Tensor) -> Tensor:
        """Float32 [B, K * E]."""
        frames_BKE = frames_BKE.float()
        values = self.first(frames_BKE[:, :1])
        if self.change is not None:
            values = torch.cat([values, self.change(frames_BKE[:, 1:] - frames_BKE[:, :-1])], dim=1)
        return values.flatten(1)


def vector_input(name: str, part: Part, width: int) -> CategoryEmbedding | Standardised:
    """What makes the part ``name`` a vector [..., ``output_dim``]: categories are embedded, ``width`` per category."""
    if isinstance(part, Categories) and len(part.shape) == 1:
        return CategoryEmbedding(part.sizes, width)
    assert isinstance(part, Vector), f"found the part {name!r} of shape {part.shape}, expected a vector"
    return Standardised(name, part)


def moments_read_by(network: nn.Module) -> set[str]:
    """The names of the parts, and of changes of parts, by whose moments ``network`` standardises what it sees or learns."""
    return {module.name for module in network.modules() if isinstance(module, Standardised)}


def standardise_inputs(network: nn.Module, moments: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Take over the mean and the standard deviation, float32 [E] each, of the parts that are vectors, wherever ``network`` sees them."""
    for module in network.modules():
        if isinstance(module, Standardised):
            mean, deviation = moments[module.name]
            module.mean.copy_(mean)
            module.deviation.copy_(deviation)
