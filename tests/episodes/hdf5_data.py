"""Writes HDF5 files by h5py as robomimic, LIBERO, D4RL and ACT lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

LENGTHS = {"demo_0": 4, "demo_1": 3, "demo_2": 5, "demo_10": 2}


def pictures(demo: str, rows: int, shape: tuple[int, ...] = (64, 64, 3)) -> NDArray[np.uint8]:
    """Noise, which no lossy codec keeps."""
    return np.random.default_rng(list(demo.encode())).integers(0, 256, (rows, *shape), np.uint8)


def numbers(demo: str, rows: int, entries: int = 7) -> NDArray[np.float64]:
    return np.random.default_rng([*demo.encode(), 1]).uniform(-1, 1, (rows, entries))


def write(
    path: Path, arrays: dict[str, Any], attributes: dict[str, dict[str, Any]] | None = None, **options: Any
) -> Path:
    """A file of ``arrays`` by their names, with ``attributes`` of groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **options)
        for group, values in (attributes or {}).items():
            file.require_group(group).attrs.update(values)
    return path


def demo(name: str, rows: int) -> dict[str, Any]:
    """An episode as robomimic records it, without the folder of the demo."""
    return {
        "actions": numbers(name, rows),
        "dones": np.arange(rows) == rows - 1,
        "rewards": np.arange(rows, dtype=float),
        "states": numbers(name, rows, 20),
        "obs/agentview_image": pictures(name, rows),
        "obs/robot0_eye_in_hand_image": pictures(name + "hand", rows, (48, 48, 3)),
        "obs/robot0_eef_pos": numbers(name + "pos", rows, 3),
        "next_obs/agentview_image": pictures(name + "next", rows),
    }


def robomimic(path: Path, changes: dict[str, Any] | None = None, **options: Any) -> Path:
    """Four demos; ``changes``: arrays by their whole names, None where there is none."""
    arrays = {
        f"data/{name}/{key}": values for name, rows in LENGTHS.items() for key, values in demo(name, rows).items()
    }
    arrays |= {"mask/train": np.array([b"demo_0", b"demo_2", b"demo_10"]), "mask/valid": np.array([b"demo_1"])}
    arrays |= {"mask/20_percent": np.array([b"demo_0"])}
    arrays = {key: values for key, values in (arrays | (changes or {})).items() if values is not None}
    env_args = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}})
    return write(path, arrays, {"data": {"env_args": env_args, "total": 14}}, **options)


def libero(path: Path, name: str = "demo_0", rows: int = 3) -> Path:
    """A task of LIBERO: smaller names, integer flags and rewards."""
    group = f"data/{name}"
    arrays = {
        f"{group}/actions": numbers(name, rows),
        f"{group}/dones": (np.arange(rows) == rows - 1).astype(np.uint8),
        f"{group}/rewards": (np.arange(rows) == rows - 1).astype(np.uint8),
        f"{group}/robot_states": numbers(name, rows, 9),
        f"{group}/obs/agentview_rgb": pictures(path.stem + name, rows, (128, 128, 3)),
        f"{group}/obs/eye_in_hand_rgb": pictures(name, rows, (128, 128, 3)),
        f"{group}/obs/gripper_states": numbers(name, rows, 2),
    }
    return write(path, arrays)


def d4rl(path: Path, changes: dict[str, Any] | None = None, rows: int = 12) -> Path:
    """Episodes of rows 0 to 4 (ended), 5 to 8 (timed out) and 9 to 11 (cut)."""
    arrays: dict[str, Any] = {
        "observations": numbers("o", rows, 11).astype(np.float32),
        "next_observations": numbers("n", rows, 11).astype(np.float32),
        "actions": numbers("a", rows, 3).astype(np.float32),
        "rewards": np.arange(rows, dtype=np.float32),
        "terminals": np.arange(rows) == 4,
        "timeouts": np.arange(rows) == 8,
        "infos/qpos": numbers("q", rows, 6),
        "metadata/algorithm": np.array(b"SAC"),
    }
    return write(path, {key: values for key, values in (arrays | (changes or {})).items() if values is not None})


def act(path: Path, rows: int = 4) -> Path:
    """An episode as ACT records it, in a file of its own."""
    name = path.stem
    arrays = {
        "action": numbers(name, rows, 14).astype(np.float32),
        "observations/images/top": pictures(name, rows, (48, 64, 3)),
        "observations/qpos": numbers(name + "q", rows, 14),
    }
    return write(path, arrays)
