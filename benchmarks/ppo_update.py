"""Transitions a second of PPO on Procgen, play and updates together, beside its plain form.

The plain form steps all games, then asks a float32 network, and has Adam as torch gives it. Sizes: the network of the shipped
experts, and that of the published recipe (shorter rollouts on a CPU). Prints one JSON object.
"""

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from bench import plain
from bench.arms import Figures, Round, compared, report
from bench.command import arguments
from bench.machine import PLAIN, precision_here, scaled, wait_for_device
from bench.plain_training import normalised
from bench.sizes import CONFIG
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lamflow.envs.levels import LevelStream
from lamflow.envs.presets import preset
from lamflow.envs.procgen import ProcgenVectorEnvironment
from lamflow.experiment.reading import read_experiment
from lamflow.rl.actor_critic import PixelActorCritic
from lamflow.rl.advantages import RewardNormaliser, generalised_advantages
from lamflow.rl.demonstrator_settings import PixelExpertSettings
from lamflow.rl.ppo import ADAM_EPSILON, PpoLearner
from lamflow.rl.ppo_loss import Minibatch, ppo_loss
from lamflow.training.loop import train
from lamflow.training.memory import keep_freed_memory
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device

SPEC = preset("procgen-coinrun")
CPU_STEPS, RECIPE_STEPS = 8, PixelExpertSettings().num_steps
"""Of a rollout, at each of its environments."""
ROUNDS = 3
COUNTED_BATCH = 4


def read_settings() -> dict[str, PixelExpertSettings]:
    """By size. On a GPU the rollouts are as long as the recipe's."""
    shortened = {"num_steps": scaled(CPU_STEPS, RECIPE_STEPS)}
    shipped = read_experiment(CONFIG / "procgen_experts.yaml").pixel_expert
    return {
        name: settings.model_copy(update=shortened)
        for name, settings in (("shipped_experts", shipped), ("recipe", PixelExpertSettings()))
    }


class PlainActorCritic(nn.Module):
    """Frames float32 [B, 3, H, W] to logits [B, A] and values [B]."""

    def __init__(self, settings: PixelExpertSettings) -> None:
        super().__init__()
        width = settings.network.hidden_width
        self.encoder = plain.Impala(settings.network, 3, SPEC.frame_shape[0])
        self.policy, self.value = nn.Linear(width, SPEC.num_actions), nn.Linear(width, 1)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encoder(frames)
        return torch.log_softmax(self.policy(features), dim=-1), self.value(features)[:, 0]


