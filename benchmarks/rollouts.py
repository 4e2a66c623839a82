"""Environment steps a second: agents of Procgen beside the plain form, agents of XLand, and whole episodes on the JAX device.

Claim: rollouts are no bottleneck. An episode's steps count until it ends. Procgen is played by an untrained latent policy of the laptop
preset with one decoder a member. The plain form evaluates decoder after decoder: it steps all games, then asks a float32
network, and games that are over go on until the last one is. XLand's agents are untrained policies, one a member. Prints
one JSON object.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from bench.arms import THREADS, Figures, Round, compared, report, rounded, take_turns
from bench.command import arguments
from bench.machine import PLAIN, precision_here, scaled, wait_for_device
from bench.plain_training import normalised
from bench.sizes import CONFIG, Size, read_size
from torch.utils.flop_counter import FlopCounterMode

from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.rollouts import ROLLOUT_BATCH, rollout
from lamflow.envs.xland import make_simulator
from lamflow.evaluation.rollouts import roll_out
from lamflow.experiment.reading import read_experiment
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import PolicyAgent
from lamflow.policies.decoders import no_decode
from lamflow.policies.mlp_decoder import mlp_decode
from lamflow.policies.network import PolicyNetwork
from lamflow.rl.demonstrators import act_randomly
from lamflow.training.memory import keep_freed_memory
from lamflow.training.precision import default_device

GAME = "procgen-starpilot"
"""Its episodes are short."""
MEMBERS, LEVELS = scaled(8, 50), scaled(8, 100)
ROUNDS = 3
COUNTED_BATCH = 4


def decoders(size: Size) -> list[torch.nn.Sequential]:
    torch.manual_seed(0)
    widths = size.method.decoder.hidden_widths
    return [mlp(size.latent_dim, widths, size.spec.num_actions) for _ in range(MEMBERS)]


def make_environment(env: str, num_envs: int, level_stream: Iterator[int]) -> VectorEnvironment:
    return make_vector_environment(
        preset(env), num_envs, level_stream=level_stream, num_threads=scaled(0, THREADS // 2)
    )


def timed_rollout(agent: PolicyAgent, env: str, levels: np.ndarray) -> Figures:
    started = time.perf_counter()
    result = roll_out(agent, partial(make_environment, env), levels)
    wait_for_device()
    return {"samples": int(result.lengths.sum()), "seconds": time.perf_counter() - started}


def library_arm(size: Size) -> Round:
    keep_freed_memory()
    weights = [decoder.state_dict() for decoder in decoders(size)]
    agent = PolicyAgent(
        networks=[size.policy().to(default_device())],
        num_members=MEMBERS,
        space=DiscreteActions.of(size.spec),
        decode=mlp_decode(weights, DiscreteActions.of(size.spec), num_tokens=0, num_codes=0),
        action_selection="sample",
        seed=0,
    )
    return partial(timed_rollout, agent, GAME, draw_levels(preset(GAME), "test", LEVELS, seed=0))


def plain_arm(size: Size) -> Round:
    device = default_device()
    policy = size.plain_policy().to(device).eval()
    members = [decoder.to(device) for decoder in decoders(size)]
    levels = draw_levels(preset(GAME), "test", LEVELS, seed=0)

    @torch.no_grad()
    def evaluate(decoder: torch.nn.Module) -> int:
        """Environment steps until each game has ended once."""
        games = make_environment(GAME, LEVELS, iter(()))
        frames, running, steps = games.reset(levels).parts["frames"], np.ones(LEVELS, np.bool_), 0
        while running.any():
            latents = policy(normalised(torch.from_numpy(frames).permute(0, 3, 1, 2).to(device)))
            actions = torch.multinomial(decoder(latents).softmax(-1), 1)[:, 0]
            result = games.step(actions.cpu().numpy())
            frames, steps = result.observation.parts["frames"], steps + int(running.sum())
            running &= ~(result.terminated | result.truncated)
        games.close()
        return steps

    def play() -> Figures:
        started = time.perf_counter()
        steps = sum(evaluate(decoder) for decoder in members)
        return {"samples": steps, "seconds": time.perf_counter() - started}

    return play


def xland_agents_arm() -> Round:
    keep_freed_memory()
    experiment = read_experiment(CONFIG / "config.yaml")
    env = experiment.envs[0]
    settings = next(method.policy for method in experiment.methods.values() if method.kind == "bc")
    spec, members = preset(env), len(experiment.labels) * experiment.label_draws
    torch.manual_seed(0)
    networks = [PolicyNetwork(settings=settings, spec=spec, output_dim=spec.num_actions) for _ in range(members)]
    agent = PolicyAgent(
        networks=[network.to(default_device()) for network in networks],
        num_members=members,
        space=DiscreteActions.of(spec),
        decode=no_decode(DiscreteActions.of(spec)),
        action_selection="sample",
        seed=0,
    )
    return partial(timed_rollout, agent, env, draw_levels(preset(env), "test", 2 * LEVELS, seed=0))


def xland_device_arm() -> Round:
    env = read_experiment(CONFIG / "config.yaml").envs[0]
    simulator, levels = make_simulator(preset(env)), draw_levels(preset(env), "test", ROLLOUT_BATCH, seed=0)

    def play() -> Figures:
        started = time.perf_counter()
        steps = sum(episode.length for episode in rollout(simulator, act_randomly, None, levels, seed=1))
        return {"samples": steps, "seconds": time.perf_counter() - started}

    return play


def procgen(size: Size) -> dict[str, Any]:
    height, width, channels = size.spec.frame_shape
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        size.plain_policy()(torch.zeros(COUNTED_BATCH, channels, height, width))
    return compared(
        {"baseline": partial(plain_arm, size), "lamflow": partial(library_arm, size)},
        rounds=ROUNDS,
        gflop_a_sample=counter.get_total_flops() / COUNTED_BATCH / 1e9,
        precisions={"baseline": PLAIN, "lamflow": precision_here("auto", size.policy())},
    )


def main() -> None:
    turns = take_turns({"agents": xland_agents_arm, "jax_device": xland_device_arm}, rounds=ROUNDS)
    xland = {
        name: {
            "samples_per_second": rounded(1 / turns.median(name, "seconds") * turns.median(name, "samples")),
            **turns.peaks[name],
        }
        for name in ("agents", "jax_device")
    }
    report("rollouts", sizes={"procgen_laptop": procgen(read_size("procgen_laptop"))}, xland=xland)


if __name__ == "__main__":
    arguments(__doc__)
    main()
