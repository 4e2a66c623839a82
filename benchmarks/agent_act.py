"""Milliseconds of ``agent.act`` in one observation and in a batch, of agents of the shipped configurations' sizes, loaded from files.

Each agent is a latent policy and its action decoder, trained for a step, saved by the workflow's own stages and read by
``lamflow.load_agent``. Observations are numpy arrays, as an environment gives them, so reading them is part of the time. A step of a robot
or a game at 30 frames per second may take 33 ms. Prints one JSON object; ``python benchmarks/agent_act.py [size ...]`` measures some sizes.
"""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench.arms import Figures, Round, report, rounded, take_turns
from bench.command import arguments
from bench.data import write_latents, write_store
from bench.sizes import SIZES, Size, read_size

import lamflow
from lamflow.envs.tiles import AGENT_TILE
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_policy import train_policy
from lamflow.training.memory import keep_freed_memory

ROWS = 400
BATCH = 64
SECONDS = 0.5
"""Of a round, at least."""
ROUNDS = 5
ONE_STEP = {"steps": 1, "batch_size": 8, "warmup_steps": 0, "validate_every": 1, "checkpoint_every": 1}
LABELS = (64,)


def save_agent(size: Size, folder: Path) -> Path:
    """Files of an agent in the layout of results; the folder that ``load_agent`` takes."""
    store = write_store(folder / "train.zarr", size.spec, ROWS)
    latents = write_latents(folder / "latents.zarr", store, size.latent_dim).path
    method = size.method.model_dump(mode="json")
    for trained in (method["policy"], method["decoder"]):
        trained["training"] |= ONE_STEP
    common: dict[str, Any] = {"environment": size.spec.facts(), "method": "lapo", "settings": method, "seed": 0}
    common |= {"labels": LABELS, "label_draws": 1, "train": store.path, "latents": latents}
    place = Path(size.spec.name, "lapo", "seed0")
    train_action_decoders(**common, output=folder / "decoders" / place / "decoders.safetensors")
    policy = folder / "policies" / place / "policy.safetensors"
    train_policy(
        **common,
        logging={},
        validation=store.path,
        validation_latents=latents,
        decoders=None,
        output=policy,
        metrics=policy.with_name("metrics.csv"),
        state_dir=folder / "state",
    )
    return policy.parent


def act_arm(size: Size, agent: Path, batch: int | None) -> Round:
    """Rounds of acting in one observation, or in ``batch`` at once."""
    keep_freed_memory()
    loaded, generator = lamflow.load_agent(agent), np.random.default_rng(0)
    leading = () if batch is None else (batch,)
    observation = {
        name: generator.integers(0, 2, (*leading, *part.shape)).astype(part.dtype)
        for name, part in size.spec.observation.items()
    }
    if size.spec.view == "full":
        observation["frames"][..., 1, 1, 0] = AGENT_TILE

    def play() -> Figures:
        started, calls = time.perf_counter(), 0
        while (spent := time.perf_counter() - started) < SECONDS:
            loaded.act(observation)
            calls += 1
        return {"milliseconds": 1e3 * spent / calls}

    return play


def measured(size: Size, folder: Path) -> dict[str, float]:
    agent = save_agent(size, folder)
    turns = take_turns(
        {"one": partial(act_arm, size, agent, None), "batch": partial(act_arm, size, agent, BATCH)}, rounds=ROUNDS
    )
    return {
        "milliseconds_of_one": rounded(turns.median("one", "milliseconds")),
        f"milliseconds_of_{BATCH}": rounded(turns.median("batch", "milliseconds")),
        "peak_host_gb": turns.peaks["one"]["peak_host_gb"],
    }


def main(*names: str) -> None:
    sizes = {}
    for name in names or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            sizes[name] = measured(read_size(name), Path(folder))
    report("agent_act", sizes=sizes)


if __name__ == "__main__":
    main(*arguments(__doc__, many="size"))
