"""A policy that Stable-Baselines3 has saved demonstrates in an environment of Gymnasium.

Legend: B slots of a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.envs.gymnasium_facts import make_environment
from lamflow.envs.gymnasium_parts import shown, shown_space
from lamflow.envs.gymnasium_saved_policy import SavedPolicy, load_saved, read_saved
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.play.episodes import Actor
from lamflow.rl.disturbance import Disturbance
from lamflow.training.checkpoint import read_model, save_model
from lamflow.training.precision import default_device

KIND = "stable_baselines3"


def take_over(spec: EnvironmentSpec, seed: int, output: Path) -> None:
    """Copy the files of the policy, as they are, into the demonstrator's: what demonstrated stays with the results. ValueError when one is
    missing, is another than was planned with, or cannot be loaded."""
    saved = spec.own["saved"]
    contents = read_saved(saved)
    load_saved(saved, contents)
    tensors = {key: torch.frombuffer(bytearray(content), dtype=torch.uint8) for key, content in contents.items()}
    save_model(output, tensors, {"kind": KIND, "env": spec.name, "seed": seed, "saved": saved})


def load_taken_over(path: Path, spec: EnvironmentSpec) -> SavedPolicy:
    """The policy in a demonstrator's file, on the GPU where there is one; ValueError when the file is missing, damaged, or of another
    environment or policy."""
    tensors, header = read_model(path)
    expected = {"kind": KIND, "env": spec.name, "saved": spec.own["saved"]}
    if {key: header.get(key) for key in expected} != expected:
        raise ValueError(
            f"{path}: found the demonstrator {header.get('kind')!r} of {header.get('env')!r}, expected that of {spec.name} by "
            f"{spec.own['saved']['path']}; run train_expert again"
        )
    contents = {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}
    return load_saved(spec.own["saved"], contents, str(default_device()))


class SavedPolicyActor(Actor):
    """Acts by a saved policy, for all slots at once, as ``disturbance`` lets it.

    A recurrent policy sees every observation, also where chance acts, and its state begins anew with each episode.
    ``policy``: None where all actions are random.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        policy: SavedPolicy | None,
        disturbance: Disturbance,
        num_slots: int,
    ) -> None:
        self.spec, self._policy, self._disturbance = spec, policy, disturbance
        self._space = space_shown(spec)
        self._state: tuple[NDArray[Any], ...] | None = None
        self._starts = np.ones(num_slots, np.bool_)

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        self._starts[slots] = True

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        actions = np.zeros((len(self._starts), *self.spec.action.shape), self.spec.action.dtype)
        if self._policy is not None:
            seen = shown(self._space, observation.parts)
            chosen, self._state = self._policy.act(seen, self._state, self._starts)
            actions[:] = chosen
        self._starts[:] = False
        for slot in slots.tolist():
            actions[slot] = self._disturbance(actions[slot])
        return actions

    def keep(self, slots: NDArray[np.int64]) -> None:
        self._starts = self._starts[slots]
        if self._state is not None:
            self._state = tuple(part[:, slots] for part in self._state)


def space_shown(spec: EnvironmentSpec) -> Any:
    """The space of the observations that a policy from elsewhere gets."""
    environment = make_environment(spec.own)
    try:
        return shown_space(environment.observation_space, spec.own["resize"])
    finally:
        environment.close()
