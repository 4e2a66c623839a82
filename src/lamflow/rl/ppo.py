"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) of a torch policy, on the one training loop.

The details follow "The 37 implementation details of PPO" (Huang et al. 2022) and the published Procgen recipe (Cobbe et al. 2020):
normalised rewards, advantages normalised a minibatch, clipped values, Adam's epsilon 1e-5. The environments form two groups that take
turns: while one group's simulator threads step, the policy acts for the other.

Legend: T steps a rollout, E environments, G = E / 2 environments of a group, M transitions of a minibatch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.config import PixelExpertSettings, TrainingSettings
from lamflow.envs.levels import LevelStream
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.advantages import RewardNormaliser, generalised_advantages
from lamflow.training.loop import Loss

NUM_GROUPS = 2
ADAM_EPSILON = 1e-5
REPORTED_EPISODES = 100
"""Episodes whose mean raw return is logged."""


@dataclass(frozen=True)
class Minibatch:
    """``frames`` uint8 [M, H, W, 3]; ``actions`` int64 [M]; the others float32 [M], of the policy that acted."""

    frames: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor


def ppo_loss(
    log_probs_MA: Tensor,
    values_M: Tensor,
    batch: Minibatch,
    *,
    clip_range: float,
    value_coefficient: float,
    entropy_coefficient: float,
) -> Loss:
    """PPO's clipped objective, clipped value loss and entropy bonus, for the present policy's answers to ``batch``."""
    taken = log_probs_MA.gather(1, batch.actions[:, None])[:, 0]
    ratio = (taken - batch.log_probs).exp()
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    targets = batch.values + batch.advantages
    near = batch.values + (values_M - batch.values).clamp(-clip_range, clip_range)
    value_loss = 0.5 * torch.maximum((values_M - targets).square(), (near - targets).square()).mean()
    entropy = -(log_probs_MA.exp() * log_probs_MA.clamp_min(-1e9)).sum(1).mean()
    total = policy_loss + value_coefficient * value_loss - entropy_coefficient * entropy
    terms = {"loss/policy": policy_loss, "loss/value": value_loss, "entropy": entropy}
    return Loss(total, {name: term.detach() for name, term in terms.items()})


class _Rollout:
    """Buffers of one rollout [T, E, ...] on the learner's device."""

    def __init__(self, settings: PixelExpertSettings, frame_shape: tuple[int, int, int], device: torch.device) -> None:
        shape = (settings.num_steps, settings.num_envs)
        self.frames = torch.zeros((*shape, *frame_shape), dtype=torch.uint8, device=device)
        self.actions = torch.zeros(shape, dtype=torch.int64, device=device)
        self.log_probs = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.rewards = np.zeros(shape, np.float32)
        self.ends = np.zeros(shape, np.bool_)


