"""The supervised inverse dynamics model of the VPT baseline (Baker et al. 2022): true actions from windows, a few labels.

Shapes: B batch, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamflow.data.held_windows import HeldWindows
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION
from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.encoders import build_encoder
from lamflow.networks.settings import EncoderSettings, Symmetry
from lamflow.networks.symmetry import face_up
from lamflow.networks.vectors import standardise_inputs
from lamflow.policies.actions import actions_of
from lamflow.policies.network import inference_precision
from lamflow.policies.settings import BoxLoss
from lamflow.training.checkpoint import seed_everything
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import autocast, default_device
from lamflow.training.settings import TrainingSettings


class ActionLabeller(nn.Module):
    """The IDM of a LAM with the action in place of the latent: same network, same inputs."""

    def __init__(
        self, *, settings: EncoderSettings, symmetry: Symmetry, spec: EnvironmentSpec, box_loss: BoxLoss = "squared"
    ) -> None:
        super().__init__()
        self.settings = settings
        self.symmetry = symmetry
        self.space = actions_of(spec).learnt_by(box_loss)
        self.encoder = build_encoder(settings, num_frames=3, spec=spec, output_dim=self.space.num_outputs)

    def forward(self, windows_B3HWC: Tensor) -> Tensor:
        """Windows [B, 3, *frame_shape] to what is learnt of actions [B, O], such as logits."""
        windows = face_up(windows_B3HWC, present=1) if self.symmetry == "rotation" else windows_B3HWC
        outputs: Tensor = self.encoder(windows)
        return outputs

    def pseudo_labels(self, data: EpisodeTensors, rows: Tensor) -> Tensor:
        """The most likely action of each of the ascending ``rows``, [M, ...]; windows are gathered a batch at a time."""
        return torch.cat([self.most_likely(section) for section in data.sections(TRANSITION, rows)])

    @torch.no_grad()
    def most_likely(self, held: HeldWindows) -> Tensor:
        """The most likely action in each of the windows, which are of ``TRANSITION``, [M, ...]."""
        with autocast(inference_precision(self.settings, self.parameters()).name, held.rows.device):
            return torch.cat([self.space.labels(self(window.frames)) for window in held.windows()])


def fit_action_labeller(
    *,
    settings: EncoderSettings,
    symmetry: Symmetry,
    training: TrainingSettings,
    spec: EnvironmentSpec,
    data: EpisodeTensors,
    rows: Tensor,
    seed: int,
    box_loss: BoxLoss = "squared",
) -> ActionLabeller:
    """Train on the labelled ``rows`` int64 [N] of ``data``, on the default device."""
    seed_everything(seed)
    network = ActionLabeller(settings=settings, symmetry=symmetry, spec=spec, box_loss=box_loss)
    standardise_inputs(network, data.moments())
    network = network.to(default_device())

    def loss(batch: tuple[Tensor, Tensor]) -> Loss:
        windows, actions = batch
        return Loss(network.space.loss(network(windows), actions))

    with data.stream(TRANSITION.with_columns("actions"), rows, training.batch_size, seed) as stream:

        def batch_at(step: int) -> tuple[Tensor, Tensor]:
            window = stream.window(step)
            return window.frames, window.at("actions")

        train(module=network, batch_at=batch_at, loss=loss, settings=training, metrics=MetricsLog(), title="")
    return network
