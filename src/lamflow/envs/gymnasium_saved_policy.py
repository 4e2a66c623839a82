"""Policies that Stable-Baselines3 has saved, for environments of Gymnasium. The library is an optional extra, imported when one is loaded.

Its files hold pickled objects: to load one runs code that its author chose.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from lamflow.envs.gymnasium_settings import CONTRIB_ALGORITHMS, SavedPolicyDemonstratorSettings
from lamflow.provenance import file_digest

VERSION = "2.9.2"
"""Of both packages in the extra `rl`."""
_PACKAGES = {"stable_baselines3": "stable-baselines3", "sb3_contrib": "sb3-contrib"}


def _no_schedule(_progress: float) -> float:
    return 0.0


_OF_TRAINING_ALONE: Mapping[str, Any] = {
    **dict.fromkeys(("lr_schedule", "clip_range", "clip_range_vf", "exploration_schedule"), _no_schedule),
    "learning_rate": 0.0,
    "buffer_size": 1,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "n_envs": 1,
    "verbose": 0,
    "tensorboard_log": None,
}
"""What a file holds for further training, and what stands in its place: schedules are pickled code that another Python cannot read, and a
replay buffer takes gigabytes."""


def facts_of_saved(settings: SavedPolicyDemonstratorSettings) -> dict[str, Any]:
    """What names a saved policy, with the digests of its files. ValueError when the library or a file is missing."""
    _check_installed(settings.algorithm)
    facts = settings.model_dump(mode="json", exclude={"kind"})
    for key in ("path", "vecnormalize"):
        path = getattr(settings, key)
        facts[f"{key}_sha256"] = None if path is None else file_digest(_file(path, key))
    return facts


def _check_installed(algorithm: str) -> None:
    """ValueError with the command that installs what ``algorithm`` needs and is missing; nothing is imported."""
    missing = [_PACKAGES[name] for name in _packages_of(algorithm) if find_spec(name) is None]
    if missing:
        pinned = " ".join(f"{package}=={VERSION}" for package in missing)
        raise ValueError(
            f"demonstrator.algorithm: {algorithm} needs {' and '.join(missing)}, which this Python lacks: run\n"
            f"    {sys.executable} -m pip install {pinned}"
        )


def _packages_of(algorithm: str) -> tuple[str, ...]:
    return ("stable_baselines3", "sb3_contrib") if algorithm in CONTRIB_ALGORITHMS else ("stable_baselines3",)


def _file(path: str, key: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(
            f"demonstrator.{key}: found no file {path} in the folder {Path.cwd()}, expected one that Stable-Baselines3 has saved"
        )
    return Path(path)


def read_saved(facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a saved policy: ``path``, and ``vecnormalize`` where there is one. ValueError when one is missing, or is another than
    ``facts`` tell of."""
    contents = {}
    for key in ("path", "vecnormalize"):
        if facts[key] is None:
            continue
        if file_digest(path := _file(facts[key], key)) != facts[f"{key}_sha256"]:
            raise ValueError(f"demonstrator.{key}: {path} has changed since the run was planned: start the run again")
        contents[key] = path.read_bytes()
    return contents


@dataclass
class SavedPolicy:
    """``model``: an algorithm of Stable-Baselines3; ``normaliser``: the ``VecNormalize`` of its observations, or None."""

    model: Any
    normaliser: Any
    deterministic: bool

    def seed(self, seed: int) -> None:
        """Seed all that the library draws from: its own generators are those of torch, NumPy and Python."""
        self.model.set_random_seed(seed)

    def act(
        self, observations: Any, state: tuple[NDArray[Any], ...] | None, starts: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions [B, ...] in ``observations``, an array [B, ...] or a dict of them as the environment shows them, and the next state.

        ``state``: that of a recurrent policy, arrays [layers, B, width], at first None; it begins anew where ``starts`` [B].
        """
        if self.normaliser is not None:
            observations = self.normaliser.normalize_obs(observations)
        actions, state = self.model.predict(
            observations, state=state, episode_start=starts, deterministic=self.deterministic
        )
        return actions, state


def load_saved(facts: Mapping[str, Any], contents: Mapping[str, bytes], device: str = "cpu") -> SavedPolicy:
    """The policy of ``read_saved``'s answer, ready to act; ValueError when the library is missing or cannot read a file."""
    algorithm = facts["algorithm"]
    _check_installed(algorithm)
    library = import_module("sb3_contrib") if algorithm in CONTRIB_ALGORITHMS else import_module("stable_baselines3")
    try:
        model = getattr(library, algorithm).load(
            io.BytesIO(contents["path"]), device=device, custom_objects=dict(_OF_TRAINING_ALONE)
        )
    except Exception as error:  # a file of another algorithm or version fails in many ways
        raise ValueError(
            f"demonstrator.path: {facts['path']} cannot be loaded as {algorithm}: {_reason(error)}; expected what {algorithm}.save() of "
            f"Stable-Baselines3 (here {library.__version__}) wrote: see demonstrator.algorithm"
        ) from error
    return SavedPolicy(model, _normaliser(facts, contents), facts["deterministic"])


def _normaliser(facts: Mapping[str, Any], contents: Mapping[str, bytes]) -> Any:
    if "vecnormalize" not in contents:
        return None
    try:
        loaded = pickle.loads(contents["vecnormalize"])  # as VecNormalize.load does
    except Exception as error:  # damage has many faces
        loaded = _reason(error)
    if not hasattr(loaded, "normalize_obs"):
        raise ValueError(
            f"demonstrator.vecnormalize: {facts['vecnormalize']}: found {loaded!r}, expected what VecNormalize.save() wrote"
        )
    return loaded


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


class _Spaces(gymnasium.Env[Any, Any]):
    """An environment of these spaces, which nobody plays."""

    def __init__(self, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


def check_spaces(
    facts: Mapping[str, Any],
    policy: SavedPolicy,
    observation: gymnasium.Space[Any],
    action: gymnasium.Space[Any],
) -> None:
    """ValueError with both sides unless Stable-Baselines3 would let the policy train on in an environment of these spaces, whose pictures
    it turns as it turned those that the policy was trained on."""
    vec_env = import_module("stable_baselines3.common.vec_env")
    environment = vec_env.DummyVecEnv([lambda: _Spaces(observation, action)])
    model = policy.model
    try:
        if policy.normaliser is not None:
            policy.normaliser.set_venv(environment)
            environment = policy.normaliser
        model.set_env(environment)
    except Exception as error:  # it asserts, and raises of several classes
        raise ValueError(
            f"demonstrator.path: {facts['path']} takes the observations {model.observation_space} and the actions {model.action_space}; "
            f"found an environment with {observation} and {action} ({_reason(error)}): name the wrappers under which the policy was "
            "trained, or another policy"
        ) from None
