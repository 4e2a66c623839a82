"""What PPO trains: a policy and a value of what an agent sees. Those of the demonstrators are here.

Legend: B batch, K context frames, A actions, F features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.impala import ImpalaEncoder
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.policies.actions import Actions, DiscreteActions
from lamflow.policies.inputs import PolicyInputs

Encoded = tuple[Tensor, ...]
"""What a rollout keeps of B inputs, each [B, ...]."""


class ActorCritic(nn.Module):
    """pi(a | o) and V(o), in two parts: what a training leaves alone is computed once a step, when the agent acts.

    ``context``: frames of an input.
    """

    spec: EnvironmentSpec
    space: Actions
    context: int = 1

    def observe(self, inputs: PolicyInputs) -> None:
        """Told of what it will act on in a rollout, once; by default nothing is learnt of it."""

    def encode(self, inputs: PolicyInputs) -> Encoded:
        """The part that is no function of the trained parameters, or the inputs themselves."""
        raise NotImplementedError

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Distributions over actions float32 [B, P] (``Actions.distribution``) and values float32 [B]."""
        raise NotImplementedError


def initialise_head(head: nn.Linear, gain: float) -> nn.Linear:
    """Orthogonal weights and zero biases, as is usual for PPO (Huang et al. 2022)."""
    nn.init.orthogonal_(head.weight, gain)
    nn.init.zeros_(head.bias)
    return head


class PixelActorCritic(ActorCritic):
    """The expert's network over pixels: an IMPALA encoder with a policy and a value head. Masked actions have probability 0."""

    masked: Tensor

    def __init__(self, *, settings: ImpalaSettings, spec: EnvironmentSpec, mask_duplicate_actions: bool) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = ImpalaEncoder(settings=settings, num_frames=1, frame_shape=spec.frame_shape)
        self.space = space = DiscreteActions.of(spec)
        self.policy = initialise_head(nn.Linear(settings.hidden_width, space.num_outputs), 0.01)
        self.value = initialise_head(nn.Linear(settings.hidden_width, 1), 1.0)
        duplicates = [mask_duplicate_actions and first != a for a, first in enumerate(spec.class_of_action)]
        self.register_buffer("masked", torch.tensor(duplicates), persistent=False)

    def encode(self, inputs: PolicyInputs) -> Encoded:
        """The present frames."""
        return (inputs.present(self.spec.main),)

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """See ``forward``."""
        return self(*encoded)

    def forward(self, frames_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, H, W, 3] to log-probabilities float32 [B, A] and values float32 [B]."""
        features = self.encoder(frames_BHWC[:, None])
        logits = self.policy(features).float().masked_fill(self.masked, -torch.inf)
        return self.space.distribution(logits, logits.new_zeros(0)), self.value(features).float()[:, 0]


class GridActorCritic(ActorCritic):
    """The expert's network over egocentric grids: one-hot view, direction and carried object into an MLP with two heads.

    ``lamflow.rl.xland_actor_critic`` computes the same in JAX, where episodes are collected.
    """

    def __init__(self, *, spec: EnvironmentSpec, hidden_width: int) -> None:
        super().__init__()
        self.spec = spec
        height, width, _ = spec.frame_shape
        self.num_cells = height * width + 1  # the last one is the pocket
        tiles, colors = spec.category_sizes
        directions, *_ = spec.proprioception_sizes
        num_features = self.num_cells * (tiles + colors) + directions
        self.hidden1 = initialise_head(nn.Linear(num_features, hidden_width), math.sqrt(2))
        self.hidden2 = initialise_head(nn.Linear(hidden_width, hidden_width), math.sqrt(2))
        self.space = DiscreteActions.of(spec)
        self.policy = initialise_head(nn.Linear(hidden_width, self.space.num_outputs), 0.01)
        self.value = initialise_head(nn.Linear(hidden_width, 1), 1.0)

    def encode(self, inputs: PolicyInputs) -> Encoded:
        """The features of the present frames and proprioception."""
        return (self.features(inputs.present(self.spec.main), inputs.present("proprioception")),)

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Log-probabilities float32 [B, A] and values float32 [B]."""
        (features_BF,) = encoded
        hidden = torch.tanh(self.hidden2(torch.tanh(self.hidden1(features_BF.float()))))
        return self.space.distribution(self.policy(hidden), hidden.new_zeros(0)), self.value(hidden).float()[:, 0]

    def features(self, frames_BHW2: Tensor, proprioception_B3: Tensor) -> Tensor:
        """uint8 [B, F]: one-hot tiles, then colours, of the view's cells and the pocket; one-hot direction."""
        tiles, colors = self.spec.category_sizes
        cells_BN2 = torch.cat([frames_BHW2.flatten(1, 2), proprioception_B3[:, None, 1:]], dim=1).long()
        parts = [
            functional.one_hot(cells_BN2[..., 0], tiles).flatten(1),
            functional.one_hot(cells_BN2[..., 1], colors).flatten(1),
            functional.one_hot(proprioception_B3[:, 0].long(), self.spec.proprioception_sizes[0]),
        ]
        return torch.cat(parts, dim=1).byte()
