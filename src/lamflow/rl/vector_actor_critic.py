"""What PPO trains over vectors: two MLPs over observations that are normalised by their running moments.

Legend: B batch, E entries of a part, F features, P numbers of a distribution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.actions import actions_of
from lamflow.policies.inputs import PolicyInputs
from lamflow.rl.actor_critic import ActorCritic, Encoded, initialise_head
from lamflow.spaces import Categories, Part, Vector

FURTHEST = 10.0
"""Standard deviations from the running mean, of an input."""


class RunningMoments(nn.Module):
    """Mean and variance float64 [E] of all that was seen, merged batch by batch (Chan et al. 1979); they are saved with the weights.

    As in OpenAI Baselines' VecNormalize: before anything was seen mean and variance are 0 and 1, of weight 1e-4.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(entries, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(entries, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(1e-4, dtype=torch.float64))

    @torch.no_grad()
    def merge(self, values_BE: Tensor) -> None:
        """Take in a batch."""
        values, count = values_BE.double(), len(values_BE)
        total, delta = self.count + count, values.mean(0) - self.mean
        squares = self.variance * self.count + values.var(0, correction=0) * count
        self.variance.copy_((squares + delta.square() * self.count * count / total) / total)
        self.mean.add_(delta * count / total)
        self.count.copy_(total)

    def forward(self, values_BE: Tensor) -> Tensor:
        """float32 [B, E]: normalised, and cut at ``FURTHEST``."""
        normalised = (values_BE.double() - self.mean) / (self.variance + 1e-8).sqrt()
        return normalised.clamp(-FURTHEST, FURTHEST).float()


def _tanh_mlp(num_features: int, width: int, num_outputs: int, gain: float) -> nn.Sequential:
    """Two hidden layers; orthogonal weights, those of the output of ``gain``."""
    hidden = [
        initialise_head(nn.Linear(num_features, width), math.sqrt(2)),
        nn.Tanh(),
        initialise_head(nn.Linear(width, width), math.sqrt(2)),
        nn.Tanh(),
    ]
    return nn.Sequential(*hidden, initialise_head(nn.Linear(width, num_outputs), gain))


class VectorActorCritic(ActorCritic):
    """A policy and a value, two tanh MLPs of two hidden layers (Schulman et al. 2017), over all parts of an observation, which are vectors.

    Numbers are normalised by ``moments``, categories one-hot. Continuous actions are drawn from a Gaussian whose deviation, ``spread``
    (its logarithm), is the same in all states.
    """

    def __init__(self, *, spec: EnvironmentSpec, hidden_width: int) -> None:
        super().__init__()
        self.spec, self.space = spec, actions_of(spec)
        self.moments = nn.ModuleDict(
            {_module_name(name): RunningMoments(part.shape[0]) for name, part in _vectors(spec).items()}
        )
        num_features = sum(map(_num_features, spec.observation.values()))
        self.policy = _tanh_mlp(num_features, hidden_width, self.space.num_scores, 0.01)
        self.value = _tanh_mlp(num_features, hidden_width, 1, 1.0)
        self.spread = nn.Parameter(torch.zeros(self.space.num_spreads))

    def observe(self, inputs: PolicyInputs) -> None:
        """Take the present observations into the moments."""
        for name in _vectors(self.spec):
            self._moments_of(name).merge(inputs.present(name))

    def encode(self, inputs: PolicyInputs) -> Encoded:
        """The features of the present observations, float32 [B, F], by the moments as they are now."""
        return (torch.cat([self._features(name, inputs.present(name)) for name in self.spec.observation], dim=-1),)

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Distributions float32 [B, P] and values float32 [B]."""
        (features_BF,) = encoded
        return self.space.distribution(self.policy(features_BF), self.spread), self.value(features_BF).float()[:, 0]

    def _features(self, name: str, values_BE: Tensor) -> Tensor:
        part = self.spec.observation[name]
        if isinstance(part, Categories):
            entries = zip(values_BE.long().unbind(-1), part.sizes, strict=True)
            return torch.cat([functional.one_hot(entry, size).float() for entry, size in entries], dim=-1)
        normalised: Tensor = self._moments_of(name)(values_BE)
        return normalised

    def _moments_of(self, name: str) -> RunningMoments:
        moments = self.moments[_module_name(name)]
        assert isinstance(moments, RunningMoments)
        return moments


def _vectors(spec: EnvironmentSpec) -> dict[str, Vector]:
    return {name: part for name, part in spec.observation.items() if isinstance(part, Vector)}


def _num_features(part: Part) -> int:
    return sum(part.sizes) if isinstance(part, Categories) else part.shape[0]


def _module_name(part: str) -> str:
    """A part may be called what modules have as an attribute, such as ``keys`` or ``type``."""
    return f"of_{part}"
