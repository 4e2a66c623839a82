"""Action decoders out of their file: from latent actions, as a LAM labels frames, to true actions.

Shapes: n transitions, A entries of an action.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lamflow.data.label_budgets import LabelCount
from lamflow.envs.spec import EnvironmentSpec
from lamflow.loaded.agent_files import AgentFiles
from lamflow.loaded.agents import choose_member
from lamflow.loaded.headers import header_of
from lamflow.loaded.lams import Labels, LoadedLam
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.methods.settings import method_settings
from lamflow.policies.actions import actions_of
from lamflow.policies.decoders import Decoder, code_one_hot
from lamflow.policies.members import read_members
from lamflow.spaces import Discrete

FILE = "decoders.safetensors"
SURE = 1e4
"""The logit of the code that a transition has, where decoders take a policy's: its probability is 1."""


class Decoded(NamedTuple):
    """``actions`` int64 [n] or float32 [n, A]; ``confidence`` float32 [n]: the probability of the action, None of continuous ones."""

    actions: NDArray[Any]
    confidence: NDArray[np.float32] | None


class LoadedDecoder:
    """The decoder of one label budget and draw. ``spec``: the environment whose actions it answers."""

    def __init__(self, path: Path, lam: LoadedLam, labels: LabelCount | None, draw: int | None) -> None:
        """ValueError where the file holds no decoders of this model's latents, or where it is to be said whose labels."""
        wanted = f"decoders, such as decoders/<env>/<method>/seed0/{FILE}"
        header = header_of(path, kind="decoders", wanted=wanted, says="method_settings", said="method")
        settings = method_settings(header["method_settings"])
        if not isinstance(settings, LatentMethodSettings):
            raise ValueError(
                f"{path}: found decoders of a method of kind {header['method_settings']['kind']!r}, expected those of latent actions"
            )
        if settings.decoder.sees_observation:
            raise ValueError(
                f"{path}: found decoders that see the observation by a policy's features, expected decoders of latent actions alone"
            )
        self.spec = EnvironmentSpec.from_facts(header["environment"])
        _check_lam(path, header, settings, lam)
        members, weights, _ = read_members(path, env=self.spec.name, method=header["method"], seed=header["seed"])
        files = AgentFiles(self.spec, header["method"], header["seed"], settings, "argmax", {}, tuple(members))
        chosen = choose_member(files, labels, draw, str(path))
        assert chosen is not None
        self.member, self.place, self.path = chosen, members.index(chosen), path
        self.num_codes = int(header["num_codes"])
        self.num_tokens = int(header["num_tokens"]) if settings.target == "codes" else 0
        self.space = actions_of(self.spec)
        decoder: Decoder = settings.decoder.build(
            space=self.space, num_tokens=self.num_tokens, num_codes=self.num_codes
        )
        self._decode = decoder.decode(weights)

    def decode(self, labels: Labels) -> Decoded:
        """The likeliest actions of latents, or of codes where the method is one of codes."""
        inputs = torch.from_numpy(labels.latents)
        if self.num_tokens:
            inputs = SURE * code_one_hot(torch.from_numpy(labels.codes), self.num_codes)
        answers = self._decode(inputs, torch.full((len(inputs),), self.place))
        actions = self.space.choose(answers, "argmax", torch.Generator()).numpy()
        certain = answers.amax(-1).numpy() if isinstance(self.spec.action, Discrete) else None
        return Decoded(actions, certain)


def _check_lam(path: Path, header: dict[str, Any], settings: LatentMethodSettings, lam: LoadedLam) -> None:
    """ValueError unless the decoders are of the latents of this model."""
    found = {"environment": header["env"], "LAM": settings.lam, "seed": header["seed"]}
    wanted = {"environment": lam.spec.name, "LAM": lam.name, "seed": lam.seed}
    for what, value in wanted.items():
        if found[what] != value:
            raise ValueError(
                f"{path}: found decoders of {what} {found[what]!r}, and the model {lam.path} is of {value!r}: give a pair"
            )


def load_decoder(
    file: str | Path, lam: LoadedLam, *, labels: LabelCount | None = None, draw: int | None = None
) -> LoadedDecoder:
    """The decoder of a file ``decoders/<env>/<method>/seed<k>/decoders.safetensors``, or of its folder; ``labels``, ``draw``: which, where
    it holds several. ValueError as ``LoadedDecoder``."""
    path = Path(file)
    return LoadedDecoder(path / FILE if path.is_dir() else path, lam, labels, draw)
