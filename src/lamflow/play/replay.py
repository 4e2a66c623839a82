"""What agents would do in recorded observations: nobody plays, and each recording goes on as it was made.

Shapes: M members, N rows, B contexts that are answered at once, K context frames, S episodes side by side. Row numbers are int64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamflow.data.store import array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import FRAMES, Window, WindowSpec
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.agents import Agent, AgentState
from lamflow.policies.inputs import PolicyInputs

HELD_BYTES = 32 << 20
"""Of the main parts of observations that are in memory at once."""
MOST_HELD_ROWS = 4096
ROWS_AT_ONCE = 512
"""Rows of all members that a recurrent agent answers at once."""


def answered_actions(agent: Agent, data: EpisodeTensors, spec: EnvironmentSpec, rows: Tensor) -> Tensor:
    """The action that each member takes in the observations at the ascending ``rows`` [N], after those that were recorded before them in
    their episodes: [M, N, ...], on the CPU. Memory is that of some thousand observations."""
    first = next(data.part(_window(spec), rows[:1]).windows())
    state = agent.initial_state(_present(first, spec))
    answers = _in_time_order if state.recurrent.shape[1] else _by_context
    return answers(agent, data, spec, rows.cpu())


def _by_context(agent: Agent, data: EpisodeTensors, spec: EnvironmentSpec, rows: Tensor) -> Tensor:
    """Of an agent that remembers no more than its last observations."""
    first = next(data.part(_window(spec), rows[:1]).windows())
    context = agent.initial_state(_present(first, spec)).inputs.begun.shape[1]
    parts = [
        _answers(agent, window, spec)
        for held in rows.split(_rows_held(spec, context + 1))
        for window in data.part(_window(spec, context), held).windows()
    ]
    return torch.cat(parts, dim=1)


def _answers(agent: Agent, window: Window, spec: EnvironmentSpec) -> Tensor:
    """Of all members in B contexts, [M, B, ...]: the state is made of the K observations before the present one."""
    count, before = len(window.inside), window.present
    parts = {name: _column(window, name, spec)[:, :before] for name in spec.observation}
    state = AgentState(
        PolicyInputs(parts, window.inside[:, :before]), torch.zeros(count, 0, device=window.inside.device)
    )
    seen = _present(window, spec)
    members = [torch.full((count,), member) for member in range(agent.num_members)]
    return torch.stack([agent.act(seen, state, whose)[0] for whose in members])


def _in_time_order(agent: Agent, data: EpisodeTensors, spec: EnvironmentSpec, rows: Tensor) -> Tensor:
    """Of a recurrent agent, which sees all that was recorded before the last of the rows of each episode."""
    found: list[tuple[NDArray[np.int64], Tensor]] = []
    starts, lasts = _stretches(data, rows)
    places = np.full(int(lasts.max()) + 1, -1)
    places[rows.numpy()] = np.arange(len(rows))
    at_once = max(1, ROWS_AT_ONCE // agent.num_members)
    for group in range(0, len(starts), at_once):
        some = slice(group, group + at_once)
        for present, actions in _side_by_side(agent, data, spec, starts[some], lasts[some]):
            asked = places[present] >= 0
            found.append((places[present[asked]], actions[:, torch.from_numpy(asked)]))
    order = torch.from_numpy(np.concatenate([where for where, _ in found])).argsort()
    return torch.cat([actions for _, actions in found], dim=1)[:, order]


def _stretches(data: EpisodeTensors, rows: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each episode that has some of ``rows``, and the last of these, int64 [S] each; the longest first."""
    own = data.bounds.starts.cpu()[rows].numpy()
    starts, first = np.unique(own, return_index=True)
    lasts = rows.numpy()[np.append(first[1:], len(rows)) - 1]
    order = np.argsort(starts - lasts, kind="stable")
    return starts[order], lasts[order]


def _side_by_side(
    agent: Agent, data: EpisodeTensors, spec: EnvironmentSpec, starts: NDArray[np.int64], lasts: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Episodes from ``starts`` [S] to ``lasts`` [S], the longest first: at each step the rows [n] of those that go on, and the members'
    actions there [M, n, ...]."""
    lengths = lasts - starts + 1
    num_members, count = agent.num_members, len(starts)
    state: AgentState | None = None
    for step, seen in _steps(data, spec, starts, lengths):
        running = int((lengths > step).sum())
        everyone = Observation({name: np.concatenate([part] * num_members) for name, part in seen.parts.items()})
        if state is None:
            state = agent.initial_state(everyone)
        members = torch.arange(num_members).repeat_interleave(running)
        # Member m's episode s is in row m * S + s of the state.
        slots = (torch.arange(num_members)[:, None] * count + torch.arange(running)).flatten()
        actions, after = agent.act(everyone, state[slots], members)
        state.put(slots, after)
        yield starts[:running] + step, actions.unflatten(0, (num_members, running))


def _steps(
    data: EpisodeTensors, spec: EnvironmentSpec, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Iterator[tuple[int, Observation]]:
    """The observations at each step of the episodes that go on, some steps being read at once."""
    at_once = max(1, _rows_held(spec, 1) // len(starts))
    for first in range(0, int(lengths.max()), at_once):
        steps = range(first, min(first + at_once, int(lengths.max())))
        wanted = [starts[: int((lengths > step).sum())] + step for step in steps]
        held = data.part(_window(spec), torch.from_numpy(np.concatenate(wanted)))
        for step, rows in zip(steps, wanted, strict=True):
            yield step, _present(held.gather(torch.from_numpy(rows).to(data.device)), spec)


def _rows_held(spec: EnvironmentSpec, context: int) -> int:
    """Rows whose contexts of so many observations are held in memory at once."""
    part = spec.main_part
    row_bytes = int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize
    return max(1, min(HELD_BYTES // (row_bytes * context), MOST_HELD_ROWS))


def _window(spec: EnvironmentSpec, context: int = 0) -> WindowSpec:
    """An observation, and so many before it."""
    beside = (array_of(name) for name in spec.observation if name != spec.main)
    return WindowSpec(before=context, columns=(FRAMES, *beside))


def _column(window: Window, name: str, spec: EnvironmentSpec) -> Tensor:
    return window.columns[FRAMES if name == spec.main else array_of(name)]


def _present(window: Window, spec: EnvironmentSpec) -> Observation:
    """The observations of the rows themselves."""
    return Observation(
        {name: _column(window, name, spec)[:, window.present].cpu().numpy() for name in spec.observation}
    )
