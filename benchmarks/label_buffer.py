"""Memory of online decoding over a million environment steps: the label buffer is bounded, and so is the process.

A small policy of a grid environment is fine-tuned by the library's own training; all of its transitions are labelled by the IDM and go
through the buffer, and the decoder is refitted to the end. Prints one JSON object.
``python benchmarks/label_buffer.py [steps]`` plays fewer steps.
"""

import json
import time
from statistics import median

import psutil
import torch
from bench.command import arguments
from bench.machine import machine_facts

from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.online_settings import OnlineMethodSettings
from lamflow.policies.network import PolicyNetwork
from lamflow.rl.experience import Experience
from lamflow.rl.online import DecoderRefits, Levels, make_online_policy, train_online
from lamflow.rl.online_policies import FinetunedPolicy
from lamflow.training.checkpoint import seed_everything
from lamflow.training.metrics import MetricsLog

SPEC = preset("xland-doorkey-5x5")
NETWORK = {"width": 8, "layers": 1, "hidden_width": 32}
CAPACITY = 65_536
SAMPLES = 20
"""Readings that are reported, evenly over the run."""


class Watched:
    """The refits, and the process's resident memory after each rollout."""

    def __init__(self, refits: DecoderRefits) -> None:
        self.refits, self.process = refits, psutil.Process()
        self.resident: list[int] = []

    def __call__(self, experience: Experience) -> None:
        self.refits(experience)
        self.resident.append(self.process.memory_info().rss)

    def state_dict(self) -> dict[str, object]:
        return self.refits.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.refits.load_state_dict(state)


def main(given: str = "1000000") -> None:
    steps = int(given)
    torch.set_num_threads(1)
    seed_everything(0)
    lam = OneStepLam(
        settings=OneStepSettings.model_validate({"inverse_dynamics": NETWORK, "forward_dynamics": NETWORK}), spec=SPEC
    )
    latent = LatentMethodSettings.model_validate({"lam": "lapo", "policy": {"network": NETWORK}})
    settings = OnlineMethodSettings.model_validate(
        {
            "of": "lapo",
            "ppo": {"total_steps": steps},
            "decoder": {"last_fit": steps, "every": 40, "buffer_size": CAPACITY, "hidden_widths": [64]},
        }
    )
    policy = PolicyNetwork(settings=latent.policy, spec=SPEC, output_dim=lam.settings.quantizer.latent_dim)
    agent = make_online_policy(settings, latent, SPEC, policy, lam)
    assert isinstance(agent, FinetunedPolicy)
    watched = Watched(DecoderRefits(agent, lam, settings.decoder, steps_a_rollout=settings.ppo.steps_a_rollout, seed=0))
    started = time.perf_counter()
    curve = train_online(
        agent, settings.ppo, seed=0, levels=Levels(1000, all_levels=False), refits=watched, metrics=MetricsLog(),
        state_dir=None, identity="", title="",
    )  # fmt: skip
    buffer = watched.refits.buffer
    held = sum(part.untyped_storage().nbytes() for part in (buffer.latents, buffer.actions))
    resident = [reading / 2**20 for reading in watched.resident]
    tenth = max(1, len(resident) // 10)
    early, late = median(resident[2 * tenth : 4 * tenth]), median(resident[-2 * tenth :])
    row_bytes = held / CAPACITY
    print(
        json.dumps(
            {
                "benchmark": "label_buffer",
                "machine": machine_facts(1),
                "env_steps": curve[-1].env_steps,
                "transitions_labelled": buffer.num_added,
                "transitions_held": len(buffer),
                "buffer_mib": round(held / 2**20, 1),
                "unbounded_mib": round(buffer.num_added * row_bytes / 2**20, 1),
                "resident_mib": [round(value, 1) for value in resident[:: max(1, len(resident) // SAMPLES)]],
                "resident_mib_early": round(early, 1),
                "resident_mib_late": round(late, 1),
                "growth": round(late / early, 4),
                "env_steps_per_second": round(curve[-1].env_steps / (time.perf_counter() - started)),
            }
        )
    )


if __name__ == "__main__":
    main(*arguments(__doc__, "steps"))
