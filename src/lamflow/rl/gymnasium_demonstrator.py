"""Demonstrators of environments of Gymnasium: a policy of the user's own, one that Stable-Baselines3 has saved, or PPO over pictures or
vectors, trained here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.gymnasium_facts import imported
from lamflow.envs.gymnasium_saved_policy import SavedPolicy
from lamflow.envs.interface import SPLITS, Episode, Observation, Split, VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.play.episodes import Actor, play
from lamflow.play.recording import EpisodeRecorder
from lamflow.rl.demonstrations import REFERENCE_STREAM, Collection, num_episodes, returns_of
from lamflow.rl.demonstrator_settings import CollectionSettings, PixelExpertSettings, VectorExpertSettings
from lamflow.rl.disturbance import Disturbance
from lamflow.rl.pixel_demonstrations import collect_pixels, make_pixel_expert
from lamflow.rl.pixel_experts import load_pixel_expert
from lamflow.rl.pixel_rollouts import play_episodes
from lamflow.rl.saved_policies import KIND, SavedPolicyActor, load_taken_over, take_over
from lamflow.rl.vector_experts import load_vector_expert, play_expert, save_vector_expert, train_vector_expert
from lamflow.spaces import Discrete, known_actions
from lamflow.training.checkpoint import save_model
from lamflow.training.metrics import MetricsLog

SLOTS = 8
"""Episodes that run at once; the environments step one after the other anyway."""
Policy = Callable[[Any], Any]
LICENCE = "that of the environment and of the policy that played it"


def settings_for(spec: EnvironmentSpec) -> type[PixelExpertSettings] | type[VectorExpertSettings]:
    """Those of PPO over pixels, or over vectors."""
    return PixelExpertSettings if spec.view == "pixels" else VectorExpertSettings


def is_trained(spec: EnvironmentSpec, shipped: Path | None) -> bool:
    """A policy of the user's own has nothing to learn here."""
    return spec.demonstrator == "ppo"


def make_expert(
    spec: EnvironmentSpec,
    settings: PixelExpertSettings | VectorExpertSettings,
    seed: int,
    metrics: MetricsLog,
    output: Path,
    state_dir: Path | None,
    identity: str,
    shipped: Path | None,
) -> None:
    """PPO's weights, the files of the saved policy, or the name of the policy, which must be there."""
    if is_trained(spec, shipped) and isinstance(settings, VectorExpertSettings):
        expert = train_vector_expert(
            spec=spec, settings=settings, seed=seed, metrics=metrics, state_dir=state_dir, identity=identity
        )
        save_vector_expert(output, expert, settings, seed)
        return
    if is_trained(spec, shipped):
        assert isinstance(settings, PixelExpertSettings)
        make_pixel_expert(
            spec=spec,
            settings=settings,
            seed=seed,
            metrics=metrics,
            output=output,
            state_dir=state_dir,
            identity=identity,
        )
        return
    if spec.demonstrator == KIND:
        take_over(spec, seed, output)
        return
    _make_policy(spec)
    header = {"kind": "policy", "env": spec.name, "seed": seed, "policy": spec.own["policy"]}
    save_model(output, {"policy": torch.zeros(1)}, header)  # some readers refuse a file without tensors


def _make_policy(spec: EnvironmentSpec) -> Policy:
    """A policy of the user's; ValueError when it cannot be made, or is none."""
    path = spec.own["policy"]
    policy = imported(path, "demonstrator.path")()
    if not callable(policy):
        raise ValueError(
            f"demonstrator.path: {path} answered {policy!r}, expected a callable from observations to actions"
        )
    return policy


