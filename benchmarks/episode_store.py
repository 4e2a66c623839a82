"""Megabytes a second of writing and reading an episode store, checksums included, on the temporary file system.

Claim: the store costs seconds at the quickstart's size. Rates count decoded bytes; the episodes are random play of the real
simulator, so that they compress as real ones do. Prints one JSON object.
"""

import json
import tempfile
import time
from pathlib import Path

from bench.command import arguments

from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.envs.levels import draw_levels
from lamflow.envs.presets import preset
from lamflow.envs.rollouts import rollout
from lamflow.envs.xland import make_simulator
from lamflow.experiment.reading import read_experiment
from lamflow.rl.demonstrators import act_randomly

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
PLAYED_EPISODES = 128


def decoded_bytes(arrays: EpisodeArrays) -> int:
    columns = [
        getattr(arrays, name) for name in EpisodeArrays.__dataclass_fields__ if name not in ("observations", "main")
    ]
    return sum(column.nbytes for column in (*columns, *arrays.observations.values()))


def main() -> None:
    experiment = read_experiment(CONFIG)
    env, count = experiment.envs[0], experiment.collection.train_episodes
    levels = draw_levels(preset(env), "train", PLAYED_EPISODES, seed=0)
    played = list(rollout(make_simulator(preset(env)), act_randomly, None, levels, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        path, attributes = Path(folder) / "train.zarr", {"source": "benchmark", "licence": "none"}
        started = time.perf_counter()
        with EpisodeWriter(path, spec=preset(env), split="train", attributes=attributes) as writer:
            for index in range(count):
                writer.append(played[index % len(played)])
        written = time.perf_counter() - started
        started = time.perf_counter()
        arrays = EpisodeStore.open(path).load()
        read = time.perf_counter() - started
        on_disk = sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    megabytes = decoded_bytes(arrays) / 1e6
    print(
        json.dumps(
            {
                "benchmark": "episode_store",
                "env": env,
                "episodes": count,
                "rows": arrays.num_rows,
                "decoded_megabytes": round(megabytes, 1),
                "disk_megabytes": round(on_disk / 1e6, 1),
                "write_megabytes_per_second": round(megabytes / written, 1),
                "read_megabytes_per_second": round(megabytes / read, 1),
                "write_seconds": round(written, 2),
                "read_seconds": round(read, 2),
            }
        )
    )


if __name__ == "__main__":
    arguments(__doc__)
    main()
