"""Episodes as a policy sees them: contexts of observations, drawn by row, and the features that it makes of them.

Shapes: B batch, K context frames, M rows, F feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.data.row_memory import take_rows
from lamflow.data.tensors import EpisodeTensors, inference_batches
from lamflow.data.windows import context_rows
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork, inference_precision
from lamflow.policies.settings import PolicySettings
from lamflow.training.precision import autocast

HELD_ROWS = 4096
"""Rows whose contexts of a streamed split are in memory at once: 150 MB of single Procgen frames."""


def policy_inputs(data: EpisodeTensors, rows: Tensor, settings: PolicySettings) -> PolicyInputs:
    """The inputs of a policy at ``rows`` int64 [B] of ``data``, on its device."""
    rows = rows.to(data.device)
    back = torch.arange(settings.context - 1, -1, -1, device=data.device)
    return PolicyInputs(
        frames=data.contexts(rows, settings.context),
        begun=rows[:, None] - back >= data.starts[rows][:, None],
        proprioception=take_rows(data.proprioception, context_rows(rows, data.starts, settings.context)),
        task=data.task[rows],
    )


@torch.no_grad()
def policy_features(network: PolicyNetwork, data: EpisodeTensors, rows: Tensor) -> Tensor:
    """The features of a policy at ``rows`` int64 [M] of ``data``, on whose device it is: float32 [M, F] on the CPU."""
    features = []
    precision = inference_precision(network.settings.network, network.parameters())
    with autocast(precision.name, data.device):
        for held_rows in rows.to(data.device).split(HELD_ROWS):
            held = data.part(held_rows)
            features += [
                network.features(policy_inputs(held, part, network.settings)).float().cpu()
                for part in inference_batches(held_rows)
            ]
    return torch.cat(features)
