"""The expert's network in JAX, where it plays: one-hot egocentric view, direction and carried object into an MLP with two heads.

``lamflow.rl.actor_critic.GridActorCritic`` is the same in torch, where it is trained.

Legend: B batch, A actions, F features. Parameters are a flat dict of float32 arrays, as safetensors keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.tiles import NUM_COLORS, NUM_TILES, VIEW_SIZE
from lamflow.envs.xland import Timesteps

Params = dict[str, jax.Array]

NUM_FEATURES = (VIEW_SIZE * VIEW_SIZE + 1) * (NUM_TILES + NUM_COLORS) + 4


def features(timesteps: Timesteps) -> jax.Array:
    """float32 [B, F]: one-hot tiles and colours of the 5x5 view and of the pocket, one-hot direction."""
    view, agent = timesteps.observation, timesteps.state.agent
    batch = view.shape[0]
    cells = jnp.concatenate([view.reshape(batch, -1, 2), agent.pocket[:, None]], axis=1)
    parts = [
        jax.nn.one_hot(cells[..., 0], NUM_TILES).reshape(batch, -1),
        jax.nn.one_hot(cells[..., 1], NUM_COLORS).reshape(batch, -1),
        jax.nn.one_hot(agent.direction, 4),
    ]
    return jnp.concatenate(parts, axis=1)


def check_shapes(tensors: Mapping[str, NDArray[np.float32]], num_actions: int) -> None:
    """ValueError when ``tensors`` are no parameters of this network with ``num_actions`` actions."""
    width = tensors["hidden1.bias"].shape[0] if "hidden1.bias" in tensors else 0
    layers = {
        "hidden1": (NUM_FEATURES, width),
        "hidden2": (width, width),
        "policy": (width, num_actions),
        "value": (width, 1),
    }
    wanted: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in layers.items()}
    wanted |= {f"{name}.bias": (outputs,) for name, (_, outputs) in layers.items()}
    found = {name: value.shape for name, value in tensors.items()}
    if found != wanted:
        raise ValueError(f"found weights {found}, expected {wanted}")


def policy_and_value(params: Params, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits float32 [B, A] and values float32 [B] of features [B, F]."""

    def linear(name: str, values: jax.Array) -> jax.Array:
        return values @ params[f"{name}.weight"] + params[f"{name}.bias"]

    hidden = jnp.tanh(linear("hidden2", jnp.tanh(linear("hidden1", inputs))))
    return linear("policy", hidden), linear("value", hidden)[:, 0]


def sample_action(params: Params, timesteps: Timesteps, key: jax.Array) -> jax.Array:
    """Actions int32 [B] drawn from the policy."""
    logits, _ = policy_and_value(params, features(timesteps))
    return jax.random.categorical(key, logits).astype(jnp.int32)