class PpoLearner:
    """Gives the training loop its batches: ``batch_at`` plays a rollout, then serves its minibatches, epoch by epoch.

    Its state (saved games, levels drawn, reward statistics) is the loop's ``companion``: with checkpoints between two rollouts an
    interrupted and resumed training equals a straight one.
    """

    def __init__(self, network: PixelActorCritic, settings: PixelExpertSettings, seed: int) -> None:
        self.network = network
        self.settings = settings
        self.device = next(network.parameters()).device
        group = settings.num_envs // NUM_GROUPS
        self._slices = [slice(index * group, (index + 1) * group) for index in range(NUM_GROUPS)]
        self._streams = [
            LevelStream(network.spec.name, "train", seed * NUM_GROUPS + index) for index in range(NUM_GROUPS)
        ]
        threads = max(1, torch.get_num_threads() // 2) if self.device.type == "cuda" else 0
        self._games = [
            ProcgenVectorEnvironment(network.spec, group, stream, num_threads=threads) for stream in self._streams
        ]
        self._present = [
            game.reset(np.array([next(stream) for _ in range(group)], np.int64))
            for game, stream in zip(self._games, self._streams, strict=True)
        ]
        self._normaliser = RewardNormaliser(settings.num_envs, settings.discount)
        self._running_returns = np.zeros(settings.num_envs)
        self._finished: deque[float] = deque(maxlen=REPORTED_EPISODES)
        self._rollout = _Rollout(settings, self._games[0].spec.frame_shape, self.device)
        self._advantages = torch.zeros(0)
        self._order = torch.zeros(0, dtype=torch.int64)

    def training_settings(self) -> TrainingSettings:
        """What the training loop needs to know."""
        settings, each = self.settings, self.steps_each_rollout
        rollouts = max(1, settings.total_steps // (settings.num_envs * settings.num_steps))
        return TrainingSettings(
            steps=rollouts * each,
            batch_size=settings.num_envs * settings.num_steps // settings.minibatches,
            learning_rate=settings.learning_rate,
            warmup_steps=0,
            final_learning_rate_fraction=settings.final_learning_rate_fraction,
            adam_epsilon=ADAM_EPSILON,
            clip_norm=settings.max_grad_norm,
            precision=settings.precision,
            log_every=each,
            validate_every=settings.validate_every * each,
            checkpoint_every=settings.checkpoint_every * each,
        )

    @property
    def steps_each_rollout(self) -> int:
        """Optimiser steps."""
        return self.settings.epochs * self.settings.minibatches

    def batch_at(self, step: int) -> Minibatch:
        """The minibatch of optimiser step ``step``; plays a rollout before the first step of each."""
        settings = self.settings
        within = step % self.steps_each_rollout
        if within == 0:
            self._play()
        minibatch = within % settings.minibatches
        if minibatch == 0:
            self._order = torch.randperm(settings.num_envs * settings.num_steps).to(self.device)
        return self._minibatch(self._order.chunk(settings.minibatches)[minibatch])

    def loss(self, batch: Minibatch) -> Loss:
        """PPO's loss, and as a term the mean raw return of the last episodes."""
        settings = self.settings
        log_probs, values = self.network(batch.frames)
        loss = ppo_loss(
            log_probs,
            values,
            batch,
            clip_range=settings.clip_range,
            value_coefficient=settings.value_coefficient,
            entropy_coefficient=settings.entropy_coefficient,
        )
        recent = float(np.mean(self._finished)) if self._finished else float("nan")
        return Loss(loss.total, {**loss.terms, "return": torch.tensor(recent)})

    def is_complete_at(self, step: int) -> bool:
        """Between two rollouts: what a rollout holds is not saved."""
        return step % self.steps_each_rollout == 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "games": [game.save() for game in self._games],
            "positions": [stream.position for stream in self._streams],
            "normaliser": self._normaliser.state_dict(),
            "running_returns": self._running_returns.copy(),
            "finished": list(self._finished),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._present = [game.restore(saved) for game, saved in zip(self._games, state["games"], strict=True)]
        for stream, position in zip(self._streams, state["positions"], strict=True):
            stream.position = position
        self._normaliser.load_state_dict(state["normaliser"])
        self._running_returns = state["running_returns"].copy()
        self._finished = deque(state["finished"], maxlen=REPORTED_EPISODES)

    def _minibatch(self, rows: Tensor) -> Minibatch:
        """The transitions at ``rows`` int64 [M] of the rollout, counted through its steps."""
        rollout = self._rollout
        return Minibatch(
            frames=rollout.frames.flatten(0, 1)[rows],
            actions=rollout.actions.flatten()[rows],
            log_probs=rollout.log_probs.flatten()[rows],
            values=rollout.values.flatten()[rows],
            advantages=self._advantages[rows],
        )

    @torch.no_grad()
    def _play(self) -> None:
        """Fill the rollout and its advantages."""
        settings, rollout = self.settings, self._rollout
        for step in range(settings.num_steps):
            for index, game in enumerate(self._games):
                if step > 0:
                    self._receive(index, step - 1)
                game.send(self._act(index, step))
        for index in range(NUM_GROUPS):
            self._receive(index, settings.num_steps - 1)
        for rewards, ends in zip(rollout.rewards, rollout.ends, strict=True):
            rewards[:] = self._normaliser(rewards, ends)
        last_values = torch.cat([self.network(self._frames(index))[1] for index in range(NUM_GROUPS)])
        self._advantages = generalised_advantages(
            torch.from_numpy(rollout.rewards).to(self.device),
            rollout.values,
            last_values,
            torch.from_numpy(rollout.ends).to(self.device),
            discount=settings.discount,
            gae_lambda=settings.gae_lambda,
        ).flatten()

    def _frames(self, index: int) -> Tensor:
        return torch.from_numpy(self._present[index].frames).to(self.device)

    def _act(self, index: int, step: int) -> NDArray[np.int64]:
        """Actions of a group in its present observations, recorded."""
        frames, columns = self._frames(index), self._slices[index]
        log_probs, values = self.network(frames)
        actions = torch.multinomial(log_probs.exp(), 1)
        self._rollout.frames[step, columns] = frames
        self._rollout.actions[step, columns] = actions[:, 0]
        self._rollout.log_probs[step, columns] = log_probs.gather(1, actions)[:, 0]
        self._rollout.values[step, columns] = values
        chosen: NDArray[np.int64] = actions[:, 0].cpu().numpy()
        return chosen

    def _receive(self, index: int, step: int) -> None:
        """The outcome of a group's actions of ``step``, recorded."""
        result = self._games[index].receive()
        columns = self._slices[index]
        ends = result.terminated | result.truncated
        self._present[index] = result.observation
        self._rollout.ends[step, columns] = ends
        self._running_returns[columns] += result.rewards
        self._finished.extend(self._running_returns[columns][ends].tolist())
        self._running_returns[columns][ends] = 0
        self._rollout.rewards[step, columns] = result.rewards
