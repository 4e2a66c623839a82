"""The episode store: what its arrays and attributes are, its writer and its reader.

An episode of L transitions takes L + 1 rows: row t holds observation o_t, the action taken in it, the reward of that
action and what it led to; so ``terminated`` or ``truncated`` stand on row L - 1. Row L is the final observation, with
no action (``acted`` is False, and the action -1 or zeros), reward 0 and both flags False. In a store with ``final_observations: false``
an episode has L rows, and its last action has no next frame. Where nobody knows some of the actions (attribute ``actions: some``), the
array ``labelled`` says of which rows they are known, and the others have -1 or zeros; ``actions: none`` has no such array, and no action on
any row. The store of a union of environments joins the stores of others, in place of
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

from lamflow.data.actions import Recorded, action_problem, no_action, recorded_in
from lamflow.data.chunk_reader import Rows
from lamflow.data.group_reader import REPAIR, GroupReader, check_digest, check_format, load_metadata
from lamflow.data.group_writer import ArraySpec, GroupWriter
from lamflow.data.joined import JoinedGroup
from lamflow.data.pieces import Columns, OpenEpisode
from lamflow.data.shares import MemberShares
from lamflow.envs.interface import Episode, Parts
from lamflow.envs.spec import FRAMES, EnvironmentSpec
from lamflow.spaces import Unknown

FORMAT: Final = "lamflow-episodes"
FORMAT_VERSION: Final = 2
UNION_FORMAT: Final = "lamflow-union"
UNION_FORMAT_VERSION: Final = 1
SPLITS: Final = ("train", "validation", "test")
UNKNOWN_LEVEL: Final = -1
"""The level seed of an episode whose data set does not tell it."""
PARTS: Final = "observation"
"""The group that holds the parts of observations."""
_REQUIRED: Final = ("source", "licence")
_OPTIONAL: Final = {"return_expert": None, "return_random": None}
_OWN: Final = frozenset(
    (
        "format",
        "format_version",
        "env",
        "environment",
        "split",
        "num_episodes",
        "num_rows",
        "return_behaviour",
        "actions",
    )
) | {"complete", "files", "digest"}
"""Attributes that the writer fills in itself."""


@dataclass(frozen=True)
class EpisodeArrays:
    """A whole split in memory.

    ``observations``: their parts [N, ...] by name; ``actions`` int64 [N], or float32 [N, A]; ``acted`` bool [N], False on final
    observations; ``rewards`` float32 [N], raw; ``terminated`` and ``truncated`` bool [N]; ``episode_starts`` int64 [E], first rows;
    ``level_seeds`` int64 [E], -1 where unknown; ``main``: the part that latent action models see; ``members``: in a union, which rows are
    whose, and their shares; ``labelled`` bool [N]: whose actions are known, None: all that are ``acted``; ``frame_tolerance``: frames whose
    numbers differ by no more are equal, as they went through a lossy codec (levels of 255).
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
    labelled: NDArray[np.bool_] | None = None
    frame_tolerance: float = 0

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """bool [N]: whose actions are known."""
        return self.acted if self.labelled is None else self.labelled & self.acted

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
        """Rows with a next frame: all but the last row of each episode."""
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


LABELLED: Final = ArraySpec("labelled", "bool")
"""Of stores that know the actions of some rows."""
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
    labels = [LABELLED] if recorded_in(attributes) == "some" else []
    of_rows = [(array, rows) for array in (*row_array_specs(spec_of(attributes)), *labels)]
    return of_rows + [(array, episodes) for array in EPISODE_ARRAY_SPECS]


