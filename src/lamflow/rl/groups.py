"""The groups of PPO's environments, which take turns: one as its policy sees it, and as a table that plays.

Legend: T steps of a rollout, E environments, G environments of a group, N some of them, P numbers of a distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.envs.interface import Observation, StepResult
from lamflow.envs.levels import LevelStream
from lamflow.envs.registry import make_vector_environment
from lamflow.policies.contexts import ContextMemory
from lamflow.rl.actor_critic import ActorCritic
from lamflow.rl.experience import Answer, Rollout


class Group:
    """``columns`` of a learner's environments, stepped together on an endless stream of levels, and the policy that acts in them."""

    def __init__(
        self,
        network: ActorCritic,
        columns: slice,
        stream: LevelStream,
        device: torch.device,
        *,
        num_rulesets: int,
        num_threads: int,
    ) -> None:
        self.columns = columns
        self._network, self._stream = network, stream
        size = columns.stop - columns.start
        self.environment = make_vector_environment(
            network.spec, size, num_rulesets=num_rulesets, level_stream=stream, num_threads=num_threads
        )
        self.present = self.environment.reset(np.array([next(stream) for _ in range(size)], np.int64))
        self._memory = ContextMemory(self.present, network.context, device)

    @property
    def frames(self) -> NDArray[Any]:
        """The main part of the present observations, [G, ...]."""
        return self.present.parts[self._network.spec.main]

    def answer(self) -> Answer:
        """What the policy makes of the present observations, and what is drawn from it."""
        encoded = self._network.encode(self._memory.present)
        distributions_GP, values_G = self._network.evaluate(encoded)
        space = self._network.space
        samples = space.sample(distributions_GP)
        return Answer(encoded, samples, space.log_density(distributions_GP, samples), values_G)

    def observe(self) -> None:
        """Let the policy learn from the present observations what it normalises them by."""
        self._network.observe(self._memory.present)

    def taken(self, answer: Answer) -> NDArray[Any]:
        """What the environment gets of an answer, [G, ...]."""
        chosen: NDArray[Any] = self._network.space.taken(answer.samples).cpu().numpy()
        return chosen

    def values(self) -> Tensor:
        """Of the present observations, float32 [G]."""
        return self._network.evaluate(self._network.encode(self._memory.present))[1]

    def values_after(self, observation: Observation, rows: NDArray[np.int64]) -> Tensor:
        """What the values of the slots ``rows`` [N] would be after these ``observation`` [N] of theirs."""
        return self._network.evaluate(self._network.encode(self._memory.after(observation, rows)))[1]

    def see(self, result: StepResult) -> None:
        """Go on to the next observations."""
        self.present = result.observation
        self._memory.see(result.observation, result.terminated | result.truncated)

    def state_dict(self) -> dict[str, Any]:
        return {
            "game": self.environment.save(),
            "position": self._stream.position,
            "memory": self._memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.present = self.environment.restore(state["game"])
        self._stream.position = state["position"]
        self._memory.load_state_dict(state["memory"])


class GroupTable:
    """A group that plays while ``goes_on``; ``follow`` is told of each step."""

    def __init__(self, group: Group, goes_on: Callable[[], bool], follow: Callable[[StepResult], Any]) -> None:
        self.environment = group.environment
        self._group, self._goes_on, self._follow = group, goes_on, follow

    @property
    def running(self) -> bool:
        return self._goes_on()

    def act(self) -> NDArray[Any]:
        return self._group.taken(self._group.answer())

    def note(self) -> None:
        """Nothing is kept."""

    def receive(self, result: StepResult) -> tuple[()]:
        self._follow(result)
        return ()


class RolloutTable:
    """A group that fills its columns of a rollout; ``follow`` is told of each step and of its place in the rollout."""

    def __init__(self, group: Group, rollout: Rollout, follow: Callable[[StepResult, int], Any]) -> None:
        self.environment = group.environment
        self._group, self._rollout, self._follow = group, rollout, follow
        self._step = 0

    @property
    def running(self) -> bool:
        return self._step < self._rollout.num_steps

    def act(self) -> NDArray[Any]:
        self._group.observe()
        self._answer = self._group.answer()
        return self._group.taken(self._answer)

    def note(self) -> None:
        self._rollout.keep_answer(self._step, self._group.columns, self._answer, self._group.frames)

    def receive(self, result: StepResult) -> tuple[()]:
        """The outcome, with the values of the last observations of episodes that were cut, where they are seen."""
        rows, cut_values = np.flatnonzero(result.truncated), None
        if result.final_observation is not None and len(rows):
            cut_values = self._group.values_after(result.final_observation[rows], rows)
        self._rollout.keep_outcome(self._step, self._group.columns, result, cut_values)
        self._follow(result, self._step)
        self._step += 1
        return ()
