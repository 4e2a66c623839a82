"""The supervised inverse dynamics model of the VPT baseline (Baker et al. 2022): true actions from windows, a few labels.

Shapes: B batch, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.catalogue import EnvironmentSpec
from lamflow.config import NetworkSettings, Symmetry, TrainingSettings
from lamflow.data.windows import TransitionStream
from lamflow.models.grids import GridEncoder
from lamflow.models.symmetry import face_up
from lamflow.policies.dataset import EpisodeTensors
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog

INFERENCE_BATCH = 2048


class ActionLabeller(nn.Module):
    """The IDM of a LAM with the action in place of the latent: same network, same inputs."""

    def __init__(self, *, settings: NetworkSettings, symmetry: Symmetry, spec: EnvironmentSpec) -> None:
        super().__init__()
        self.symmetry = symmetry
        self.encoder = GridEncoder(
            settings=settings,
            num_frames=3,
            frame_shape=spec.frame_shape,
            category_sizes=spec.category_sizes,
            output_dim=spec.num_actions,
        )

    def forward(self, windows_B3HW2: Tensor) -> Tensor:
        """Windows uint8 [B, 3, H, W, 2] to action logits [B, A]."""
        windows = face_up(windows_B3HW2, present=1) if self.symmetry == "rotation" else windows_B3HW2
        return self.encoder(windows)

    @torch.no_grad()
    def pseudo_labels(self, data: EpisodeTensors, rows: Tensor) -> Tensor:
        """The most likely action of each row, int64 [M]."""
        return torch.cat([self(data.windows(part)).argmax(-1) for part in rows.split(INFERENCE_BATCH)])


def fit_action_labeller(
    *,
    settings: NetworkSettings,
    symmetry: Symmetry,
    training: TrainingSettings,
    spec: EnvironmentSpec,
    data: EpisodeTensors,
    rows: Tensor,
    seed: int,
) -> ActionLabeller:
    """Train on the labelled ``rows`` int64 [N]."""
    seed_everything(seed)
    network = ActionLabeller(settings=settings, symmetry=symmetry, spec=spec)
    stream = TransitionStream(rows, training.batch_size, seed)

    def loss_at(step: int) -> Loss:
        batch = stream.batch(step)
        return Loss(functional.cross_entropy(network(data.windows(batch)).float(), data.actions[batch]))

    train(module=network, loss_at=loss_at, settings=training, metrics=MetricsLog(), title="")
    return network
