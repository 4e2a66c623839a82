"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) in JAX; all of the training is one compiled program.

The details follow "The 37 implementation details of PPO" (Huang et al. 2022): orthogonal initialisation, Adam's epsilon 1e-5,
linear decay of the learning rate, advantages normalised a minibatch (but see ``ADVANTAGE_FLOOR``), global gradient clipping;
no value clipping.

Legend: T steps a rollout, E environments, B = T * E transitions, F features.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from lamflow.config import ExpertSettings
from lamflow.envs.xland import Timesteps, XlandSimulator, terminated, where_batch
from lamflow.rl.xland_actor_critic import Params, features, init_params, policy_and_value

PATIENCE = 10
"""Rollouts in a row that must reach the target return before training stops."""
ADVANTAGE_FLOOR = 0.05
"""Added to the standard deviation that advantages are divided by. Rewards here are at most 1 and rare: with the usual 1e-8, a
rollout without any reward blows the value function's noise up to unit scale, and the policy collapses before it ever
succeeds (DoorKey-8x8: 1 of 4 seeds learnt; with .05, all)."""
METRICS = ("return", "success", "loss/value", "loss/policy", "entropy")


class _Transitions(NamedTuple):
    """A rollout [T, E, ...], or a minibatch of it [M, ...]."""

    features: jax.Array
    actions: jax.Array
    log_probs: jax.Array
    values: jax.Array
    rewards: jax.Array
    ends: jax.Array
    terminals: jax.Array
    next_values: jax.Array


class _Learner(NamedTuple):
    params: Params
    optimizer: Any
    timesteps: Timesteps
    returns: jax.Array
    key: jax.Array


class _Progress(NamedTuple):
    num_updates: jax.Array
    streak: jax.Array  # rollouts in a row that reached the target return
    learner: _Learner
    history: jax.Array  # metrics [updates, 5]


def advantages_of(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminals: jax.Array,
    ends: jax.Array,
    discount: float,
    gae_lambda: float,
) -> jax.Array:
    """Generalised advantage estimates [T, E] (Schulman et al. 2016, arXiv 1506.02438).

    ``next_values`` are the values of the observations that the actions led to, true final observations included, so that
    an episode cut by the step limit (in ``ends``, not in ``terminals``) is bootstrapped.
    """
    deltas = rewards + discount * next_values * ~terminals - values

    def backward(later: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        delta, end = now
        advantage = delta + discount * gae_lambda * ~end * later
        return advantage, advantage

    return jax.lax.scan(backward, jnp.zeros_like(deltas[0]), (deltas, ends), reverse=True)[1]


def _loss(
    params: Params, batch: _Transitions, advantages: jax.Array, settings: ExpertSettings
) -> tuple[jax.Array, Any]:
    logits, values = policy_and_value(params, batch.features)
    log_probs = jax.nn.log_softmax(logits)
    taken = jnp.take_along_axis(log_probs, batch.actions[:, None], axis=1)[:, 0]
    ratio = jnp.exp(taken - batch.log_probs)
    normalised = (advantages - advantages.mean()) / (advantages.std() + ADVANTAGE_FLOOR)
    clipped = jnp.clip(ratio, 1 - settings.clip_range, 1 + settings.clip_range)
    policy_loss = -jnp.minimum(ratio * normalised, clipped * normalised).mean()
    value_loss = 0.5 * jnp.square(values - (batch.values + advantages)).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=1).mean()
    total = policy_loss + settings.value_coefficient * value_loss - settings.entropy_coefficient * entropy
    return total, (value_loss, policy_loss, entropy)


def train_ppo(
    simulator: XlandSimulator, level_ids: NDArray[np.int64], settings: ExpertSettings, seed: int
) -> tuple[Params, dict[str, NDArray[np.float32]]]:
    """Train on ``level_ids``; the parameters, and metrics float32 [rollouts] by name (``METRICS``).

    "return" and "success" are means over the episodes that ended in a rollout, NaN where none did. The same arguments give
    the same weights on the same machine. ValueError when the minibatches do not divide a rollout.
    """
    pool = simulator.reset_levels(level_ids)
    params, history, num_updates = _training_program(simulator, settings)(pool, seed)
    columns = np.asarray(history)[: int(num_updates)].T
    return params, dict(zip(METRICS, columns, strict=True))


@cache
def _training_program(simulator: XlandSimulator, settings: ExpertSettings) -> Any:
    return jax.jit(_Trainer(simulator, settings).train)


