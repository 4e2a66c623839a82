"""Experts over pixels: training, files, and episodes of one expert on given levels.

Legend: B batch, A actions, E episodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lamflow.envs.levels import draw_levels
from lamflow.envs.spec import EnvironmentSpec
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.pixel_rollouts import play_episodes
from lamflow.rl.ppo import PpoLearner
from lamflow.training.checkpoint import load_weights, read_model, save_model, seed_everything
from lamflow.training.loop import Watched
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import autocast, default_device, precision_of

VALIDATION_STREAM = 3_000_017
"""Offset of the seed of the levels on which a training is validated."""


class PixelExpert:
    """Acts by sampling from the policy of ``network``, or at random with probability ``epsilon``; deterministic in its seed.

    The network computes in the precision that ``auto`` takes on its device.
    """

    def __init__(self, network: PixelActorCritic, *, epsilon: float, seed: int) -> None:
        self.network = network.eval()
        self.spec = network.spec
        self.epsilon = epsilon
        self._device = next(network.parameters()).device
        self.precision = precision_of("auto", network.parameters())
        self._generator = torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Actions int64 [B] in frames uint8 [B, H, W, 3]."""
        batch, space = len(frames), self.network.space
        if self.epsilon < 1:
            with autocast(self.precision.name, self._device):
                distributions, _ = self.network(torch.from_numpy(frames).to(self._device))
            actions = space.sample(distributions.cpu(), self._generator)
        else:
            actions = torch.zeros(batch, dtype=torch.int64)
        if self.epsilon > 0:
            random = space.random(batch, self._generator)
            actions = torch.where(torch.rand(batch, generator=self._generator) < self.epsilon, random, actions)
        return actions.numpy()


def train_pixel_expert(
    *,
    spec: EnvironmentSpec,
    settings: PixelExpertSettings,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
) -> PixelActorCritic:
    """Train PPO on train levels; "return" of the validation rows is the mean raw return on validation levels."""
    seed_everything(seed)
    network = PixelActorCritic(
        settings=settings.network,
        spec=spec,
        mask_duplicate_actions=settings.mask_duplicate_actions,
    )
    network = _placed(network)
    learner = PpoLearner(network, settings, seed)
    levels = draw_levels(spec, "validation", settings.validation_episodes, seed + VALIDATION_STREAM)

    def validate() -> dict[str, float]:
        returns = [episode.total_reward for episode in play_episodes(PixelExpert(network, epsilon=0, seed=0), levels)]
        return {"return": float(np.mean(returns))}

    learner.train(
        validate_every=settings.validate_every,
        metrics=metrics,
        validate=validate,
        watched=Watched("return", "highest"),
        state_dir=state_dir,
        identity=identity,
        title=f"PPO expert of {spec.name}",
    )
    return network


def save_pixel_expert(path: Path, network: PixelActorCritic, settings: PixelExpertSettings, seed: int) -> None:
    """Write the weights in bfloat16 and what they are; the same arguments give the same bytes."""
    weights: dict[str, Tensor] = {name: tensor.bfloat16() for name, tensor in network.state_dict().items()}
    save_model(
        path,
        weights,
        {
            "kind": "expert",
            "env": network.spec.name,
            "seed": seed,
            "settings": settings.model_dump(mode="json"),
        },
    )


def read_pixel_expert(path: Path, spec: EnvironmentSpec) -> tuple[PixelActorCritic, dict[str, Any]]:
    """The network of an expert file, float32 on the CPU, and the file's header; ValueError when it is missing, damaged or of another
    environment or network."""
    tensors, metadata = read_model(path)
    found = {key: metadata.get(key) for key in ("kind", "env")}
    if found != {"kind": "expert", "env": spec.name}:
        raise ValueError(f"{path}: found {found}, expected the expert of {spec.name}; run train_expert again")
    settings = PixelExpertSettings.model_validate(metadata["settings"])
    network = PixelActorCritic(
        settings=settings.network, spec=spec, mask_duplicate_actions=settings.mask_duplicate_actions
    )
    load_weights(network, {name: tensor.float() for name, tensor in tensors.items()}, path)
    return network.eval(), metadata


def load_pixel_expert(path: Path, spec: EnvironmentSpec) -> PixelActorCritic:
    """The network of an expert file, ready to act on the GPU where there is one; ValueError as ``read_pixel_expert``."""
    return _placed(read_pixel_expert(path, spec)[0])


def _placed(network: PixelActorCritic) -> PixelActorCritic:
    """On the GPU where there is one, with its weights as convolutions over channels_last frames want them."""
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network.to(default_device())