class EpisodeWriter:
    """Writes an episode store; a context manager. The store appears at ``path`` when the block ends well.

    ``attributes``: ``source`` and ``licence`` (text) are needed; ``return_expert`` and ``return_random`` (mean raw
    returns on test levels, or None), ``final_observations`` (default: as in ``spec``) and ``frame_tolerance`` may be given; other keys are
    stored as they are. All but ``final_observations`` may still be changed through ``writer.attributes`` until the block ends.

    An episode is written whole (``append``), or in pieces (``begin``, ``extend``, ``end``), which give the same store. Of how many rows the
    action is known is seen by what was written.
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
        self._specs = {array.name: array for array in (*row_array_specs(spec), LABELLED)}
        self._group = GroupWriter(self.path, (*self._specs.values(), *EPISODE_ARRAY_SPECS))
        self._returns: dict[bool, list[float]] = {True: [], False: []}
        self._open: OpenEpisode | None = None
        self._num_acted = self._num_labelled = 0

    def __enter__(self) -> EpisodeWriter:
        self._group.__enter__()
        return self

    @property
    def num_episodes(self) -> int:
        """Episodes written so far."""
        return self._group.num_rows("level_seeds")

    @property
    def num_rows(self) -> int:
        """Rows written so far."""
        return self._group.num_rows("actions")

    def append(self, episode: Episode, *, whole: bool = True) -> None:
        """Append one episode; ValueError when its arrays do not fit the environment or one another, and the store is as it was then.
        ``whole``: it has all its rows; the returns of others do not count in ``return_behaviour``."""
        rows = episode.length + self._final
        labelled = self._labelled(episode.labelled, episode.length)
        self._check_episode(episode, rows, labelled)
        self.begin(episode.level_id, whole=whole)
        self._extend(
            episode.observations,
            _padded(episode.actions, rows, no_action(self.spec.action)),
            _padded(episode.rewards, rows, 0),
            _padded(labelled, rows, 0),
        )
        self._end(episode.terminated, episode.truncated, episode.total_reward)

    def begin(self, level_id: int, *, whole: bool = True) -> None:
        """Begin an episode of the level ``level_id`` (-1: unknown), whose pieces follow. ``whole``: as for ``append``."""
        assert self._open is None, f"{self.path}: the episode before has not ended"
        self._open = OpenEpisode(self._named(level_id), level_id, held_rows=1 + self._final, whole=whole)

    def extend(
        self,
        observations: Parts,
        *,
        actions: NDArray[Any] | None = None,
        rewards: NDArray[np.float32] | None = None,
        labelled: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add n rows to the episode that has begun; ValueError, after which the store cannot be finished, when they do not fit the
        environment or one another.

        ``observations``: their parts [n, ...]; ``actions`` int64 [n] or float32 [n, A], None where nobody knows them; ``rewards`` float32
        [n], None: 0; ``labelled`` bool [n]: whose actions are known, None: all that are given. What the row of a final observation has of
        these does not count.
        """
        space, count = self.spec.action, len(observations.get(self.spec.main, ()))
        known = np.zeros(count, np.bool_) if actions is None else self._labelled(labelled, count)
        if actions is None:
            actions = np.full((count, *space.shape), no_action(space), space.dtype)
        if rewards is None:
            rewards = np.zeros(count, np.float32)
        given = {"actions": actions, "rewards": rewards, LABELLED.name: known}
        self._check_shapes(self._begun.what, observations, given, count, count, f"{count} rows of {self.spec.main!r}")
        self._check_numbers(self._begun.what, observations)
        self._extend(observations, actions, rewards, known)

    def end(self, *, terminated: bool, truncated: bool) -> None:
        """End the episode, as its last action did. ValueError when it has no action; it is left out then, and others may follow."""
        episode = self._begun
        if not episode.is_complete:
            self._open = None
            raise ValueError(f"{episode.what}: found {episode.num_rows} row(s), expected an action at least")
        self._end(terminated, truncated)

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
        assert self._open is None, f"{self.path}: an episode has not ended"
        if self.num_episodes == 0:
            raise ValueError(f"{self.path}: found no episode to write, expected at least one")
        _check_attributes(self.path, self.attributes)
        returns = self._returns[True] or self._returns[False]
        recorded = self._recorded
        if recorded != "some":
            self._group.leave_out(LABELLED.name)
        self._group.attributes = {
            **self.attributes,
            **({} if recorded == "all" else {"actions": recorded}),
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

    @property
    def _recorded(self) -> Recorded:
        if self._num_labelled == self._num_acted:
            return "all"
        return "some" if self._num_labelled else "none"

    @property
    def _begun(self) -> OpenEpisode:
        assert self._open is not None, f"{self.path}: no episode has begun"
        return self._open

    def _named(self, level_id: int) -> str:
        """The next episode, for messages."""
        return f"{self.path}: episode {self.num_episodes} (level {level_id})"

    def _labelled(self, given: NDArray[np.bool_] | None, count: int) -> NDArray[np.bool_]:
        """bool [count]: what is given; else all, and where nobody recorded actions, none."""
        return np.full(count, not isinstance(self.spec.action, Unknown)) if given is None else given

    def _extend(
        self, observations: Parts, actions: NDArray[Any], rewards: NDArray[Any], labelled: NDArray[np.bool_]
    ) -> None:
        parts = {array_of(name): observations[name] for name in self.spec.observation}
        piece = {**parts, "actions": actions, "rewards": rewards, LABELLED.name: labelled}
        for rows in self._begun.extend(piece):
            self._write(rows)

    def _end(self, terminated: bool, truncated: bool, total_reward: float | None = None) -> None:
        """``total_reward``: what its rewards sum to, where that is known."""
        episode = self._begun
        self._write(episode.tail(0), terminated=terminated, truncated=truncated)
        if self._final:
            self._write(episode.tail(1), acted=False)
        self._group.append("episode_starts", np.array([self.num_rows - episode.num_rows], np.int64))
        self._group.append("level_seeds", np.array([episode.level_id], np.int64))
        self._returns[episode.whole].append(episode.total_reward if total_reward is None else total_reward)
        self._open = None

    def _write(self, rows: Columns, *, acted: bool = True, terminated: bool = False, truncated: bool = False) -> None:
        """Rows of an episode, all with an action or none."""
        count = len(rows["actions"])
        labelled = rows[LABELLED.name] & acted
        rewards = rows["rewards"] if acted else np.zeros(count, np.float32)
        if problem := action_problem(self.spec, rows["actions"][labelled]) or _reward_problem(rewards):
            raise ValueError(f"{self._begun.what}: {problem}")
        actions = rows["actions"].copy()
        actions[~labelled] = no_action(self.spec.action)
        flags = {"acted": acted, "terminated": terminated, "truncated": truncated}
        written = {**rows, "actions": actions, "rewards": rewards, LABELLED.name: labelled}
        written |= {name: np.full(count, flag) for name, flag in flags.items()}
        for name in self._specs:
            self._group.append(name, written[name])
        self._begun.total_reward += float(rewards.sum())
        self._num_acted += count * acted
        self._num_labelled += int(labelled.sum())

    def _check_episode(self, episode: Episode, rows: int, labelled: NDArray[np.bool_]) -> None:
        what, length = self._named(episode.level_id), episode.length
        if length == 0:
            raise ValueError(f"{what}: found no action, expected at least one")
        given = {"actions": episode.actions, "rewards": episode.rewards, LABELLED.name: labelled}
        why = f"{length} actions, final_observations: {self._final}"
        self._check_shapes(what, episode.observations, given, length, rows, why)
        if problem := action_problem(self.spec, episode.actions[labelled]) or _reward_problem(episode.rewards):
            raise ValueError(f"{what}: {problem}")
        self._check_numbers(what, episode.observations)

    def _check_shapes(
        self, what: str, observations: Parts, given: Mapping[str, NDArray[Any]], length: int, rows: int, why: str
    ) -> None:
        """ValueError unless the arrays ``given`` have ``length`` rows, and the observations ``rows``, of the environment's kinds."""
        if missing := [name for name in self.spec.observation if name not in observations]:
            expected = ", ".join(self.spec.observation)
            raise ValueError(f"{what}: found no part {missing[0]!r} in its observations, expected {expected}")
        parts = {array_of(name): (observations[name], rows) for name in self.spec.observation}
        for name, (array, count) in ({key: (array, length) for key, array in given.items()} | parts).items():
            spec = self._specs[name]
            if array.shape != (count, *spec.row_shape) or array.dtype != np.dtype(spec.dtype):
                raise ValueError(
                    f"{what}: {name} is {array.dtype} {list(array.shape)}, expected {spec.dtype} {[count, *spec.row_shape]} ({why})"
                )

    def _check_numbers(self, what: str, observations: Parts) -> None:
        for name, part in self.spec.observation.items():
            if part.dtype == "float32" and not np.isfinite(observations[name]).all():
                raise ValueError(
                    f"{what}: found NaN or infinity in the part {name!r} of an observation, expected finite numbers"
                )


def _reward_problem(rewards: NDArray[Any]) -> str:
    finite = np.isfinite(rewards).all()
    return "" if finite else "found a reward that is NaN or infinite, expected finite rewards"


def _check_attributes(path: Path, attributes: Mapping[str, Any]) -> None:
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        raise ValueError(f"{path}: attributes lack {', '.join(missing)}, expected {', '.join(_REQUIRED)}")
    own = sorted(_OWN & set(attributes))
    if own:
        raise ValueError(f"{path}: found attributes {', '.join(own)}, which the writer fills in itself: leave them out")
    try:
        tolerance_in(attributes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def tolerance_in(attributes: Mapping[str, Any]) -> float:
    """By how much numbers of frames that should be equal may differ in a store with these attributes: levels of 255, 0 where nothing is
    said; ValueError for what is no such number."""
    found = attributes.get("frame_tolerance", 0)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 255:
        raise ValueError(f"found frame_tolerance {found!r}, expected a number of levels from 0 to 254")
    return float(found)


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
        """Rows with a next frame."""
        return self.num_rows - self.num_episodes

    @property
    def recorded(self) -> Recorded:
        """Of how many rows with an action it is known."""
        if not self.members:
            return recorded_in(self.attributes)
        found = {member.recorded for member in self.members}
        return found.pop() if len(found) == 1 else "some"

    @property
    def frame_tolerance(self) -> float:
        """See ``EpisodeArrays``; in a union the largest of its members."""
        return max(tolerance_in(store.attributes) for store in self.simulated)

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
        values.pop(LABELLED.name, None)
        return EpisodeArrays(
            observations=parts,
            main=spec.main,
            members=self.shares,
            labelled=self._labelled(),
            frame_tolerance=self.frame_tolerance,
            **values,
        )

    def _labelled(self) -> NDArray[np.bool_] | None:
        """bool [N]: whose actions are known; None where all are."""
        if self.recorded == "all":
            return None
        if not self.members:
            return (
                np.asarray(self.array(LABELLED.name)[...]) if self.recorded == "some" else np.zeros(self.num_rows, bool)
            )
        each = [(member._labelled(), member) for member in self.members]
        return np.concatenate([member.array("acted")[...] if found is None else found for found, member in each])


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