class _Trainer:
    """PPO as one traceable function of the training levels and a key."""

    def __init__(self, simulator: XlandSimulator, settings: ExpertSettings) -> None:
        self.simulator = simulator
        self.settings = settings
        self.num_updates = max(1, settings.total_steps // (settings.num_envs * settings.num_steps))
        batch = settings.num_envs * settings.num_steps
        if batch % settings.minibatches:
            raise ValueError(
                f"expert.minibatches: found {settings.minibatches}, expected a divisor of num_envs * num_steps = {batch}"
            )
        total = self.num_updates * settings.epochs * settings.minibatches
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(settings.max_grad_norm),
            optax.adam(optax.linear_schedule(settings.learning_rate, 0.0, total), eps=1e-5),
        )

    def train(self, pool: Timesteps, seed: jax.Array) -> tuple[Params, jax.Array, jax.Array]:
        """Parameters, metrics [num_updates, 5] (NaN after an early stop), and the number of updates done."""
        key, init_key, level_key = jax.random.split(jax.random.PRNGKey(seed), 3)
        params = init_params(init_key, self.simulator.spec.num_actions, self.settings.hidden_width)
        learner = _Learner(
            params=params,
            optimizer=self._optimizer.init(params),
            timesteps=self._draw(pool, level_key),
            returns=jnp.zeros(self.settings.num_envs),
            key=key,
        )
        history = jnp.full((self.num_updates, len(METRICS)), jnp.nan)

        def update(carry: _Progress) -> _Progress:
            learner, metrics = self._update(pool, carry.learner)
            reached = metrics[0] >= self.settings.target_return
            return _Progress(
                num_updates=carry.num_updates + 1,
                streak=jnp.where(reached, carry.streak + 1, 0),
                learner=learner,
                history=carry.history.at[carry.num_updates].set(metrics),
            )

        progress = jax.lax.while_loop(
            lambda carry: (carry.num_updates < self.num_updates) & (carry.streak < PATIENCE),
            update,
            _Progress(jnp.int32(0), jnp.int32(0), learner, history),
        )
        return progress.learner.params, progress.history, progress.num_updates

    def _draw(self, pool: Timesteps, key: jax.Array) -> Timesteps:
        """First timesteps of random training levels, one an environment."""
        rows = jax.random.randint(key, (self.settings.num_envs,), 0, len(pool.reward))
        return jax.tree.map(lambda leaf: leaf[rows], pool)

    def _update(self, pool: Timesteps, learner: _Learner) -> tuple[_Learner, jax.Array]:
        """One rollout and the passes over it; also the metrics float32 [5]."""
        learner, (transitions, returns) = jax.lax.scan(
            partial(self._act, pool), learner, None, length=self.settings.num_steps
        )
        advantages = advantages_of(
            transitions.rewards,
            transitions.values,
            transitions.next_values,
            transitions.terminals,
            transitions.ends,
            self.settings.discount,
            self.settings.gae_lambda,
        )
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (transitions, advantages))
        key, *epoch_keys = jax.random.split(learner.key, self.settings.epochs + 1)
        (params, optimizer), losses = jax.lax.scan(
            partial(self._epoch, flat), (learner.params, learner.optimizer), jnp.stack(epoch_keys)
        )
        ends = transitions.ends.sum()
        metrics = jnp.stack(
            [returns.sum() / ends, transitions.terminals.sum() / ends, *(loss.mean() for loss in losses)]
        )
        return learner._replace(params=params, optimizer=optimizer, key=key), metrics

    def _act(self, pool: Timesteps, learner: _Learner, _: None) -> tuple[_Learner, tuple[_Transitions, jax.Array]]:
        """One step of all environments; also the returns of the episodes that ended (0 elsewhere)."""
        key, action_key, level_key = jax.random.split(learner.key, 3)
        inputs = features(learner.timesteps)
        logits, values = policy_and_value(learner.params, inputs)
        actions = jax.random.categorical(action_key, logits)
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(logits), actions[:, None], axis=1)[:, 0]
        stepped = self.simulator.step(learner.timesteps, actions)
        ends = stepped.last()
        returns = learner.returns + stepped.reward
        transitions = _Transitions(
            features=inputs,
            actions=actions,
            log_probs=log_probs,
            values=values,
            rewards=stepped.reward,
            ends=ends,
            terminals=terminated(stepped),
            next_values=policy_and_value(learner.params, features(stepped))[1],
        )
        learner = learner._replace(
            timesteps=where_batch(ends, self._draw(pool, level_key), stepped),
            returns=jnp.where(ends, 0.0, returns),
            key=key,
        )
        return learner, (transitions, jnp.where(ends, returns, 0.0))

    def _epoch(self, flat: Any, carry: Any, key: jax.Array) -> tuple[Any, Any]:
        """One pass over the rollout in random minibatches."""
        order = jax.random.permutation(key, len(flat[1])).reshape(self.settings.minibatches, -1)

        def minibatch(carry: Any, rows: jax.Array) -> tuple[Any, Any]:
            params, optimizer = carry
            batch, advantages = jax.tree.map(lambda x: x[rows], flat)
            (_, losses), gradients = jax.value_and_grad(_loss, has_aux=True)(params, batch, advantages, self.settings)
            updates, optimizer = self._optimizer.update(gradients, optimizer, params)
            return (optax.apply_updates(params, updates), optimizer), losses

        return jax.lax.scan(minibatch, carry, order)
