"""Agents out of their files, wherever they were copied to: ``lamflow.load_agent``.

Shapes: B batch.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.label_budgets import LabelCount
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.loaded.agent_files import AgentFiles, find_agent, label_counts, label_draws
from lamflow.loaded.observations import read_observation
from lamflow.methods.acting import Acts
from lamflow.methods.jobs import Job
from lamflow.policies.agents import Agent, AgentState, PolicyAgent
from lamflow.policies.members import Member
from lamflow.policies.settings import ActionSelection
from lamflow.training.precision import Precision


def load_agent(
    folder: str | Path,
    *,
    labels: LabelCount | None = None,
    draw: int | None = None,
    action_selection: ActionSelection | None = None,
) -> LoadedAgent:
    """The agent of a folder that ``lamflow pack`` wrote, or of ``results/<experiment>/policies/<env>/<method>/seed<k>``, whose other files
    (decoders, how actions are taken in rollouts) are found beside it. No configuration is read.

    ``labels``, ``draw``: the label budget and its random draw, where the files hold agents of several. ``action_selection``: ``argmax`` or
    ``sample``; as in the workflow's rollouts where it is not given. ValueError where files are missing, damaged, or do not belong together.
    """
    if action_selection not in (None, *get_args(ActionSelection)):
        raise ValueError(
            f"action_selection: found {action_selection!r}, expected {' or '.join(get_args(ActionSelection))}"
        )
    files = find_agent(Path(folder))
    member = choose_member(files, labels, draw, str(folder))
    counts, draws = label_counts(files), label_draws(files)
    job = Job(files.method, files.spec, files.seed, files.models, counts, draws)
    acts: Acts = files.settings.build()
    members, agent = acts.agent(job, files.action_selection)
    if action_selection is not None and isinstance(agent, PolicyAgent):
        agent.action_selection = action_selection
    place = 0 if member is None else members.index(member)
    return LoadedAgent(OneMember(agent, place), members[place], files)


def choose_member(files: AgentFiles, labels: LabelCount | None, draw: int | None, folder: str) -> Member | None:
    """The one of these labels and draw, None where there are no labels to choose by; ValueError lists those that there are."""
    if not files.members:
        if labels is not None or draw is not None:
            raise ValueError(
                f"{folder}: found {_said(labels, draw)}, and the agent of method {files.method!r} is the same for all: leave "
                "them out"
            )
        return None
    if labels is None and draw is None and files.chosen is not None:
        return files.chosen
    found = [member for member in files.members if labels is None or member.labels == str(labels)]
    found = [member for member in found if member.label_draw == (draw or 0)] or (found if draw is None else [])
    if len(found) == 1:
        return found[0]
    budgets = list(dict.fromkeys(member.labels for member in files.members))
    counts, one = ", ".join(budgets), shlex.quote(budgets[0])
    draws = ", ".join(dict.fromkeys(str(member.label_draw) for member in files.members))
    raise ValueError(
        f"{folder}: found {_said(labels, draw)}, expected one of the label budgets {counts} and one of the draws {draws}: say which, "
        f"labels={budgets[0]!r}, draw=0 in Python and --labels {one} --draw 0 on the command line"
    )


def _said(labels: LabelCount | None, draw: int | None) -> str:
    """What somebody asked for."""
    said = [f"{name}={value}" for name, value in (("labels", labels), ("draw", draw)) if value is not None]
    return ", ".join(said) or "no labels and no draw"


class OneMember(Agent):
    """One of an agent's members, as an agent of its own."""

    num_members = 1

    def __init__(self, agent: Agent, place: int) -> None:
        self.agent, self.place = agent, place
        self.precision: Precision | None = agent.precision

    def initial_state(self, observation: Observation) -> AgentState:
        return self.agent.initial_state(observation)

    def act(self, observation: Observation, state: AgentState, members: Tensor) -> tuple[Tensor, AgentState]:
        return self.agent.act(observation, state, torch.full_like(members, self.place))

    def reseed(self, seed: int) -> None:
        """Begin the random numbers that actions are drawn with anew."""
        if generator := getattr(self.agent, "generator", None):
            generator.manual_seed(seed)


class LoadedAgent:
    """It acts in an environment of the facts ``spec``, and remembers what it saw of the running episodes.

    ``member``: its label budget and label draw; ``method``, ``seed``: as in the experiment; ``agent``: what rollouts take.
    """

    def __init__(self, agent: OneMember, member: Member, files: AgentFiles) -> None:
        self.agent, self.member = agent, member
        self.spec: EnvironmentSpec = files.spec
        self.method, self.seed = files.method, files.seed
        self._state: AgentState | None = None

    def __repr__(self) -> str:
        labels = f", {self.member.labels} labels, draw {self.member.label_draw}"
        return f"LoadedAgent({self.method} of {self.spec.name}, seed {self.seed}{labels})"

    def reset(self, *, seed: int | None = None) -> None:
        """Forget what was seen: the next observations begin episodes. ``seed``: also begin the agent's random numbers anew."""
        self._state = None
        if seed is not None:
            self.agent.reseed(seed)

    @torch.inference_mode()
    def act(self, observation: Any, *, begun: NDArray[np.bool_] | None = None) -> Any:
        """The action in an observation as Gymnasium gives it: an array, or a dict of arrays where the environment has several parts.

        Of one observation an int (or, of continuous actions, float32 [A]); of a batch [B, ...] int64 [B] (or float32 [B, A]). ``begun``
        bool [B]: the episodes that begin with this observation, as others of the batch go on. ValueError where an observation is none of
        the environment's, or a batch has another size than before: ``reset`` comes first then.
        """
        seen, batched = read_observation(self.spec, observation)
        state = self._remembered(seen, begun)
        actions, self._state = self.agent.act(seen, state, torch.zeros(len(seen), dtype=torch.int64))
        taken = actions.numpy()
        if batched:
            return taken
        return taken[0] if taken.ndim > 1 else int(taken[0])

    def _remembered(self, seen: Observation, begun: NDArray[np.bool_] | None) -> AgentState:
        """Of the running episodes, those ``begun`` anew."""
        if self._state is None:
            return self.agent.initial_state(seen)
        count = len(self._state.recurrent)
        if len(seen) != count:
            raise ValueError(
                f"found {len(seen)} observations, expected {count} as before: call reset() where episodes begin"
            )
        if begun is not None and np.shape(begun) not in ((), (count,)):
            raise ValueError(f"begun: found {list(np.shape(begun))}, expected bool [{count}], one for each observation")
        if begun is not None and np.any(begun):
            rows = np.flatnonzero(np.broadcast_to(begun, (count,)))
            self._state.put(torch.from_numpy(rows), self.agent.initial_state(seen[rows]))
        return self._state
