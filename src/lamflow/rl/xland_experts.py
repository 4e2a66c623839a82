"""Experts of XLand environments: trained in torch, played in JAX, where whole episodes are one compiled program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland_views import egocentric_twin
from lamflow.rl.actor_critic import GridActorCritic
from lamflow.rl.demonstrator_settings import ExpertSettings
from lamflow.rl.experience import reached
from lamflow.rl.ppo import PpoLearner
from lamflow.training.checkpoint import seed_everything
from lamflow.training.metrics import MetricsLog

PATIENCE = 10
"""Rollouts in a row that must reach the target return before training stops."""


def train_xland_expert(
    *,
    spec: EnvironmentSpec,
    settings: ExpertSettings,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
) -> GridActorCritic:
    """Train PPO on the egocentric view of train levels, until ``target_return`` is reached or the steps are used up."""
    seed_everything(seed)
    network = GridActorCritic(spec=egocentric_twin(spec), hidden_width=settings.hidden_width)
    learner = PpoLearner(network, settings, seed)
    learner.train(
        metrics=metrics,
        state_dir=state_dir,
        identity=identity,
        title=f"PPO expert of {spec.name}",
        finished=lambda: reached(learner.curve, settings.target_return, PATIENCE),
    )
    return network


def expert_params(network: GridActorCritic) -> dict[str, NDArray[np.float32]]:
    """The weights as ``xland_actor_critic`` takes them: linear maps are [inputs, outputs]."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    return {name: np.ascontiguousarray(value.T) if value.ndim == 2 else value for name, value in tensors.items()}
