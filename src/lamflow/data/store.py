"""The episode store: what its arrays and attributes are, its writer and its reader.

An episode of L transitions takes L + 1 rows: row t holds observation o_t, the action taken in it, the reward of that
action and what it led to; so ``terminated`` or ``truncated`` stand on row L - 1. Row L is the final observation, with
no action (``acted`` is False, and the action -1 or zeros), reward 0 and both flags False. In a store with ``final_observations: false``
an episode has L rows, and its last action has no next frame. The store of a union of environments joins the stores of others, in place of
arrays of its own. Shapes: N rows, E episodes, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lamflow.data.chunk_reader import Rows
from lamflow.data.group_reader import REPAIR, GroupReader, check_digest, check_format, load_metadata
from lamflow.data.group_writer import ArraySpec, GroupWriter
from lamflow.data.joined import JoinedGroup
from lamflow.data.shares import MemberShares
from lamflow.envs.interface import Episode
from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.spaces import ActionSpace, Discrete

FORMAT: Final = "lamflow-episodes"
FORMAT_VERSION: Final = 2
UNION_FORMAT: Final = "lamflow-union"
UNION_FORMAT_VERSION: Final = 1
SPLITS: Final = ("train", "validation", "test")
NO_ACTION: Final = -1
"""The discrete action on the row of a final observation; there the entries of others are 0."""
UNKNOWN_LEVEL: Final = -1
"""The level seed of an episode whose data set does not tell it."""
PARTS: Final = "observation"
"""The group that holds the parts of observations."""
_REQUIRED: Final = ("source", "licence")
_OPTIONAL: Final = {"return_expert": None, "return_random": None}
_OWN: Final = frozenset(
    ("format", "format_version", "env", "environment", "split", "num_episodes", "num_rows", "return_behaviour")
) | {"complete", "files", "digest"}
"""Attributes that the writer fills in itself."""


@dataclass(frozen=True)
class EpisodeArrays:
    """A whole split in memory.

    ``observations``: their parts [N, ...] by name; ``actions`` int64 [N], or float32 [N, A]; ``acted`` bool [N], False on final
    observations; ``rewards`` float32 [N], raw; ``terminated`` and ``truncated`` bool [N]; ``episode_starts`` int64 [E], first rows;
    ``level_seeds`` int64 [E], -1 where unknown; ``main``: the part that latent action models see; ``members``: in a union, which rows are
    whose, and their shares.
    """

    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[Any]
    acted: NDArray[np.bool_]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode_starts: NDArray[np.int64]
    level_seeds: NDArray[np.int64]
    main: str = FRAMES
    members: MemberShares | None = None

    @property
    def frames(self) -> NDArray[Any]:
        """The part of the observations that latent action models see, [N, ...]."""
        return self.observations[self.main]

    @property
    def num_rows(self) -> int:
        return len(self.actions)

    @property
    def num_episodes(self) -> int:
        return len(self.episode_starts)

    @property
    def num_transitions(self) -> int:
        """Rows with an action and a next frame: all but the last row of each episode."""
        return self.num_rows - self.num_episodes


def array_of(part: str) -> str:
    """The name of the array that holds a part of the observations."""
    return f"{PARTS}/{part}"


def row_array_specs(spec: EnvironmentSpec) -> tuple[ArraySpec, ...]:
    """The arrays with one entry per row."""
    return (
        *(ArraySpec(array_of(name), part.dtype, part.shape) for name, part in spec.observation.items()),
        ArraySpec("actions", spec.action.dtype, spec.action.shape),
        ArraySpec("acted", "bool"),
        ArraySpec("rewards", "float32"),
        ArraySpec("terminated", "bool"),
        ArraySpec("truncated", "bool"),
    )


EPISODE_ARRAY_SPECS: Final = (ArraySpec("episode_starts", "int64"), ArraySpec("level_seeds", "int64"))
"""The arrays with one entry per episode."""


def spec_of(attributes: Mapping[str, Any]) -> EnvironmentSpec:
    """The environment of an episode store with these attributes; ValueError for facts that describe none, or another."""
    spec = EnvironmentSpec.from_facts(attributes["environment"])
    if spec.name != attributes["env"]:
        raise ValueError(f"found the facts of environment {spec.name!r}, expected those of {attributes['env']!r}")
    return spec


def expected_arrays(attributes: Mapping[str, Any]) -> list[tuple[ArraySpec, int]]:
    """Every array of the episode store with these attributes, and its number of rows."""
    rows, episodes = int(attributes["num_rows"]), int(attributes["num_episodes"])
    of_rows = [(array, rows) for array in row_array_specs(spec_of(attributes))]
    return of_rows + [(array, episodes) for array in EPISODE_ARRAY_SPECS]


class EpisodeWriter:
    """Writes an episode store; a context manager. The store appears at ``path`` when the block ends well.

    ``attributes``: ``source`` and ``licence`` (text) are needed; ``return_expert`` and ``return_random`` (mean raw
    returns on test levels, or None) and ``final_observations`` (default: as in ``spec``) may be given; other keys are
    stored as they are. All but ``final_observations`` may still be changed through ``writer.attributes`` until the block ends.
    """

    def __init__(self, path: Path | str, *, spec: EnvironmentSpec, split: str, attributes: Mapping[str, Any]) -> None:
        if split not in SPLITS:
            raise ValueError(f"{path}: found split {split!r}, expected one of {', '.join(SPLITS)}")
        self.path = Path(path)
        self.spec = spec
        self.split = split
        self.attributes: dict[str, Any] = {**_OPTIONAL, "final_observations": spec.final_observations, **attributes}
        _check_attributes(self.path, self.attributes)
        self._final = bool(self.attributes["final_observations"])
        self._is_discrete = isinstance(spec.action, Discrete)
        self._specs = {array.name: array for array in row_array_specs(spec)}
        self._group = GroupWriter(self.path, (*self._specs.values(), *EPISODE_ARRAY_SPECS))
        self._returns: dict[bool, list[float]] = {True: [], False: []}

    def __enter__(self) -> EpisodeWriter:
        self._group.__enter__()
        return self

    @property
    def num_episodes(self) -> int:
        """Episodes appended so far."""
        return self._group.num_rows("level_seeds")

    @property
    def num_rows(self) -> int:
        """Rows appended so far."""
        return self._group.num_rows("actions")

    def append(self, episode: Episode, *, whole: bool = True) -> None:
        """Append one episode; ValueError when its arrays do not fit the environment or one another. ``whole``: it has all its
        rows; the returns of others do not count in ``return_behaviour``."""
        rows = episode.length + self._final
        self._check_episode(episode, rows)
        self._group.append("episode_starts", np.array([self.num_rows], np.int64))
        self._group.append("level_seeds", np.array([episode.level_id], np.int64))
        for name in self.spec.observation:
            self._group.append(array_of(name), episode.observations[name])
        self._group.append("actions", _padded(episode.actions, rows, NO_ACTION if self._is_discrete else 0))
        self._group.append("acted", np.arange(rows) < episode.length)
        self._group.append("rewards", _padded(episode.rewards, rows, 0))
        last_action = np.arange(rows) == episode.length - 1
        self._group.append("terminated", last_action & episode.terminated)
        self._group.append("truncated", last_action & episode.truncated)
        self._returns[whole].append(episode.total_reward)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._seal()
        except BaseException as problem:
            self._group.__exit__(type(problem), problem, problem.__traceback__)
            raise
        self._group.__exit__(kind, error, trace)

    def _seal(self) -> None:
        if self.num_episodes == 0:
            raise ValueError(f"{self.path}: found no episode to write, expected at least one")
        _check_attributes(self.path, self.attributes)
        returns = self._returns[True] or self._returns[False]
        self._group.attributes = {
            **self.attributes,
            "final_observations": self._final,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "env": self.spec.name,
            "environment": self.spec.facts(),
            "split": self.split,
            "num_episodes": self.num_episodes,
            "num_rows": self.num_rows,
            "return_behaviour": sum(returns) / len(returns),
        }

    def _check_episode(self, episode: Episode, rows: int) -> None:
        what = f"{self.path}: episode {self.num_episodes} (level {episode.level_id})"
        if episode.length == 0:
            raise ValueError(f"{what}: found no action, expected at least one")
        given: dict[str, tuple[NDArray[Any], int]] = {
            "actions": (episode.actions, episode.length),
            "rewards": (episode.rewards, episode.length),
        }
        if missing := [name for name in self.spec.observation if name not in episode.observations]:
            raise ValueError(
                f"{what}: found no part {missing[0]!r} in its observations, expected {', '.join(self.spec.observation)}"
            )
        given |= {array_of(name): (episode.observations[name], rows) for name in self.spec.observation}
        for name, spec in self._specs.items():
            if name not in given:
                continue
            array, length = given[name]
            if array.shape != (length, *spec.row_shape) or array.dtype != np.dtype(spec.dtype):
                raise ValueError(
                    f"{what}: {name} is {array.dtype} {list(array.shape)}, expected {spec.dtype} "
                    f"{[length, *spec.row_shape]} ({episode.length} actions, final_observations: {self._final})"
                )
        if problem := action_problem(self.spec, episode.actions):
            raise ValueError(f"{what}: {problem}")
        if not np.isfinite(episode.rewards).all():
            raise ValueError(f"{what}: found a reward that is NaN or infinite, expected finite rewards")
        for name, part in self.spec.observation.items():
            if part.dtype == "float32" and not np.isfinite(episode.observations[name]).all():
                raise ValueError(
                    f"{what}: found NaN or infinity in the part {name!r} of an observation, expected finite numbers"
                )


def _check_attributes(path: Path, attributes: Mapping[str, Any]) -> None:
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        raise ValueError(f"{path}: attributes lack {', '.join(missing)}, expected {', '.join(_REQUIRED)}")
    own = sorted(_OWN & set(attributes))
    if own:
        raise ValueError(f"{path}: found attributes {', '.join(own)}, which the writer fills in itself: leave them out")


def outside_bounds(space: ActionSpace, actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Which entries of actions [L, ...] are outside of their bounds, bool [L, ...]; NaN is."""
    if isinstance(space, Discrete):
        return (actions < 0) | (actions >= space.count)
    return ~((actions >= np.array(space.low, np.float32)) & (actions <= np.array(space.high, np.float32)))


