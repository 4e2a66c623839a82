"""Demonstrators: what collects episodes. A PPO expert or the planner, noise on top, and the random policy.

An act function maps (params, timesteps, key) to actions int32 [B]; see ``lamflow.envs.xland.Act``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.xland import Act, Timesteps
from lamflow.envs.xland_presets import MINIGRID_ACTIONS
from lamflow.rl.planner import plan
from lamflow.rl.xland_actor_critic import check_shapes, sample_action
from lamflow.training.checkpoint import read_model, save_model

EXPERT_FORMAT = "lamflow-expert"
EXPERT_FORMAT_VERSION = 2
"""1 had no digest of its weights."""


def act_randomly(_params: Any, timesteps: Timesteps, key: jax.Array) -> jax.Array:
    """Uniformly random actions; the parameters are not used."""
    return jax.random.randint(key, timesteps.reward.shape, 0, len(MINIGRID_ACTIONS))


@cache
def with_random_actions(act: Act) -> Act:
    """``act`` with a uniformly random action with probability epsilon at each step; its parameters are (params, epsilon)."""

    def noisy(params: tuple[Any, Any], timesteps: Timesteps, key: jax.Array) -> jax.Array:
        inner, epsilon = params
        act_key, random_key, coin_key = jax.random.split(key, 3)
        random_actions = act_randomly(None, timesteps, random_key)
        actions = jax.lax.cond(epsilon < 1, lambda: act(inner, timesteps, act_key), lambda: random_actions)
        coin = jax.random.uniform(coin_key, actions.shape) < epsilon
        return jnp.where(coin, random_actions, actions)

    return noisy


def save_expert(path: Path, spec: EnvironmentSpec, params: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Write a demonstrator atomically: weights (none for a planner) and, in the header, what it is.

    The same arguments give the same bytes.
    """
    header = {
        "format": EXPERT_FORMAT,
        "format_version": EXPERT_FORMAT_VERSION,
        "env": spec.name,
        "demonstrator": spec.demonstrator,
        **details,
    }
    tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in params.items()}
    if not tensors:
        tensors = {"planner": torch.zeros(1)}  # some readers refuse a file without tensors
    save_model(path, tensors, header)


def load_demonstrator(spec: EnvironmentSpec, path: Path) -> tuple[Act, Any]:
    """The act function and parameters of an environment's demonstrator in ``path``; the PPO expert samples from its policy.

    ValueError when the file is missing, damaged, of another environment or of another network.
    """
    header, tensors = _read_expert(path)
    if header["env"] != spec.name:
        raise ValueError(f"{path}: found the demonstrator of {header['env']!r}, expected that of {spec.name!r}")
    if header["demonstrator"] != spec.demonstrator:
        raise ValueError(
            f"{path}: found a {header['demonstrator']!r} demonstrator, expected {spec.demonstrator!r} for {spec.name}; run "
            "train_expert again"
        )
    if spec.demonstrator == "planner":
        return plan, None
    try:
        check_shapes(tensors, spec.num_actions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; run train_expert again") from None
    return sample_action, tensors


def _read_expert(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Header and weights of an expert file."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: found no expert file; run train_expert first")
    try:
        tensors, header = read_model(path)
    except ValueError as error:
        raise ValueError(f"no readable expert file: {error}") from None
    found = (header.get("format"), header.get("format_version"))
    if found != (EXPERT_FORMAT, EXPERT_FORMAT_VERSION):
        raise ValueError(
            f"{path}: found format {found[0]} {found[1]}, expected {EXPERT_FORMAT} {EXPERT_FORMAT_VERSION}; run train_expert again"
        )
    return header, {name: tensor.numpy() for name, tensor in tensors.items()}
