"""Agents: what rollouts call. One agent holds M members (label counts x label draws) that share a policy or have their own.

Shapes: B batch (rows of all members mixed), K context frames, A actions, S recurrent width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import Observation
from lamflow.policies.network import PolicyInputs, PolicyNetwork, inference_autocast


@dataclass
class AgentState:
    """What an agent remembers of B running episodes, on its device: its context and, if recurrent, its state float32 [B, S]."""

    frames: Tensor
    proprioception: Tensor
    begun: Tensor
    recurrent: Tensor

    def __getitem__(self, rows: Tensor) -> AgentState:
        rows = rows.to(self.frames.device)
        return AgentState(self.frames[rows], self.proprioception[rows], self.begun[rows], self.recurrent[rows])

    def put(self, rows: Tensor, part: AgentState) -> None:
        """Write the states of some rows back."""
        rows = rows.to(self.frames.device)
        for name in ("frames", "proprioception", "begun", "recurrent"):
            getattr(self, name)[rows] = getattr(part, name)


class Agent(Protocol):
    """Batched: ``act`` answers one action for each row, by the member that the row belongs to."""

    num_members: int

    def initial_state(self, observation: Observation) -> AgentState:
        """The state before the first action of B episodes that begin with ``observation``."""
        ...

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        """Actions int64 [B] on the CPU for the present observations, and the state to pass with the next ones."""
        ...


Decode = Callable[[Tensor, Tensor], Tensor]
"""(policy outputs float32 [B, O], their members int64 [B]), both on the CPU, to action probabilities [B, A]: decoders are too small
for a GPU."""


class PolicyAgent:
    """A policy network for all members, or one each, whose outputs ``decode`` turns into action probabilities.

    The networks compute on the device that they are on, over pixels in its fastest precision.
    """

    def __init__(
        self,
        *,
        networks: Sequence[PolicyNetwork],
        num_members: int,
        decode: Decode,
        action_selection: Literal["argmax", "sample"],
        seed: int,
    ) -> None:
        assert len(networks) in (1, num_members)
        self.networks = [network.eval() for network in networks]
        self.device = next(networks[0].parameters()).device
        self.num_members = num_members
        self.decode = decode
        self.action_selection = action_selection
        self.generator = torch.Generator().manual_seed(seed)

    def initial_state(self, observation: Observation) -> AgentState:
        settings = self.networks[0].settings
        batch = len(observation)
        context = 1 if settings.recurrent else settings.context
        frames = self._tensor(observation.frames)[:, None].repeat_interleave(context, dim=1)
        proprioception = self._tensor(observation.proprioception)[:, None].repeat_interleave(context, dim=1)
        begun = torch.zeros(batch, context, dtype=torch.bool, device=self.device)
        width = settings.network.hidden_width if settings.recurrent else 0
        return AgentState(frames, proprioception, begun, torch.zeros(batch, width, device=self.device))

    @torch.inference_mode()
    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        state = AgentState(
            torch.cat([state.frames[:, 1:], self._tensor(observation.frames)[:, None]], dim=1),
            torch.cat([state.proprioception[:, 1:], self._tensor(observation.proprioception)[:, None]], dim=1),
            torch.cat([state.begun[:, 1:], torch.ones_like(state.begun[:, :1])], dim=1),
            state.recurrent,
        )
        inputs = PolicyInputs(state.frames, state.begun, state.proprioception, self._tensor(observation.task))
        outputs, state.recurrent = self._outputs(inputs, state.recurrent, members)
        return self._select(self.decode(outputs.cpu(), members)), state

    def _tensor(self, values: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(values).to(self.device)

    def _outputs(self, inputs: PolicyInputs, recurrent_BS: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """What the networks of the rows' members answer: outputs float32 [B, O] and the next recurrent states [B, S]."""
        if len(self.networks) == 1:
            return self._run(self.networks[0], inputs, recurrent_BS)
        order = members.argsort(stable=True).to(self.device)
        sizes = members.bincount(minlength=self.num_members).tolist()
        parts = zip(*(part[order].split(sizes) for part in (*inputs, recurrent_BS)), strict=True)
        answers = [
            self._run(network, PolicyInputs(*seen), recurrent)
            for network, (*seen, recurrent) in zip(self.networks, parts, strict=True)
            if len(recurrent)
        ]
        back = order.argsort()
        outputs, states = (torch.cat(part)[back] for part in zip(*answers, strict=True))
        return outputs, states

    def _run(self, network: PolicyNetwork, inputs: PolicyInputs, recurrent_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs float32 [B, O] of one network and its next recurrent states, which stay as they are if it has none."""
        with inference_autocast(network.settings.network, self.device):
            if network.settings.recurrent:
                outputs, recurrent_BS = network.step(inputs, recurrent_BS)
            else:
                outputs = network(inputs)
        return outputs.float(), recurrent_BS.float()

    def _select(self, probabilities_BA: Tensor) -> Tensor:
        if self.action_selection == "argmax":
            return probabilities_BA.argmax(-1)
        return torch.multinomial(probabilities_BA, 1, generator=self.generator)[:, 0]


class RandomAgent:
    """Uniformly random actions."""

    num_members = 1

    def __init__(self, *, num_actions: int, seed: int) -> None:
        self.num_actions = num_actions
        self.generator = torch.Generator().manual_seed(seed)

    def initial_state(self, observation: Observation) -> AgentState:
        empty = torch.zeros(len(observation), 0)
        return AgentState(empty, empty, empty, empty)

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        return torch.randint(self.num_actions, (len(members),), generator=self.generator), state