class PlainPpo:
    """One rollout of all games and its updates a call."""

    def __init__(self, settings: PixelExpertSettings) -> None:
        self.settings = settings
        self.device = default_device()
        self.network = PlainActorCritic(settings).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, eps=ADAM_EPSILON)
        stream = LevelStream(SPEC, "train", 0)
        self.games = ProcgenVectorEnvironment(SPEC, settings.num_envs, stream)
        first = np.array([next(stream) for _ in range(settings.num_envs)], np.int64)
        self.frames = self._seen(self.games.reset(first).parts["frames"])
        self.normaliser = RewardNormaliser(settings.num_envs, settings.discount)

    def __call__(self) -> Figures:
        started = time.perf_counter()
        with torch.no_grad():
            frames, batch = self._play()
        played = time.perf_counter()
        for _ in range(self.settings.epochs):
            for rows in torch.randperm(len(frames)).to(self.device).chunk(self.settings.minibatches):
                self._update(normalised(frames[rows]), Minibatch(*(part[rows] for part in batch)))
        wait_for_device()
        seconds = time.perf_counter() - started
        return {"samples": len(frames), "seconds": seconds, "play": (played - started) / seconds}

    def _seen(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 [E, 3, H, W]."""
        return torch.from_numpy(frames).permute(0, 3, 1, 2).to(self.device)

    def _play(self) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Frames uint8 [T * E, 3, H, W], and what a ``Minibatch`` has, of the whole rollout."""
        frames, actions, log_probs, values, rewards, ends = [], [], [], [], [], []
        for _ in range(self.settings.num_steps):
            log_probs_EA, values_E = self.network(normalised(self.frames))
            chosen = torch.multinomial(log_probs_EA.exp(), 1)
            frames.append(self.frames)
            actions.append(chosen[:, 0])
            log_probs.append(log_probs_EA.gather(1, chosen)[:, 0])
            values.append(values_E)
            result = self.games.step(chosen[:, 0].cpu().numpy())
            ends.append(result.terminated | result.truncated)
            rewards.append(self.normaliser(result.rewards, ends[-1]))
            self.frames = self._seen(result.observation.parts["frames"])
        advantages = generalised_advantages(
            torch.from_numpy(np.stack(rewards)).to(self.device),
            torch.stack(values),
            self.network(normalised(self.frames))[1],
            torch.from_numpy(np.stack(ends)).to(self.device),
            discount=self.settings.discount,
            gae_lambda=self.settings.gae_lambda,
        )
        all_frames = torch.cat(frames)
        return all_frames, (all_frames, *map(torch.cat, (actions, log_probs, values)), advantages.flatten())

    def _update(self, frames: torch.Tensor, batch: Minibatch) -> None:
        settings = self.settings
        log_probs, values = self.network(frames)
        loss = ppo_loss(
            log_probs,
            values,
            batch,
            clip_range=settings.clip_range,
            value_coefficient=settings.value_coefficient,
            entropy_coefficient=settings.entropy_coefficient,
        )
        self.optimizer.zero_grad()
        loss.total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.max_grad_norm)
        self.optimizer.step()
        loss.total.item()


def plain_arm(settings: PixelExpertSettings) -> Round:
    torch.manual_seed(0)
    return PlainPpo(settings)


def network_of(settings: PixelExpertSettings) -> PixelActorCritic:
    return PixelActorCritic(
        settings=settings.network, spec=SPEC, mask_duplicate_actions=settings.mask_duplicate_actions
    )


def library_arm(settings: PixelExpertSettings) -> Round:
    keep_freed_memory()
    torch.manual_seed(0)
    network = network_of(settings)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last).to(default_device())
    learner = PpoLearner(network, settings, seed=0)
    training = learner.training_settings().model_copy(update={"steps": learner.steps_each_rollout})

    def play() -> Figures:
        spent = 0.0

        def batch_at(step: int) -> Minibatch:
            nonlocal spent
            started = time.perf_counter()
            batch = learner.batch_at(step)
            wait_for_device()
            spent += time.perf_counter() - started
            return batch

        started = time.perf_counter()
        train(module=network, batch_at=batch_at, loss=learner.loss, settings=training, metrics=MetricsLog(), title="")
        wait_for_device()
        seconds = time.perf_counter() - started
        return {"samples": settings.num_envs * settings.num_steps, "seconds": seconds, "play": spent / seconds}

    return play


def gflop_a_transition(settings: PixelExpertSettings) -> float:
    """One answer while playing, and forward and backward in each epoch."""
    frames, network = torch.zeros(COUNTED_BATCH, 3, *SPEC.frame_shape[:2]), PlainActorCritic(settings)
    with FlopCounterMode(display=False) as played, torch.no_grad():
        network(frames)
    with FlopCounterMode(display=False) as updated:
        log_probs, values = network(frames)
        (log_probs.sum() + values.sum()).backward()
    flops = played.get_total_flops() + settings.epochs * updated.get_total_flops()
    return flops / COUNTED_BATCH / 1e9


def measured(settings: PixelExpertSettings) -> dict[str, Any]:
    return compared(
        {"baseline": partial(plain_arm, settings), "lamflow": partial(library_arm, settings)},
        rounds=ROUNDS,
        gflop_a_sample=gflop_a_transition(settings),
        precisions={"baseline": PLAIN, "lamflow": precision_here(settings.precision, network_of(settings))},
        shown=("play",),
    )


def main() -> None:
    report("ppo_update", sizes={name: measured(settings) for name, settings in read_settings().items()})


if __name__ == "__main__":
    arguments(__doc__)
    main()
