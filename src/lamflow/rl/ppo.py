"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), for all that learns from rewards, on the one training loop.

The details follow "The 37 implementation details of PPO" (Huang et al. 2022) and the published Procgen recipe (Cobbe et al. 2020):
normalised rewards, advantages normalised a minibatch, clipped values, Adam's epsilon 1e-5. The environments form two groups that take
turns: while one group's simulators step, the policy acts for the other.

Legend: T steps of a rollout, E environments, G = E / 2 environments of a group, M transitions of a minibatch, A actions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamflow.envs.families import DEFAULT_NUM_RULESETS
from lamflow.envs.interface import StepResult
from lamflow.envs.levels import LevelStream
from lamflow.play.turns import take_turns
from lamflow.rl.actor_critic import ActorCritic
from lamflow.rl.advantages import RewardNormaliser, generalised_advantages
from lamflow.rl.experience import CurvePoint, EpisodesBegun, Experience, Rollout
from lamflow.rl.groups import Group, GroupTable, RolloutTable
from lamflow.rl.ppo_loss import Minibatch, ppo_loss
from lamflow.rl.ppo_settings import PpoSettings
from lamflow.training.loop import Loss, Resumable, train
from lamflow.training.precision import autocast, precision_of
from lamflow.training.settings import TrainingSettings

NUM_GROUPS = 2
ADAM_EPSILON = 1e-5
REPORTED_EPISODES = 100
"""Episodes whose mean raw return is logged."""


