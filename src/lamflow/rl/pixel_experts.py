"""Experts over pixels: training, files, and episodes of one expert on given levels.

Legend: B batch, A actions, E episodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.catalogue import EnvironmentSpec, environment_spec
from lamflow.config import PixelExpertSettings
from lamflow.envs.interface import Episode
from lamflow.envs.levels import draw_levels
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.ppo import PpoLearner
from lamflow.training.checkpoint import load_weights, read_model, save_model, seed_everything
from lamflow.training.loop import train
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import autocast, default_device

ROLLOUT_BATCH = 64
"""Episodes that are played together."""
VALIDATION_STREAM = 3_000_017
"""Offset of the seed of the levels on which a training is validated."""


class PixelExpert:
    """Acts by sampling from the policy of ``network``, or at random with probability ``epsilon``; deterministic in its seed."""

    def __init__(self, network: PixelActorCritic, *, epsilon: float, seed: int) -> None:
        self.network = network.eval()
        self.epsilon = epsilon
        self._device = next(network.parameters()).device
        self._generator = torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def act(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Actions int64 [B] in frames uint8 [B, H, W, 3]."""
        batch, num_actions = len(frames), self.network.spec.num_actions
        if self.epsilon < 1:
            with autocast("auto", self._device):
                log_probs, _ = self.network(torch.from_numpy(frames).to(self._device))
            actions = torch.multinomial(log_probs.exp().cpu(), 1, generator=self._generator)[:, 0]
        else:
            actions = torch.zeros(batch, dtype=torch.int64)
        if self.epsilon > 0:
            random = torch.randint(num_actions, (batch,), generator=self._generator)
            actions = torch.where(torch.rand(batch, generator=self._generator) < self.epsilon, random, actions)
        return actions.numpy()


def play_episodes(
    expert: PixelExpert, level_ids: NDArray[np.int64], *, num_threads: int = 0, batch: int = ROLLOUT_BATCH
) -> Iterator[Episode]:
    """One episode a level, in the order in which they end. Slots never wait: one that is done takes the next level."""
    spec = expert.network.spec
    count = min(batch, len(level_ids))
    environment = ProcgenVectorEnvironment(spec, count, iter(level_ids[count:].tolist()), num_threads=num_threads)
    levels = level_ids[:count].copy()
    observation = environment.reset(levels)
    # A slot's level stays in place when the stream has run dry, so the number of episodes still to come says when to stop.
    waiting = len(level_ids) - count
    running = np.ones(count, np.bool_)
    frames: list[list[NDArray[np.uint8]]] = [[] for _ in range(count)]
    actions: list[list[int]] = [[] for _ in range(count)]
    rewards: list[list[float]] = [[] for _ in range(count)]
    while running.any():
        chosen = expert.act(observation.frames)
        environment.send(chosen)
        for slot in np.flatnonzero(running):
            frames[slot].append(observation.frames[slot])
            actions[slot].append(int(chosen[slot]))
        result = environment.receive()
        for slot in np.flatnonzero(running):
            rewards[slot].append(float(result.rewards[slot]))
        ended = result.terminated | result.truncated
        for slot in np.flatnonzero(ended & running):
            yield _episode(frames[slot], actions[slot], rewards[slot], result.terminated[slot], int(levels[slot]))
            frames[slot], actions[slot], rewards[slot] = [], [], []
            if waiting > 0:
                waiting -= 1
                levels[slot] = result.level_ids[slot]
            else:
                running[slot] = False
        observation = result.observation
    environment.close()


def _episode(
    frames: list[NDArray[np.uint8]], actions: list[int], rewards: list[float], terminated: bool, level: int
) -> Episode:
    nothing = np.zeros((len(frames), 0), np.uint8)
    return Episode(
        frames=np.stack(frames),
        proprioception=nothing,
        task=nothing,
        actions=np.array(actions, np.int64),
        rewards=np.array(rewards, np.float32),
        terminated=bool(terminated),
        truncated=not terminated,
        level_id=level,
    )


def train_pixel_expert(
    *,
    env: str,
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
        spec=environment_spec(env),
        mask_duplicate_actions=settings.mask_duplicate_actions,
    )
    network = network.to(default_device(), memory_format=torch.channels_last)
    learner = PpoLearner(network, settings, seed)
    levels = draw_levels(env, "validation", settings.validation_episodes, seed + VALIDATION_STREAM)

    def validate() -> dict[str, float]:
        returns = [episode.total_reward for episode in play_episodes(PixelExpert(network, epsilon=0, seed=0), levels)]
        return {"return": float(np.mean(returns))}

    train(
        module=network,
        loss_at=learner.loss_at,
        settings=learner.training_settings(),
        metrics=metrics,
        validate=validate,
        state_dir=state_dir,
        identity=identity,
        title=f"PPO expert of {env}",
        companion=learner,
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


def load_pixel_expert(path: Path, spec: EnvironmentSpec) -> PixelActorCritic:
    """The network of an expert file; ValueError when it is missing, damaged or of another environment or network."""
    tensors, metadata = read_model(path)
    found = {key: metadata.get(key) for key in ("kind", "env")}
    if found != {"kind": "expert", "env": spec.name}:
        raise ValueError(f"{path}: found {found}, expected the expert of {spec.name}; run train_expert again")
    settings = _settings_of(metadata)
    network = PixelActorCritic(
        settings=settings.network, spec=spec, mask_duplicate_actions=settings.mask_duplicate_actions
    )
    load_weights(network, {name: tensor.float() for name, tensor in tensors.items()}, path)
    return network.to(default_device(), memory_format=torch.channels_last).eval()


def _settings_of(metadata: Mapping[str, Any]) -> PixelExpertSettings:
    return PixelExpertSettings.model_validate(metadata["settings"])