class _PolicyActor(Actor):
    """A user's policy, which ``disturbance`` disturbs. One with a state, which has a ``reset``, is one per slot."""

    def __init__(self, spec: EnvironmentSpec, disturbance: Disturbance, num_slots: int) -> None:
        self.spec, self._disturbance = spec, disturbance
        first = _make_policy(spec) if disturbance.epsilon < 1 else None
        self._policies = [first] * num_slots
        if hasattr(first, "reset"):
            others = [_make_policy(spec) for _ in range(max(1, num_slots - 1))]
            if len({id(policy) for policy in (first, *others)}) <= len(others):
                raise ValueError(
                    f"demonstrator.path: {spec.own['policy']} answered the same policy twice, which has a state (`reset`), expected "
                    "a new one for each running episode: make it in the function"
                )
            self._policies = [first, *others][:num_slots]
        self._actions = np.zeros((num_slots, *spec.action.shape), spec.action.dtype)

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        for slot in slots.tolist():
            if hasattr(policy := self._policies[slot], "reset"):
                policy.reset()

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        for slot in slots.tolist():
            self._actions[slot] = self._chosen(slot, observation)
        return self._actions

    def _chosen(self, slot: int, observation: Observation) -> Any:
        """A policy with a state sees every observation, also where chance acts."""
        policy = self._policies[slot]
        chosen = policy(_seen(observation, slot)) if policy else None
        return self._disturbance(chosen)

    def keep(self, slots: NDArray[np.int64]) -> None:
        self._policies = [self._policies[slot] for slot in slots.tolist()]
        self._actions = self._actions[slots]


def _seen(observation: Observation, slot: int) -> Any:
    """An observation as a user's policy gets it: its parts by name, or its only part."""
    parts = {name: part[slot].copy() for name, part in observation.parts.items()}
    return parts if len(parts) > 1 else next(iter(parts.values()))


def collect(spec: EnvironmentSpec, settings: CollectionSettings, split: Split, seed: int, expert: Path) -> Collection:
    """An episode per level, in the order in which they end."""
    if settings.sticky > 0:
        raise ValueError(
            f"collection.sticky: found {settings.sticky} for {spec.name}, expected 0: it is for Procgen games"
        )
    if settings.noise and isinstance(spec.action, Discrete):
        raise ValueError(
            f"collection.noise: found {settings.noise} for {spec.name}, expected 0: it is for continuous actions"
        )
    noise_seed = seed + SPLITS.index(split)
    reference = draw_levels(spec, "test", settings.reference_episodes, seed + REFERENCE_STREAM)
    levels = draw_levels(spec, split, num_episodes(settings, split), seed)
    attributes = {"licence": LICENCE} | ({} if isinstance(spec.action, Discrete) else {"noise": settings.noise})
    if spec.demonstrator == "ppo" and spec.view != "pixels":
        trained = load_vector_expert(expert, spec)
        return Collection(
            episodes=play_expert(trained, settings.epsilon, levels, noise_seed, noise=settings.noise),
            attributes=attributes,
            expert_returns=returns_of(play_expert(trained, 0.0, reference, seed)),
            random_returns=returns_of(play_expert(trained, 1.0, reference, seed)),
        )
    if spec.demonstrator == "ppo":
        play_some = partial(play_episodes, batch=SLOTS)
        return collect_pixels(
            load_pixel_expert(expert, spec),
            epsilon=settings.epsilon,
            split=split,
            seed=seed,
            levels=levels,
            reference=reference,
            play=play_some,
            play_reference=play_some,
            attributes=attributes,
        )
    saved = load_taken_over(expert, spec) if spec.demonstrator == KIND else None
    return Collection(
        episodes=_play(spec, settings.epsilon, levels, noise_seed, saved, noise=settings.noise),
        attributes=attributes,
        expert_returns=returns_of(_play(spec, 0.0, reference, seed, saved)),
        random_returns=returns_of(_play(spec, 1.0, reference, seed, saved)),
    )


def _play(
    spec: EnvironmentSpec,
    epsilon: float,
    levels: NDArray[np.int64],
    seed: int,
    saved: SavedPolicy | None,
    *,
    noise: float = 0.0,
) -> Iterator[Episode]:
    """An episode of the user's policy per level. What a saved one draws is seeded when the first episode is asked for."""
    disturbance = Disturbance(known_actions(spec.action, spec.name), epsilon, noise, np.random.default_rng(seed))
    if saved is not None:
        saved.seed(seed)

    def make_environment(num_slots: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(spec, num_slots, level_stream=level_stream)

    def make_actor(num_slots: int) -> Actor:
        if saved is not None:
            return SavedPolicyActor(spec, saved if epsilon < 1 else None, disturbance, num_slots)
        return _PolicyActor(spec, disturbance, num_slots)

    for played in play(make_environment, make_actor, EpisodeRecorder, levels, num_slots=SLOTS):
        yield played.record
