"""Online decoding (LAPO's third stage, arXiv 2312.10812): PPO from a latent policy, whose decoder learns from the agent's own actions.

Shapes: T steps of a rollout, E environments, M transitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamflow.data.held_windows import inference_batches
from lamflow.data.windows import Window
from lamflow.lam.model import LatentActionModel
from lamflow.policies.decoders import code_one_hot
from lamflow.policies.mlp_decoder import fit_mlp_decoder
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.rl.experience import EpisodesBegun, Experience
from lamflow.rl.label_buffer import LabelBuffer
from lamflow.rl.online_policies import FinetunedPolicy, OnlinePolicy
from lamflow.rl.online_settings import (
    DelayedRateSettings,
    OnlineDecoderSettings,
    OnlinePpoSettings,
)
from lamflow.rl.ppo import PpoLearner
from lamflow.training.checkpoint import random_states, restore_random_states
from lamflow.training.loop import ParameterGroup
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import PrecisionName, autocast, precision_of
from lamflow.training.settings import TrainingSettings


@dataclass(frozen=True)
class Levels:
    """Where the agent plays; see ``PpoLearner``."""

    num_rulesets: int
    all_levels: bool


def delayed_rate(
    env_steps: int, *, peak: float, starts_at: int, full_at: int, total: int, final_fraction: float
) -> float:
    """0 until ``starts_at``, linear to ``peak`` at ``full_at``, linear to ``final_fraction`` of it at ``total`` environment steps."""
    if env_steps < starts_at:
        return 0.0
    if env_steps < full_at:
        return peak * (env_steps - starts_at) / (full_at - starts_at)
    progress = min(1.0, (env_steps - full_at) / max(1, total - full_at))
    return peak * (1 - progress * (1 - final_fraction))


class DecoderRefits:
    """Labels the agent's transitions by the LAM's IDM, keeps a bounded number of them, and refits the policy's decoder on schedule.

    ``precision`` is that of the labels, in the setting of the LAM's training, and of the refits (``auto``).
    """

    def __init__(
        self,
        policy: FinetunedPolicy,
        lam: LatentActionModel,
        settings: OnlineDecoderSettings,
        *,
        steps_a_rollout: int,
        seed: int,
    ) -> None:
        self.policy, self.lam, self.settings, self.seed = policy, lam.eval(), settings, seed
        self.steps_a_rollout = steps_a_rollout
        self.num_rollouts = 0
        assert policy.decoder is not None
        self.precision = {
            "labels": precision_of(lam.settings.training.precision, lam.parameters()),
            "refits": precision_of("auto", policy.decoder.parameters()),
        }
        width = policy.num_tokens or policy.decoder_inputs
        dtype = torch.int64 if policy.num_tokens else torch.float32
        self.buffer = LabelBuffer(settings.buffer_size, width, kind=settings.buffer, dtype=dtype, seed=seed)

    def __call__(self, experience: Experience) -> None:
        """Take in a rollout, and refit if it is time."""
        self.num_rollouts += 1
        settings, env_steps = self.settings, self.num_rollouts * self.steps_a_rollout
        if env_steps > settings.last_fit:
            return
        self.buffer.add(*self._labelled(experience))
        due = env_steps <= settings.each_until or self.num_rollouts % settings.every == 0
        if env_steps >= settings.first_fit and due and len(self.buffer):
            self.refit()

    def _labelled(self, experience: Experience) -> tuple[Tensor, Tensor]:
        codes, precision = bool(self.policy.num_tokens), self.precision["labels"].name
        return label_experience(self.lam, experience, codes=codes, precision=precision)

    def refit(self) -> None:
        """A decoder from scratch; the training's random states are left as they were."""
        settings, states = self.settings, random_states()
        latents, count = self.buffer.latents, len(self.buffer)
        inputs = code_one_hot(latents, self.policy.num_codes) if self.policy.num_tokens else latents
        steps = max(1, settings.epochs * count // min(settings.batch_size, count))
        fitting = MlpDecoderSettings(
            observation=False,
            hidden_widths=settings.hidden_widths,
            label_smoothing=settings.label_smoothing,
            training=TrainingSettings(
                steps=steps,
                batch_size=min(settings.batch_size, count),
                learning_rate=settings.learning_rate,
                warmup_steps=0,
                initial_learning_rate_fraction=1.0,
                final_learning_rate_fraction=0.01,
                adam_epsilon=1e-8,
                weight_decay=0.0,
                clip_norm=2.0,
                log_every=steps,
                precision=self.precision["refits"].name,
                compile="off",
            ),
        )
        with torch.enable_grad():
            decoder = fit_mlp_decoder(
                inputs,
                self.buffer.actions,
                space=self.policy.space,
                settings=fitting,
                seed=self.seed + self.num_rollouts,
            )
        self.policy.put_decoder(decoder.state_dict())
        restore_random_states(states)

    def state_dict(self) -> dict[str, Any]:
        precision = {name: precision.name for name, precision in self.precision.items()}
        return {"num_rollouts": self.num_rollouts, "precision": precision, "buffer": self.buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_rollouts = state["num_rollouts"]
        self.precision = {name: taken.resumed(state["precision"][name]) for name, taken in self.precision.items()}
        self.buffer.load_state_dict(state["buffer"])


@torch.no_grad()
def label_experience(
    lam: LatentActionModel, experience: Experience, *, codes: bool, precision: PrecisionName
) -> tuple[Tensor, Tensor]:
    """Latents before quantisation float32 [M, D], or ``codes`` int64 [M, T], and the actions int64 [M] taken, of a rollout's transitions.

    Left out are those without the frames before that the LAM sees (a rollout's first steps, as many as these) or without one after them
    (an episode's last step). Before an episode's begin its first frame is repeated.
    """
    frames, ends = torch.from_numpy(experience.frames), torch.from_numpy(experience.ends)
    before = lam.window.before
    steps, columns = torch.nonzero(~ends[before:], as_tuple=True)
    steps = steps + before
    begins = _begins(ends)[steps, columns]
    wanted = steps[:, None] + torch.arange(-before, 2)
    found = wanted.maximum(begins[:, None])
    device = next(lam.parameters()).device
    parts = []
    for rows in inference_batches(torch.cat([found, wanted, columns[:, None]], dim=1)):
        seen, asked, column = rows.split([before + 2, before + 2, 1], dim=1)
        inside = (seen == asked).to(device)
        window = Window.of_frames(frames[seen, column].to(device), present=before, inside=inside)
        with autocast(precision, device):
            latents = lam.label(window)
        parts.append(latents.codes if codes else latents.continuous)
    return torch.cat(parts).cpu(), torch.from_numpy(experience.actions)[steps, columns]


def _begins(ends: Tensor) -> Tensor:
    """int64 [T, E]: for each step of a rollout the first one of its episode, or of the rollout; ``ends`` bool [T, E]: it is an episode's
    last."""
    steps = torch.arange(len(ends))[:, None]
    begun = torch.cat([torch.zeros_like(ends[:1], dtype=torch.int64), torch.where(ends, steps + 1, 0)[:-1]])
    return begun.cummax(0).values


class _Companion:
    """The learner and its refits, as one part of a checkpoint."""

    def __init__(self, learner: PpoLearner, refits: DecoderRefits | None) -> None:
        self._learner, self._refits = learner, refits

    def is_complete_at(self, step: int) -> bool:
        return self._learner.is_complete_at(step)

    def state_dict(self) -> dict[str, Any]:
        refits = self._refits.state_dict() if self._refits else None
        return {"learner": self._learner.state_dict(), "refits": refits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._learner.load_state_dict(state["learner"])
        if self._refits:
            self._refits.load_state_dict(state["refits"])


def train_online(
    policy: OnlinePolicy,
    settings: OnlinePpoSettings,
    *,
    seed: int,
    levels: Levels,
    refits: DecoderRefits | None,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
    title: str,
) -> list[EpisodesBegun]:
    """Train ``policy`` with rewards, and answer its learning curve; deterministic in its arguments and torch's generator."""
    learner = PpoLearner(
        policy,
        settings,
        seed,
        num_rulesets=levels.num_rulesets,
        all_levels=levels.all_levels,
        listen=refits,
    )
    learner.train(
        metrics=metrics,
        state_dir=state_dir,
        identity=identity,
        title=title,
        companion=_Companion(learner, refits),
        finish_episodes=True,
        groups=_groups(policy, settings, learner.env_steps_at),
    )
    return learner.episodes_begun()


def _groups(
    policy: OnlinePolicy, settings: OnlinePpoSettings, env_steps_at: Callable[[int], int]
) -> list[ParameterGroup] | None:
    """The layers of a fine-tuned policy, each with its delayed learning rate; None for a policy from scratch, whose layers are alike."""
    if not isinstance(policy, FinetunedPolicy):
        return None
    layers = {
        policy.policy: settings.policy_head,
        policy.value: settings.value_head,
        policy.hidden: settings.hidden_layer,
    }

    def schedule(rate: DelayedRateSettings) -> Callable[[int], float]:
        return lambda step: delayed_rate(
            env_steps_at(step),
            peak=rate.learning_rate,
            starts_at=rate.starts_at,
            full_at=rate.full_at,
            total=settings.total_steps,
            final_fraction=settings.final_learning_rate_fraction,
        )

    return [ParameterGroup(list(layer.parameters()), schedule(rate)) for layer, rate in layers.items()]
