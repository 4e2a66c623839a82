"""Episodes as a policy sees them: contexts of observations, drawn by row, and the features that it makes of them.

Shapes: B batch, K context frames, M rows, F feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import FRAMES, Window, WindowSpec
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork, inference_precision
from lamflow.policies.settings import PolicySettings
from lamflow.training.precision import autocast

HELD_ROWS = 4096
"""Rows whose contexts of a streamed split are in memory at once: 150 MB of single Procgen frames."""


def policy_window(settings: PolicySettings, *targets: str) -> WindowSpec:
    """What a policy sees at a row; ``targets``: columns that its training reads beside that."""
    return WindowSpec(before=settings.context - 1, columns=(FRAMES, "proprioception", "task", *targets))


def policy_inputs(window: Window) -> PolicyInputs:
    """The inputs of a policy in the windows of ``policy_window``."""
    return PolicyInputs(
        frames=window.frames,
        begun=window.inside,
        proprioception=window.columns["proprioception"],
        task=window.at("task"),
    )


@torch.no_grad()
def policy_features(network: PolicyNetwork, data: EpisodeTensors, rows: Tensor) -> Tensor:
    """The features of a policy at ``rows`` int64 [M] of ``data``, on whose device it is: float32 [M, F] on the CPU."""
    precision = inference_precision(network.settings.network, network.parameters())
    spec = policy_window(network.settings)
    with autocast(precision.name, data.device):
        return torch.cat(
            [
                network.features(policy_inputs(window)).float().cpu()
                for held_rows in rows.split(HELD_ROWS)
                for window in data.part(spec, held_rows).windows()
            ]
        )
