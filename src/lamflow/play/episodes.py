"""Whole episodes of given levels: who acts in them, and what is kept of them.

Every level is played once. A slot whose episode has ended begins another one at once, until none is left.

Legend: B slots of a table, N of them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult, VectorEnvironment
from lamflow.play.turns import table_sizes, take_turns

IDLE = -1
FEW = 0.75
"""Share of slots that still play at which a table leaves out the others, whose games would cost time."""
MakeEnvironment = Callable[[int, Iterator[int]], VectorEnvironment]
"""(number of slots, level stream) to an environment whose slots take the stream's levels after their first."""
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Actor(Protocol):
    """Who acts in the slots of a table. An episode is known by its place among the levels."""

    def begin(self, slots: NDArray[np.int64], episodes: NDArray[np.int64], observation: Observation) -> None:
        """In ``slots`` [N], at first in all of them, begin ``episodes`` [N] with ``observation`` [N]; by default nothing is done."""
        return

    def act(self, slots: NDArray[np.int64], observation: Observation) -> NDArray[Any]:
        """Actions [B, ...] in ``observation`` [B]; those of other slots than ``slots`` [N], which play, count for nothing."""
        ...

    def keep(self, slots: NDArray[np.int64]) -> None:
        """Of the slots only ``slots`` [N] are left, in this order; by default nothing is done."""
        return


class Recorder(Protocol[T_co]):
    """What is kept of the episodes in the slots of a table."""

    def see(self, slots: NDArray[np.int64], observation: Observation, actions: NDArray[Any]) -> None:
        """In ``slots`` [N], which play, the ``actions`` [B, ...] were taken in ``observation`` [B]."""
        ...

    def keep_outcome(self, slots: NDArray[np.int64], result: StepResult) -> None:
        """What the actions in ``slots`` came to."""
        ...

    def end(self, slot: int, level_id: int, result: StepResult) -> T_co:
        """The episode in a slot, which ``result`` ended; what comes next in the slot is of another one."""
        ...

    def keep(self, slots: NDArray[np.int64]) -> None:
        """Of the slots only ``slots`` [N] are left, in this order."""
        ...


class Played(NamedTuple, Generic[T]):
    """An episode, by its place among the levels, and what was kept of it."""

    episode: int
    record: T


class _WaitingEpisodes:
    """Episodes that have not begun, by level: those of one level are interchangeable.

    A slot that begins a level takes the first episode that waits for it, so it does not matter in which order an environment
    hands out the levels of its stream, nor whether its slots take them ahead.
    """

    def __init__(self, level_ids: NDArray[np.int64]) -> None:
        self.level_ids = level_ids
        self._episodes: dict[int, deque[int]] = defaultdict(deque)
        for episode, level in enumerate(level_ids.tolist()):
            self._episodes[level].append(episode)

    def take(self, level_ids: NDArray[np.int64]) -> list[int]:
        """The episodes of slots that begin ``level_ids``, idle where none waits."""
        return [self._episodes[level].popleft() if self._episodes[level] else IDLE for level in level_ids.tolist()]

    def __len__(self) -> int:
        return sum(map(len, self._episodes.values()))


class _Table(Generic[T]):
    """Slots that are stepped together. Tables share the episodes that wait."""

    def __init__(
        self,
        environment: VectorEnvironment,
        actor: Actor,
        recorder: Recorder[T],
        level_ids: NDArray[np.int64],
        waiting: _WaitingEpisodes,
    ) -> None:
        self.environment = environment
        self._actor, self._recorder, self._waiting = actor, recorder, waiting
        self._observation = environment.reset(level_ids)
        self._episodes = np.array(waiting.take(level_ids), np.int64)  # of the slots
        self._slots = np.arange(len(level_ids))  # those that play
        self._actions: NDArray[Any] | None = None
        actor.begin(self._slots, self._episodes, self._observation)

    @property
    def running(self) -> bool:
        return len(self._slots) > 0

    def act(self) -> NDArray[Any]:
        self._actions = actions = self._actor.act(self._slots, self._observation)
        return actions

    def note(self) -> None:
        assert self._actions is not None, "note before act"
        self._recorder.see(self._slots, self._observation, self._actions)

    def receive(self, result: StepResult) -> list[Played[T]]:
        """The episodes that the last actions ended; their slots begin the next ones, or play no more."""
        self._observation = result.observation
        self._recorder.keep_outcome(self._slots, result)
        ended = np.flatnonzero(result.terminated | result.truncated)
        played = [self._played(slot, result) for slot in ended.tolist() if self._episodes[slot] != IDLE]
        if len(ended):
            self._begin(ended, result.level_ids[ended])
        return played

    def _played(self, slot: int, result: StepResult) -> Played[T]:
        episode = int(self._episodes[slot])
        return Played(episode, self._recorder.end(slot, int(self._waiting.level_ids[episode]), result))

    def _begin(self, slots: NDArray[np.int64], level_ids: NDArray[np.int64]) -> None:
        """Go on with the episodes that wait for the levels which ``slots`` begin."""
        self._episodes[slots] = self._waiting.take(level_ids)
        if len(begun := slots[self._episodes[slots] != IDLE]):
            self._actor.begin(begun, self._episodes[begun], self._observation[begun])
        self._slots = np.flatnonzero(self._episodes != IDLE)
        if 0 < len(self._slots) <= FEW * len(self._episodes):
            self._leave_out_the_idle()

    def _leave_out_the_idle(self) -> None:
        kept = self._slots
        observation = self.environment.keep(kept)
        if observation is not None:
            self._observation, self._episodes, self._slots = observation, self._episodes[kept], np.arange(len(kept))
            self._actor.keep(kept)
            self._recorder.keep(kept)


def play(
    make_environment: MakeEnvironment,
    make_actor: Callable[[int], Actor],
    make_recorder: Callable[[int], Recorder[T]],
    level_ids: NDArray[np.int64],
    *,
    num_slots: int,
) -> Iterator[Played[T]]:
    """One episode of each of ``level_ids`` int64, in the order in which they end; the environments are closed afterwards.

    At most ``num_slots`` episodes run at once. They are shared out to two tables that take turns, each with an environment, an actor and a
    recorder of its own, made for so many slots: the simulators of one step while the actor of the other thinks.
    """
    sizes, waiting = table_sizes(min(num_slots, len(level_ids))), _WaitingEpisodes(level_ids)
    *first, later = np.split(level_ids, np.cumsum(sizes))
    stream = iter(later.tolist())
    with ExitStack() as opened:
        environments = [opened.enter_context(closing(make_environment(size, stream))) for size in sizes]
        yield from take_turns(
            [
                _Table(environment, make_actor(size), make_recorder(size), begun, waiting)
                for size, environment, begun in zip(sizes, environments, first, strict=True)
            ]
        )
    assert not len(waiting), f"{len(waiting)} episodes were left out: the environment did not take its whole stream"


def play_once(environment: VectorEnvironment, actor: Actor, recorder: Recorder[T], level_id: int) -> T:
    """An episode in an environment of one slot, which stays open."""
    assert environment.num_envs == 1, f"environment has {environment.num_envs} slots, 1 needed"
    levels = np.array([level_id], np.int64)
    (played,) = take_turns([_Table(environment, actor, recorder, levels, _WaitingEpisodes(levels))])
    return played.record