def action_problem(spec: EnvironmentSpec, actions: NDArray[Any]) -> str:
    """What is wrong with actions [L, ...] that were taken in an environment, empty where nothing is."""
    outside = outside_bounds(spec.action, actions)
    if not outside.any():
        return ""
    if isinstance(spec.action, Discrete):
        return f"found actions from {actions.min()} to {actions.max()}, expected 0 to {spec.action.count - 1}"
    row, entry = np.argwhere(outside)[0]
    bounds = f"{spec.action.low[entry]:g} to {spec.action.high[entry]:g}"
    return f"action {row}: found {actions[row, entry]:g} in entry {entry}, expected {bounds}"


def _padded(values: NDArray[Any], rows: int, filler: int) -> NDArray[Any]:
    """``values`` [L, ...] continued with ``filler`` to [rows, ...]."""
    return np.pad(values, [(0, rows - len(values)), *[(0, 0)] * (values.ndim - 1)], constant_values=filler)


class EpisodeStore:
    """A finished episode store, opened lazily: attributes and files are checked, rows are read on demand.

    ``members``: in a union, the stores that it joins, whose rows come one after the other.
    """

    def __init__(self, path: Path, attributes: dict[str, Any], members: tuple[EpisodeStore, ...] = ()) -> None:
        self.path = path
        self.attributes = attributes
        self.members = members
        self._group = _joined(attributes, members) if members else GroupReader(path, attributes, expected_arrays)

    @classmethod
    def open(cls, path: Path | str, *, env: str | None = None) -> EpisodeStore:
        """Open the store at ``path``; ValueError when it is missing, damaged, of another version or not of ``env``."""
        path = Path(path)
        attributes = load_metadata(path)
        refuse_older(path, attributes)
        is_union = attributes.get("format") == UNION_FORMAT
        name, version = (UNION_FORMAT, UNION_FORMAT_VERSION) if is_union else (FORMAT, FORMAT_VERSION)
        check_format(path, attributes, format_name=name, format_version=version)
        check_env(path, attributes, env)
        check_digest(path, attributes)
        return cls(path, attributes, _members_of(path, attributes) if is_union else ())

    @property
    def env(self) -> str:
        return str(self.attributes["env"])

    @property
    def spec(self) -> EnvironmentSpec:
        return spec_of(self.attributes)

    @property
    def split(self) -> str:
        return str(self.attributes["split"])

    @property
    def digest(self) -> str:
        """sha256 over the attributes and every file: stores of equal digests are equal."""
        return str(self.attributes["digest"])

    @property
    def num_rows(self) -> int:
        return int(self.attributes["num_rows"])

    @property
    def num_episodes(self) -> int:
        return int(self.attributes["num_episodes"])

    @property
    def num_transitions(self) -> int:
        """Rows with an action and a next frame."""
        return self.num_rows - self.num_episodes

    @property
    def simulated(self) -> tuple[EpisodeStore, ...]:
        """The stores of the environments that were played: itself, or those that it joins."""
        return self.members or (self,)

    @property
    def shares(self) -> MemberShares | None:
        """In a union, which rows are whose, and how much of each is drawn."""
        if not self.members:
            return None
        ends = np.cumsum([member.num_rows for member in self.members])
        shares = np.array([member["share"] for member in self.attributes["members"]], np.float64)
        return MemberShares(tuple(member.env for member in self.members), np.append(0, ends[:-1]), shares)

    def check_transitions(self) -> None:
        """ValueError when no action has a next frame, so that nothing can be learnt of what actions do."""
        if self.num_transitions == 0:
            raise ValueError(
                f"{self.path}: found {self.num_episodes} episode(s) of one action each, without a next frame, expected at least one "
                f"transition: raise the number of {self.split} episodes, or take other levels"
            )

    @property
    def final_observations(self) -> bool:
        """Whether each episode's last row is its final observation, without an action."""
        return bool(self.attributes["final_observations"])

    @property
    def arrays(self) -> GroupReader:
        """What reads its own arrays, which a union has not."""
        assert isinstance(self._group, GroupReader), f"{self.path}: a union of unions"
        return self._group

    def array(self, name: str) -> Any:
        """The zarr array ``name``: slices of it are read from disk and returned as numpy arrays. ValueError names a damaged
        file."""
        return self._group[name]

    def rows(self, name: str) -> Rows:
        """A reader of parts of the array ``name``, much quicker for those of a large store: it verifies what it reads, no more."""
        return self._group.rows(name)

    def load(self, *, frames: bool = True) -> EpisodeArrays:
        """Read everything into memory, or, much quicker, all but the main part of the observations, which is missing then. ValueError names
        a damaged file."""
        spec = self.spec
        values = self._group.load(without=() if frames else (array_of(spec.main),))
        parts = {name: values.pop(array_of(name)) for name in spec.observation if array_of(name) in values}
        return EpisodeArrays(observations=parts, main=spec.main, members=self.shares, **values)


