"""Agents: what rollouts call. One agent holds M members (label counts x label draws) that share a policy or have their own.

Shapes: B batch (rows of all members mixed), K context frames, A actions, F feature width (a recurrent state's too), S latents drawn,
O entries of what is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from lamflow.envs.interface import Observation
from lamflow.policies.actions import Actions
from lamflow.policies.contexts import first_inputs, next_inputs
from lamflow.policies.decoders import Decode
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork, inference_precision
from lamflow.policies.settings import ActionSelection, PolicySettings
from lamflow.training.precision import Precision, autocast


@dataclass
class AgentState:
    """What an agent remembers of B running episodes, on its device: its last inputs and, if recurrent, its state float32 [B, S]."""

    inputs: PolicyInputs
    recurrent: Tensor

    def __getitem__(self, rows: Tensor) -> AgentState:
        rows = rows.to(self.recurrent.device)
        return AgentState(self.inputs.map(lambda part: part[rows]), self.recurrent[rows])

    def put(self, rows: Tensor, part: AgentState) -> None:
        """Write the states of some rows back."""
        rows = rows.to(self.recurrent.device)
        self.inputs.put(rows, part.inputs)
        self.recurrent[rows] = part.recurrent


class Agent(Protocol):
    """Batched: ``act`` answers one action for each row, by the member that the row belongs to."""

    num_members: int
    precision: Precision | None
    """In which its networks compute; None without one."""

    def initial_state(self, observation: Observation) -> AgentState:
        """The state before the first action of B episodes that begin with ``observation``."""
        ...

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        """Actions [B, ...] on the CPU for the present observations, and the state to pass with the next ones."""
        ...


class ActingNetwork(Protocol):
    """A network that answers contexts: a ``PolicyNetwork``, or one fine-tuned online, which is not recurrent."""

    settings: PolicySettings

    def __call__(self, inputs: PolicyInputs) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def eval(self) -> Self: ...


class PolicyAgent:
    """A policy network for all members, or one each, whose outputs ``decode`` turns into answers in true actions of ``space``.

    The networks, all of one architecture, compute on the device that they are on, in ``precision``: see ``inference_precision``. Where
    they have a head, it draws latents z_s with weights w_s there, and the answer is the mean sum_s w_s decode(z_s). All that
    is random comes from ``seed``.
    """

    def __init__(
        self,
        *,
        networks: Sequence[ActingNetwork],
        num_members: int,
        space: Actions,
        decode: Decode,
        action_selection: ActionSelection,
        seed: int,
        decodes_features: bool = False,
    ) -> None:
        assert len(networks) in (1, num_members)
        self.networks = [network.eval() for network in networks]
        self.device = next(networks[0].parameters()).device
        self.precision: Precision | None = inference_precision(networks[0].settings.network, networks[0].parameters())
        self.num_members = num_members
        self.space = space
        self.decode = decode
        self.decodes_features = decodes_features
        self.action_selection = action_selection
        self.generator = torch.Generator().manual_seed(seed)

    def initial_state(self, observation: Observation) -> AgentState:
        settings = self.networks[0].settings
        width = settings.network.hidden_width if settings.recurrent else 0
        inputs = first_inputs(observation, 1 if settings.recurrent else settings.context, self.device)
        return AgentState(inputs, torch.zeros(len(observation), width, device=self.device))

    @torch.inference_mode()
    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        inputs = next_inputs(state.inputs, observation)
        weights_BS, decoded_BSO, recurrent_BF = self._answers(inputs, state.recurrent, members)
        samples = weights_BS.shape[1]
        answers = self.decode(decoded_BSO.flatten(0, 1).cpu(), members.repeat_interleave(samples))
        mean = self.space.average(weights_BS.cpu(), answers.unflatten(0, (-1, samples)))
        return self.space.choose(mean, self.action_selection, self.generator), AgentState(inputs, recurrent_BF)

    def _answers(self, inputs: PolicyInputs, recurrent_BF: Tensor, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the networks of the rows' members answer, see ``run``."""
        if len(self.networks) == 1:
            return self.run(self.networks[0], inputs, recurrent_BF)
        order = members.argsort(stable=True).to(self.device)
        sizes = members.bincount(minlength=self.num_members).tolist()
        answers = [
            self.run(network, inputs.map(itemgetter(rows)), recurrent_BF[rows])
            for network, rows in zip(self.networks, order.split(sizes), strict=True)
            if len(rows)
        ]
        back = order.argsort()
        weights, decoded, states = (torch.cat(part)[back] for part in zip(*answers, strict=True))
        return weights, decoded, states

    def run(self, network: ActingNetwork, inputs: PolicyInputs, recurrent_BF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of one network, float32: weights [B, S] of what is to be decoded [B, S, O] (S is 1 without a head), and the next recurrent
        states, which stay as they are if it has none."""
        assert self.precision is not None
        with autocast(self.precision.name, self.device):
            if not isinstance(network, PolicyNetwork):
                features = outputs = network(inputs)
            elif network.settings.recurrent:
                outputs, recurrent_BF = network.step(inputs, recurrent_BF)
                features = recurrent_BF
            else:
                features = network.features(inputs)
                outputs = network.outputs(features)
        head = network.head if isinstance(network, PolicyNetwork) else None
        if head is not None:
            weights, decoded = head.draw(outputs.float(), self.generator)
        else:
            weights, decoded = outputs.new_ones((outputs.shape[0], 1), dtype=torch.float32), outputs.float()[:, None]
        if self.decodes_features:
            beside = features.float()[:, None].expand(-1, decoded.shape[1], -1)
            decoded = torch.cat([decoded, beside], dim=-1)
        return weights, decoded, recurrent_BF.float()


class RandomAgent:
    """Uniformly random actions."""

    num_members = 1
    precision: Precision | None = None

    def __init__(self, space: Actions, *, seed: int) -> None:
        self.space = space
        self.generator = torch.Generator().manual_seed(seed)

    def initial_state(self, observation: Observation) -> AgentState:
        empty = torch.zeros(len(observation), 0)
        return AgentState(PolicyInputs({}, empty), empty)

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        return self.space.random(len(members), self.generator), state
