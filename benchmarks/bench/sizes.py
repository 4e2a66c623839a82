"""The sizes at which networks are measured: those of the shipped configurations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bench import plain
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.experiment.reading import read_experiment
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.methods.latent_settings import LatentMethodSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.policies.network import PolicyNetwork

CONFIG = Path(__file__).parents[2] / "config"
SIZES = {
    "paper": ("paper.yaml", "procgen-coinrun"),
    "procgen_laptop": ("procgen_laptop.yaml", "procgen-coinrun"),
    "quickstart": ("config.yaml", "xland-doorkey-6x6-full"),
}
"""File and environment. ``paper``: LAPO's exact sizes."""


@dataclass(frozen=True)
class Size:
    """One configuration's environment, latent action model and latent method."""

    name: str
    spec: EnvironmentSpec
    lam: OneStepSettings
    method: LatentMethodSettings

    @property
    def latent_dim(self) -> int:
        return self.lam.quantizer.latent_dim

    def model(self) -> OneStepLam:
        """The latent action model with its first weights, always the same ones."""
        torch.manual_seed(0)
        return OneStepLam(settings=self.lam, spec=self.spec)

    def plain_model(self) -> plain.LatentActionModel:
        """The plain form of ``model()``, with the same weights."""
        model = plain.LatentActionModel(self.lam, self.spec.frame_shape[0])
        model.load_state_dict(self.model().state_dict())
        return model

    def policy(self) -> PolicyNetwork:
        """The latent policy with its first weights, always the same ones."""
        torch.manual_seed(0)
        return PolicyNetwork(settings=self.method.policy, spec=self.spec, output_dim=self.latent_dim)

    def plain_policy(self) -> plain.Policy:
        """The plain form of ``policy()``, with the same weights."""
        settings = self.method.policy
        assert isinstance(settings.network, ImpalaSettings)
        policy = plain.Policy(settings.network, self.spec.frame_shape[0], self.latent_dim)
        policy.load_state_dict(self.policy().state_dict())
        return policy


def read_size(name: str) -> Size:
    """Of a shipped configuration, its LAM and method ``lapo``."""
    file, env = SIZES[name]
    experiment = read_experiment(CONFIG / file)
    method = experiment.methods["lapo"]
    assert isinstance(method, LatentMethodSettings)
    return Size(name, preset(env), experiment.lams["lapo"], method)
