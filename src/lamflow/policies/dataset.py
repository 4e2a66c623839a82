"""Episodes as a policy sees them: contexts of observations, drawn by row, and the features that it makes of them.

Shapes: B batch, K context frames, M rows, F feature width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lamflow.data.store import array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import FRAMES, Window, WindowSpec
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork, inference_precision
from lamflow.policies.settings import PolicySettings
from lamflow.training.precision import autocast

HELD_ROWS = 4096
"""Rows whose contexts of a streamed split are in memory at once: 150 MB of single Procgen frames."""


def policy_window(settings: PolicySettings, spec: EnvironmentSpec, *targets: str) -> WindowSpec:
    """What a policy sees at a row; ``targets``: columns that its training reads beside that."""
    beside = (array_of(name) for name in spec.observation if name != spec.main)
    return WindowSpec(before=settings.context - 1, columns=(FRAMES, *beside, *targets))


def policy_inputs(window: Window, spec: EnvironmentSpec) -> PolicyInputs:
    """The inputs of a policy in the windows of ``policy_window``."""
    parts = {name: window.columns[FRAMES if name == spec.main else array_of(name)] for name in spec.observation}
    return PolicyInputs(parts, window.inside)


@torch.no_grad()
def policy_features(network: PolicyNetwork, data: EpisodeTensors, rows: Tensor) -> Tensor:
    """The features of a policy at ``rows`` int64 [M] of ``data``, on whose device it is: float32 [M, F] on the CPU."""
    precision = inference_precision(network.settings.network, network.parameters())
    spec = policy_window(network.settings, network.spec)
    with autocast(precision.name, data.device):
        return torch.cat(
            [
                network.features(policy_inputs(window, network.spec)).float().cpu()
                for held_rows in rows.split(HELD_ROWS)
                for window in data.part(spec, held_rows).windows()
            ]
        )
