"""Experts over vectors: training, files, and episodes of one expert on given levels.

Legend: B slots of a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lamflow.envs.interface import Episode, Observation, VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.play.episodes import Actor, play
from lamflow.play.recording import EpisodeRecorder
from lamflow.policies.contexts import first_inputs
from lamflow.rl.demonstrator_settings import VectorExpertSettings
from lamflow.rl.ppo import PpoLearner
from lamflow.rl.vector_actor_critic import VectorActorCritic
from lamflow.training.checkpoint import load_weights, read_model, save_model, seed_everything
from lamflow.training.loop import Watched
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import default_device

VALIDATION_STREAM = 3_000_017
"""Offset of the seed of the levels on which a training is validated."""
SLOTS = 16
"""Episodes that run at once; the environments step one after the other anyway."""
KIND = "vector_expert"


class _ExpertActor(Actor):
    """Acts by the expert's policy, or at random with probability ``epsilon``. Tables share the generator.

    Discrete actions are drawn, as all experts do. Of continuous ones the mean is taken, as is usual where continuous control is evaluated:
    a policy explores with a deviation that its environment need not forgive. ``noise`` is added to it.
    """

    def __init__(self, network: VectorActorCritic, epsilon: float, noise: float, generator: torch.Generator) -> None:
        self._network, self._epsilon, self._noise, self._generator = network, epsilon, noise, generator
        self._device = next(network.parameters()).device

    @torch.no_grad()
    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        space, generator, count = self._network.space, self._generator, len(observation)
        distributions, _ = self._network.evaluate(self._network.encode(first_inputs(observation, 1, self._device)))
        actions = space.taken(self._chosen(distributions.cpu()))
        if self._epsilon > 0:
            random = space.random(count, generator)
            by_chance = torch.rand(count, generator=generator) < self._epsilon
            actions = torch.where(by_chance.view(-1, *[1] * (actions.dim() - 1)), random, actions)
        chosen: NDArray[Any] = actions.numpy()
        return chosen

    def _chosen(self, distributions_BP: Tensor) -> Tensor:
        space = self._network.space
        if not space.num_spreads:
            return space.sample(distributions_BP, self._generator)
        mean = space.mode(distributions_BP)
        return mean + self._noise * torch.randn(mean.shape, generator=self._generator) if self._noise else mean


def play_expert(
    network: VectorActorCritic, epsilon: float, level_ids: NDArray[np.int64], seed: int, *, noise: float = 0.0
) -> Iterator[Episode]:
    """One episode per level of ``level_ids`` int64, in the order in which they end; deterministic in its arguments. ``noise``: deviation of
    a Gaussian on continuous actions, half the width of the space being 1."""
    generator, spec = torch.Generator().manual_seed(seed), network.spec

    def make_environment(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(spec, num_slots, level_stream=level_stream)

    def make_actor(num_slots: int) -> Actor:
        return _ExpertActor(network, epsilon, noise, generator)

    for played in play(make_environment, make_actor, EpisodeRecorder, level_ids, num_slots=SLOTS):
        yield played.record


class _BestSoFar:
    """The learner, and the weights with the highest validation return so far, as one part of a checkpoint."""

    def __init__(self, learner: PpoLearner) -> None:
        self._learner = learner
        self._highest, self.weights = -math.inf, _copied(learner.network)

    def see(self, mean_return: float) -> None:
        """Keep the present weights if they are the best."""
        if mean_return > self._highest:
            self._highest, self.weights = mean_return, _copied(self._learner.network)

    def is_complete_at(self, step: int) -> bool:
        return self._learner.is_complete_at(step)

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self._learner.state_dict(), "highest": self._highest, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._learner.load_state_dict(state["learner"])
        self._highest, self.weights = state["highest"], state["weights"]


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train_vector_expert(
    *,
    spec: EnvironmentSpec,
    settings: VectorExpertSettings,
    seed: int,
    metrics: MetricsLog,
    state_dir: Path | None,
    identity: str,
) -> VectorActorCritic:
    """Train PPO on train levels; "return" of the validation rows is the mean raw return on validation levels. The answer has the weights
    with the highest one: in continuous control a policy may fall far from one rollout to the next."""
    seed_everything(seed)
    network = VectorActorCritic(spec=spec, hidden_width=settings.hidden_width).to(default_device())
    learner = PpoLearner(network, settings, seed)
    levels, best = (
        draw_levels(spec, "validation", settings.validation_episodes, seed + VALIDATION_STREAM),
        _BestSoFar(learner),
    )

    def validate() -> dict[str, float]:
        returns = [episode.total_reward for episode in play_expert(network, 0.0, levels, 0)]
        best.see(mean := float(np.mean(returns)))
        return {"return": mean}

    learner.train(
        validate_every=settings.validate_every,
        companion=best,
        metrics=metrics,
        validate=validate,
        watched=Watched("return", "highest"),
        state_dir=state_dir,
        identity=identity,
        title=f"PPO expert of {spec.name}",
    )
    network.load_state_dict(best.weights)
    return network


def save_vector_expert(path: Path, network: VectorActorCritic, settings: VectorExpertSettings, seed: int) -> None:
    """Write weights and moments to a safetensors file, atomically."""
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    described = settings.model_dump(mode="json")
    save_model(path, weights, {"kind": KIND, "env": network.spec.name, "seed": seed, "settings": described})


def load_vector_expert(path: Path, spec: EnvironmentSpec) -> VectorActorCritic:
    """The network of an expert file, on the default device; ValueError when it is missing, damaged or of another environment or
    network."""
    tensors, header = read_model(path)
    found = {key: header.get(key) for key in ("kind", "env")}
    if found != {"kind": KIND, "env": spec.name}:
        raise ValueError(
            f"{path}: found {found}, expected the expert of {spec.name} over vectors; run train_expert again"
        )
    settings = VectorExpertSettings.model_validate(header["settings"])
    network = VectorActorCritic(spec=spec, hidden_width=settings.hidden_width)
    load_weights(network, tensors, path)
    return network.eval().to(default_device())
