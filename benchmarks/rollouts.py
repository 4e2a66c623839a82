"""Environment steps a second: whole episodes on the JAX device, and torch agents over the vector environment.

Claim: rollouts are no bottleneck of the quickstart. One thread, as in a workflow's job; an episode's steps count until it ends. The
agents are untrained policies of the quickstart's size, one a label count and draw. Prints one JSON object.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lamflow.catalogue import environment_spec
from lamflow.config import read_experiment
from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.rollouts import ROLLOUT_BATCH, rollout
from lamflow.envs.xland import make_simulator
from lamflow.evaluation.rollouts import NUM_SLOTS, roll_out
from lamflow.policies.agents import PolicyAgent
from lamflow.policies.latent_agents import action_probabilities
from lamflow.policies.network import PolicyNetwork
from lamflow.rl.demonstrators import act_randomly

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
LEVELS_A_MEMBER = 16


def main() -> None:
    torch.set_num_threads(1)
    experiment = read_experiment(CONFIG)
    env = experiment.envs[0]
    spec, simulator = environment_spec(env), make_simulator(env)
    levels = draw_levels(env, "test", ROLLOUT_BATCH, seed=0)
    started = time.perf_counter()
    list(rollout(simulator, act_randomly, None, levels, seed=0))
    first = time.perf_counter() - started
    started = time.perf_counter()
    steps = sum(episode.length for episode in rollout(simulator, act_randomly, None, levels, seed=1))
    on_device = steps / (time.perf_counter() - started)

    settings = next(method.policy for method in experiment.methods.values() if method.kind == "bc")
    members = len(experiment.labels) * experiment.label_draws
    torch.manual_seed(0)
    networks = [PolicyNetwork(settings=settings, spec=spec, output_dim=spec.num_actions) for _ in range(members)]
    agent = PolicyAgent(
        networks=networks, num_members=members, decode=action_probabilities, action_selection="sample", seed=0
    )
    slots = min(NUM_SLOTS, members * LEVELS_A_MEMBER)

    def make_environment(num_envs: int, level_stream: Iterator[int]) -> VectorEnvironment:
        return make_vector_environment(env, num_envs, level_stream=level_stream)

    environment = make_environment(slots, iter(np.resize(levels, 2 * slots).tolist()))
    environment.reset(np.resize(levels, slots))
    environment.step(np.zeros(slots, np.int64))  # compiles
    started = time.perf_counter()
    result = roll_out(agent, make_environment, levels[:LEVELS_A_MEMBER])
    by_agents = int(result.lengths.sum()) / (time.perf_counter() - started)
    print(
        json.dumps(
            {
                "benchmark": "rollouts",
                "env": env,
                "threads": 1,
                "jax_slots": ROLLOUT_BATCH,
                "jax_steps_per_second": round(on_device),
                "jax_first_batch_seconds": round(first, 1),
                "agents": members,
                "agent_slots": slots,
                "agent_steps_per_second": round(by_agents),
            }
        )
    )


if __name__ == "__main__":
    main()
