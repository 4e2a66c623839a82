"""What copying the present frame would cost, and how much of the change a prediction gets right: counts over batches of windows.

A prediction is *nearer to the next frame* when it differs less from o_{t+1} than from o_t. That it is so is one of the two signs by which
LAPA's authors tell a trained model (github.com/LatentActionPretraining/LAPA/issues/26). It is counted over the frames that change.

Shapes: B batch, H and W frame sides, D latent width, E entries of a vector.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lamflow.data.windows import FRAMES, Window, frames_differ
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.model import LatentActionModel
from lamflow.spaces import Categories, Pixels, Vector
from lamflow.training.agreement import r_squared


class NearerFrames:
    """Of the frames that change, how many predictions are nearer to the next frame than to the present one."""

    def __init__(self) -> None:
        self.changing = self.nearer = 0

    def add(self, changes_B: Tensor, to_present_B: Tensor, to_next_B: Tensor) -> None:
        """bool [B]: whether o_{t+1} differs from o_t; and the prediction's distances to both, in any one measure."""
        self.changing += int(changes_B.sum())
        self.nearer += int((changes_B & (to_next_B < to_present_B)).sum())

    def share(self) -> float:
        """0 .. 1; ``nan`` where no frame changes."""
        return self.nearer / self.changing if self.changing else float("nan")


class FrameMetrics(Protocol):
    """Counts over batches of windows, of one kind of frame."""

    def add(self, model: LatentActionModel, window: Window, latents_BD: Tensor) -> None:
        """Count a batch of transitions and the model's predictions of them."""
        ...

    def values(self, loss: float) -> dict[str, float]:
        """The metrics by name; ``loss`` is the mean of the model's ``prediction_loss``."""
        ...


def frame_metrics(spec: EnvironmentSpec, tolerance: float = 0) -> FrameMetrics:
    """Those of the environment's kind of frame. ``tolerance``: numbers of equal frames differ by so much at most."""
    part = spec.main_part
    if isinstance(part, Categories):
        return GridFrameMetrics(part.sizes)
    return {Pixels: PixelFrameMetrics, Vector: VectorFrameMetrics}[type(part)](tolerance)


class GridFrameMetrics:
    """Over grids of categories, cell by cell; losses in nats a frame.

    Changed cells are those that differ between o_t and o_{t+1}; a frame counts as right when all its cells are.
    """

    def __init__(self, category_sizes: tuple[int, ...]) -> None:
        self.category_sizes = category_sizes
        self.frames = self.cells = self.frames_right = self.changed = self.changed_right = 0
        self.same = [0] * len(category_sizes)
        self.nearer = NearerFrames()

    def add(self, model: LatentActionModel, window: Window, latents_BD: Tensor) -> None:
        """Count a batch of transitions and the model's predictions of them."""
        self.add_windows(window)
        present, following = window.at(FRAMES), window.at(FRAMES, 1)
        predicted = model.predict(window, latents_BD)
        right = (predicted == following).all(-1)
        unmoved = (predicted == present).all(-1)
        changed = (present != following).any(-1)
        self.nearer.add(changed.flatten(1).any(1), (~unmoved).flatten(1).sum(1), (~right).flatten(1).sum(1))
        self.changed += int(changed.sum())
        self.changed_right += int(right[changed].sum())
        self.frames_right += int(right.flatten(1).all(1).sum())

    def add_windows(self, window: Window) -> None:
        """Count what stays as it is."""
        same = window.at(FRAMES) == window.at(FRAMES, 1)
        self.frames += len(same)
        self.cells += same[..., 0].numel()
        self.same = [count + int(channel.sum()) for count, channel in zip(self.same, same.unbind(-1), strict=True)]

    def values(self, loss: float) -> dict[str, float]:
        """The metrics by name; ``loss`` is the model's, in nats a frame."""
        return {
            "fdm/loss_copy_last_frame": self.copy_last_frame_loss(),
            "fdm/changed_cell_accuracy": self.changed_right / max(1, self.changed),
            "fdm/frame_accuracy": self.frames_right / self.frames,
            "fdm/nearer_next_frame": self.nearer.share(),
        }

    def copy_last_frame_loss(self) -> float:
        """Cross-entropy, nats a frame, of predicting o_t again, with the confidence that is best for each channel.

        A channel of C categories that stays the same with frequency q costs -q ln q - (1 - q) ln((1 - q) / (C - 1)) a cell.
        """
        total = 0.0
        for count, categories in zip(self.same, self.category_sizes, strict=True):
            same = torch.tensor(count / self.cells, dtype=torch.float64)
            other = 1 - same
            total += (torch.special.entr(same) + torch.special.entr(other)).item()
            total += other.item() * torch.tensor(categories - 1.0).log().item()
        return total * self.cells / self.frames


class PixelFrameMetrics:
    """Over pixels; losses are mean squared errors, black and white being 1 apart."""

    unit = 255.0
    """What 1 is in the numbers of frames."""

    def __init__(self, tolerance: float = 0) -> None:
        self.tolerance = tolerance
        self.frames = 0
        self.squared_change = 0.0
        self.nearer = NearerFrames()

    def add(self, model: LatentActionModel, window: Window, latents_BD: Tensor) -> None:
        """Count a batch of transitions and the model's predictions of them."""
        self.add_windows(window)
        self.add_predictions(window, model.predict(window, latents_BD).float())

    def add_predictions(self, window: Window, predicted: Tensor) -> None:
        """Count the most likely next frames, float32 [B, ...]."""
        present, following = window.at(FRAMES), window.at(FRAMES, 1)
        to_present, to_next = ((predicted - frame).square().flatten(1).sum(1) for frame in (present, following))
        changes = frames_differ(present, following, self.tolerance).flatten(1).any(1)
        self.nearer.add(changes, to_present, to_next)

    def add_windows(self, window: Window) -> None:
        """Count what changes."""
        change = (window.at(FRAMES, 1).float() - window.at(FRAMES).float()) / self.unit
        self.frames += len(change)
        self.squared_change += change.square().mean(dim=tuple(range(1, change.dim()))).sum().item()

    def values(self, loss: float) -> dict[str, float]:
        """The metrics by name; ``loss`` is the model's mean squared error."""
        copied = self.squared_change / self.frames
        return {
            "fdm/loss_copy_last_frame": copied,
            "fdm/change_explained": 1 - loss / copied if copied else float("nan"),
            "fdm/nearer_next_frame": self.nearer.share(),
        }


class VectorFrameMetrics(PixelFrameMetrics):
    """Over vectors, likewise in their own units; and the share of the variance of each entry's change that is not predicted, 1 - R²."""

    unit = 1.0

    def __init__(self, tolerance: float = 0) -> None:
        super().__init__(tolerance)
        self.predicted: list[Tensor] = []
        self.changes: list[Tensor] = []

    def add_predictions(self, window: Window, predicted: Tensor) -> None:
        """Keep the changes, too, float64 [B, E]: those of a validation are few."""
        super().add_predictions(window, predicted)
        present = window.at(FRAMES).double()
        self.predicted.append(predicted.double() - present)
        self.changes.append(window.at(FRAMES, 1).double() - present)

    def values(self, loss: float) -> dict[str, float]:
        """Also ``fdm/unexplained_variance``, the mean over the entries that change; ``nan`` where none does."""
        explained_E = r_squared(torch.cat(self.predicted), torch.cat(self.changes))
        return {**super().values(loss), "fdm/unexplained_variance": 1 - explained_E.nanmean().item()}