def _members_of(path: Path, attributes: Mapping[str, Any]) -> tuple[EpisodeStore, ...]:
    """The stores that a union joins; ValueError when one is missing, or is not the one that was joined."""
    members = []
    for described in attributes["members"]:
        member = EpisodeStore.open(path.parent / described["store"], env=described["env"])
        if member.digest != described["digest"]:
            raise ValueError(
                f"{path}: joins {member.path} of digest {described['digest']}, and found one of digest {member.digest}: {REPAIR}"
            )
        members.append(member)
    return tuple(members)


def _joined(attributes: Mapping[str, Any], members: Sequence[EpisodeStore]) -> JoinedGroup:
    """The arrays of the members, of which the main part may have another name than in the union."""
    spec = spec_of(attributes)
    return JoinedGroup(
        [member.arrays for member in members],
        names=[{array_of(spec.main): array_of(member.spec.main)} for member in members],
        arrays=[array.name for array in (*row_array_specs(spec), *EPISODE_ARRAY_SPECS)],
        num_rows=[member.num_rows for member in members],
    )


def refuse_older(path: Path, attributes: Mapping[str, Any]) -> None:
    """ValueError, with the command that makes it anew, for a store of the first format."""
    if attributes.get("format") == FORMAT and attributes.get("format_version") == 1:
        raise ValueError(
            f"{path}: found a store of format 1, which earlier versions of lamflow wrote, expected format {FORMAT_VERSION}: make it anew, "
            f"`snakemake --cores all {path}` (where the experiment has a configuration of its own, with --configfile FILE behind it)"
        )


def check_env(path: Path, attributes: Mapping[str, Any], env: str | None) -> None:
    """ValueError when the store is of another environment than ``env``."""
    if env is not None and attributes.get("env") != env:
        raise ValueError(
            f"{path}: found environment {attributes.get('env')!r}, expected {env!r}: give the store of that environment"
        )
