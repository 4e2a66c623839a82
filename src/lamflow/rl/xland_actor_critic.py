"""The expert's network: one-hot egocentric view, direction and carried object into an MLP with a policy and a value head.

Legend: B batch, A actions, F features. Parameters are a flat dict of float32 arrays, as safetensors keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lamflow.catalogue import NUM_COLORS, NUM_TILES
from lamflow.envs.xland import VIEW_SIZE, Timesteps

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


def init_params(key: jax.Array, num_actions: int, hidden_width: int) -> Params:
    """Orthogonal weights (gain sqrt 2; policy head .01, value head 1) and zero biases, as is usual for PPO."""
    shapes = {
        "hidden1": (NUM_FEATURES, hidden_width, np.sqrt(2)),
        "hidden2": (hidden_width, hidden_width, np.sqrt(2)),
        "policy": (hidden_width, num_actions, 0.01),
        "value": (hidden_width, 1, 1.0),
    }
    params: Params = {}
    for (name, (fan_in, fan_out, gain)), layer_key in zip(
        shapes.items(), jax.random.split(key, len(shapes)), strict=True
    ):
        params[f"{name}.weight"] = jax.nn.initializers.orthogonal(gain)(layer_key, (fan_in, fan_out), jnp.float32)
        params[f"{name}.bias"] = jnp.zeros(fan_out)
    return params


def check_shapes(tensors: Mapping[str, NDArray[np.float32]], num_actions: int) -> None:
    """ValueError when ``tensors`` are no parameters of this network with ``num_actions`` actions."""
    width = tensors["hidden1.bias"].shape[0] if "hidden1.bias" in tensors else 0
    wanted = {
        name: value.shape
        for name, value in jax.eval_shape(
            lambda key: init_params(key, num_actions, width), jax.random.PRNGKey(0)
        ).items()
    }
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