class PpoLearner:
    """Gives the training loop its batches: ``batch_at`` plays a rollout, then serves its minibatches, epoch by epoch.

    Episodes are of the environment's train levels, ``all_levels``: of all of Procgen's. An episode that the step limit cuts is
    bootstrapped with the value of its last observation where the simulator shows it (XLand). ``listen`` is told of each
    rollout's experience before the minibatches are served.

    Its state (saved games, levels drawn, reward statistics, the precision in which it plays) is the loop's ``companion``: with
    checkpoints between two rollouts an interrupted and resumed training equals a straight one.
    """

    def __init__(
        self,
        network: ActorCritic,
        settings: PpoSettings,
        seed: int,
        *,
        num_rulesets: int = DEFAULT_NUM_RULESETS,
        all_levels: bool = False,
        listen: Callable[[Experience], None] | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.device = next(network.parameters()).device
        self._precision = precision_of(settings.precision, network.parameters())
        self._seed = seed
        self.curve: list[CurvePoint] = []
        group, spec = settings.num_envs // NUM_GROUPS, network.spec
        streams = [
            LevelStream(spec, "train", seed * NUM_GROUPS + index, all_levels=all_levels, num_rulesets=num_rulesets)
            for index in range(NUM_GROUPS)
        ]
        threads = max(1, torch.get_num_threads() // 2) if self.device.type == "cuda" else 0
        self._groups = [
            Group(
                network,
                slice(index * group, (index + 1) * group),
                stream,
                self.device,
                num_rulesets=num_rulesets,
                num_threads=threads,
            )
            for index, stream in enumerate(streams)
        ]
        self._normaliser = RewardNormaliser(settings.num_envs, settings.discount)
        self._running_returns = np.zeros(settings.num_envs)
        self._finished: deque[float] = deque(maxlen=REPORTED_EPISODES)
        self._ended_now: list[float] = []
        # By environment the rollout in which its present episode began; by that rollout what has ended of it, the last entry of none.
        self._began_in = np.zeros(settings.num_envs, np.int64)
        self._num_ended = np.zeros(settings.num_rollouts + 1, np.int64)
        self._return_sums = np.zeros(settings.num_rollouts + 1)
        self._rollout = Rollout(settings, self.device, network.space, spec.frame_shape if listen else None)
        self._advantages = torch.zeros(0)
        self._recent_return = torch.zeros(())
        self._order = torch.zeros(0, dtype=torch.int64)
        self._listen = listen

    def train(
        self,
        *,
        validate_every: int = 1,
        companion: Resumable | None = None,
        finish_episodes: bool = False,
        **options: Any,
    ) -> None:
        """Train the network to the end, and end the simulators. ``validate_every``: rollouts; ``companion``: what is checkpointed in the
        place of the learner, which must be part of it; ``finish_episodes``: for ``episodes_begun``, which needs their ends; ``options``:
        the other arguments of ``training.loop.train``."""
        train(
            module=self.network,
            batch_at=self.batch_at,
            loss=self.loss,
            settings=self.training_settings(validate_every=validate_every),
            companion=companion or self,
            **options,
        )
        if finish_episodes:
            self._finish_episodes()
        self.close()

    def training_settings(self, *, validate_every: int = 1) -> TrainingSettings:
        """What the training loop needs to know; ``validate_every``: rollouts."""
        settings, each = self.settings, self.steps_each_rollout
        return TrainingSettings(
            steps=settings.num_rollouts * each,
            batch_size=settings.steps_a_rollout // settings.minibatches,
            learning_rate=settings.learning_rate,
            warmup_steps=0,
            initial_learning_rate_fraction=1.0,
            final_learning_rate_fraction=settings.final_learning_rate_fraction,
            adam_epsilon=ADAM_EPSILON,
            weight_decay=0.0,
            clip_norm=settings.max_grad_norm,
            precision=settings.precision,
            log_every=each,
            validate_every=validate_every * each,
            checkpoint_every=settings.checkpoint_every * each,
        )

    @property
    def steps_each_rollout(self) -> int:
        """Optimiser steps."""
        return self.settings.epochs * self.settings.minibatches

    def env_steps_at(self, step: int) -> int:
        """Environment steps that were made when optimiser step ``step`` begins, those of its own rollout left out."""
        return step // self.steps_each_rollout * self.settings.steps_a_rollout

    def episodes_begun(self) -> list[EpisodesBegun]:
        """The learning curve, a point a rollout. Episodes that have not ended yet are left out, so it takes a training that has
        finished them."""
        points = []
        for index in range(len(self.curve)):
            count = int(self._num_ended[index])
            mean = float(self._return_sums[index]) / count if count else float("nan")
            points.append(EpisodesBegun(index * self.settings.steps_a_rollout, count, mean))
        return points

    def batch_at(self, step: int) -> Minibatch:
        """The minibatch of optimiser step ``step``; plays a rollout before the first step of each."""
        settings = self.settings
        within = step % self.steps_each_rollout
        if within == 0:
            self.play_rollout()
        minibatch = within % settings.minibatches
        if minibatch == 0:
            self._order = torch.randperm(settings.steps_a_rollout).to(self.device)
        return self._minibatch(self._order.chunk(settings.minibatches)[minibatch])

    def loss(self, batch: Minibatch) -> Loss:
        """PPO's loss, and as a term the mean raw return of the last episodes."""
        settings = self.settings
        distributions, values = self.network.evaluate(batch.encoded)
        loss = ppo_loss(
            self.network.space,
            distributions,
            values,
            batch,
            clip_range=settings.clip_range,
            value_coefficient=settings.value_coefficient,
            entropy_coefficient=settings.entropy_coefficient,
            clip_values=settings.clip_values,
            advantage_epsilon=settings.advantage_epsilon,
        )
        return Loss(loss.total, {**loss.terms, "return": batch.recent_return})

    def is_complete_at(self, step: int) -> bool:
        """Between two rollouts: what a rollout holds is not saved."""
        return step % self.steps_each_rollout == 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "precision": self._precision.name,
            "groups": [group.state_dict() for group in self._groups],
            "normaliser": self._normaliser.state_dict(),
            "running_returns": self._running_returns.copy(),
            "finished": list(self._finished),
            "curve": [tuple(point) for point in self.curve],
            "began_in": self._began_in.copy(),
            "num_ended": self._num_ended.copy(),
            "return_sums": self._return_sums.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._precision = self._precision.resumed(state["precision"])
        for group, saved in zip(self._groups, state["groups"], strict=True):
            group.load_state_dict(saved)
        self._normaliser.load_state_dict(state["normaliser"])
        self._running_returns = state["running_returns"].copy()
        self._finished = deque(state["finished"], maxlen=REPORTED_EPISODES)
        self.curve = [CurvePoint(*point) for point in state["curve"]]
        self._began_in = state["began_in"].copy()
        self._num_ended = state["num_ended"].copy()
        self._return_sums = state["return_sums"].copy()

    def close(self) -> None:
        """End the simulators."""
        for group in self._groups:
            group.environment.close()

    def _minibatch(self, rows: Tensor) -> Minibatch:
        """The transitions at ``rows`` int64 [M] of the rollout, counted through its steps."""
        rollout = self._rollout
        return Minibatch(
            encoded=tuple(part.flatten(0, 1)[rows] for part in rollout.encoded),
            samples=rollout.samples.flatten(0, 1)[rows],
            log_probs=rollout.log_probs.flatten()[rows],
            values=rollout.values.flatten()[rows],
            advantages=self._advantages[rows],
            recent_return=self._recent_return,
        )

    @torch.no_grad()
    def play_rollout(self) -> None:
        """Fill the rollout and its advantages."""
        settings, rollout = self.settings, self._rollout
        tables = [
            RolloutTable(group, rollout, partial(self._receive, index)) for index, group in enumerate(self._groups)
        ]
        with autocast(self._precision.name, self.device):
            deque(take_turns(tables), maxlen=0)
            last_values = torch.cat([group.values() for group in self._groups])
        if settings.normalise_rewards:
            for rewards, ends in zip(rollout.rewards, rollout.ends, strict=True):
                rewards[:] = self._normaliser(rewards, ends)
        self._advantages = generalised_advantages(
            torch.from_numpy(rollout.rewards).to(self.device),
            rollout.values,
            last_values,
            torch.from_numpy(rollout.ends).to(self.device),
            discount=settings.discount,
            gae_lambda=settings.gae_lambda,
            cut_values_TE=rollout.cut_values,
        ).flatten()
        recent = float(np.mean(self._finished)) if self._finished else float("nan")
        self._recent_return = torch.tensor(recent, device=self.device)
        self._note_curve()
        if self._listen is not None:
            for group in self._groups:
                rollout.keep_frames(settings.num_steps, group.columns, group.frames)
            self._listen(rollout.experience())

    def _note_curve(self) -> None:
        ended, before = self._ended_now, self.curve[-1].env_steps if self.curve else 0
        mean = float(np.mean(ended)) if ended else float("nan")
        self.curve.append(CurvePoint(before + self.settings.steps_a_rollout, len(ended), mean))
        self._ended_now = []

    def _receive(self, index: int, result: StepResult, step: int) -> None:
        """Count what the actions of ``step`` of a rollout came to."""
        # An episode that ends with a rollout's last step is followed by one of the next rollout.
        ended = self.follow(index, result, len(self.curve) + int(step == self.settings.num_steps - 1))
        self._finished.extend(ended)
        self._ended_now.extend(ended)

    def follow(self, index: int, result: StepResult, rollout: int) -> list[float]:
        """Go on to a group's next observations; the returns of the episodes that ended. Those that follow begin in ``rollout``."""
        group, ends = self._groups[index], result.terminated | result.truncated
        columns = group.columns
        group.see(result)
        self._running_returns[columns] += result.rewards
        ended = self._running_returns[columns][ends]
        self._running_returns[columns][ends] = 0
        np.add.at(self._num_ended, self._began_in[columns][ends], 1)
        np.add.at(self._return_sums, self._began_in[columns][ends], ended)
        self._began_in[columns][ends] = rollout
        returns: list[float] = ended.tolist()
        return returns

    @torch.no_grad()
    def _finish_episodes(self) -> None:
        """Play on with the trained policy, learning nothing, until every episode that began in a rollout has ended."""
        torch.manual_seed(self._seed)  # not to depend on how often the training was interrupted
        done = len(self.curve)
        with autocast(self._precision.name, self.device):
            for index in range(NUM_GROUPS):  # one after the other: each ends at a step of its own
                deque(take_turns([self._finishing_table(index, done)]), maxlen=0)

    def _finishing_table(self, index: int, done: int) -> GroupTable:
        """A group that plays while an episode that began in a rollout before ``done`` goes on."""
        group = self._groups[index]
        return GroupTable(
            group,
            goes_on=lambda: bool((self._began_in[group.columns] < done).any()),
            follow=lambda result: self.follow(index, result, done),
        )
