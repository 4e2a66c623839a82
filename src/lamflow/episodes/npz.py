"""Episodes that NumPy has written, a file each: .npz, or .npy of frames.

Shapes: n rows of an episode, L actions, A entries of an action.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.episodes.action_table import constant_notes, discrete_space, space_of_bounds
from lamflow.episodes.files import check_names, files_in
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.npz_arrays import StoredArray, arrays_of, is_beside
from lamflow.episodes.npz_settings import ENDINGS, NpzSettings
from lamflow.episodes.pieces import rows_per_piece, shape_of_frames
from lamflow.spaces import ActionSpace, Part, Pixels, Vector

OBSERVATIONS = ("observations", "frames", "obs", "images")
ACTIONS = ("actions", "action")
REWARDS = ("rewards", "reward")
TERMINATED = ("terminated", "terminals", "dones", "done")
GREY = 3
"""Dimensions of grey pictures [n, H, W]."""


@dataclass(frozen=True)
class _Recording:
    """The arrays of one episode, of which only the beginnings have been read."""

    path: Path
    entry: EpisodeEntry
    observations: Mapping[str, StoredArray]
    actions: StoredArray | None
    rewards: StoredArray | None
    terminated: StoredArray | None

    @property
    def num_rows(self) -> int:
        return next(iter(self.observations.values())).shape[0]

    @property
    def num_actions(self) -> int | None:
        """Rows of what is not observed, None where there is nothing else."""
        others = [array for array in (self.actions, self.rewards, self.terminated) if array is not None]
        return others[0].shape[0] if others else None


class NpzSource:
    """See ``NpzSettings``."""

    def __init__(self, *, settings: NpzSettings, fit: FrameFit) -> None:
        self.settings = settings
        self.fit = fit

    def describe(self) -> Described:
        """Found from the beginnings of all files, and all actions."""
        recordings = self._recordings
        observation = {name: self._part(name) for name in recordings[0].observations}
        final = self._final_observations()
        action, notes = self._actions()
        return Described(
            observation=observation,
            main=self._main(observation),
            action=action,
            episodes=tuple(recording.entry for recording in recordings),
            final_observations=final,
            notes=notes,
        )

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """In the natural order of the files' names."""
        described = self.describe()
        for recording in self._recordings:
            if names is None or recording.entry.name in names:
                yield RecordedEpisode(
                    recording.entry, self._pieces(recording, described), terminated=_is_terminated(recording)
                )

    @cached_property
    def _recordings(self) -> list[_Recording]:
        folder = Path(self.settings.path)
        files = [file for file in files_in(folder, ENDINGS, what="NumPy files") if not is_beside(file)]
        named = [(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]
        check_names(named)
        return [self._recording(name, file, folder) for name, file in named]

    def _recording(self, name: str, file: Path, folder: Path) -> _Recording:
        arrays, settings = arrays_of(file), self.settings
        keys = settings.observations or {"frames": _first_of(file, arrays, OBSERVATIONS)}
        observations = {part: _array(file, arrays, key) for part, key in keys.items()}
        lengths = {array.shape[0] for array in observations.values()}
        if len(lengths) > 1 or 0 in lengths:
            found = ", ".join(f"{array.shape[0]} rows of {part}" for part, array in observations.items())
            raise ValueError(f"{file}: found {found}, expected as many rows of each, and at least one")
        group = file.parent.relative_to(folder).as_posix()
        actions = _optional(file, arrays, settings.actions, ACTIONS)
        labelled = actions is not None and bool(_labelled(actions)[1].any())
        recording = _Recording(
            path=file,
            entry=EpisodeEntry(name, lengths.pop(), "" if group == "." else group, labelled),
            observations=observations,
            actions=actions,
            rewards=_optional(file, arrays, settings.rewards, REWARDS),
            terminated=_optional(file, arrays, settings.terminated, TERMINATED),
        )
        _check_lengths(recording)
        return recording

    def _part(self, name: str) -> Part:
        """What a part of the observations is; ValueError where files differ in it."""
        arrays = [recording.observations[name] for recording in self._recordings]
        if arrays[0].dtype == np.uint8 and len(arrays[0].shape) >= GREY:
            sizes = [(str(array), *_size(array)) for array in arrays]
            return Pixels((*shape_of_frames(self.fit, sizes), 3))
        entries = [_entries(array) for array in arrays]
        for array, found in zip(arrays, entries, strict=True):
            if found != entries[0]:
                raise ValueError(
                    f"{array}: found {array.said}, and {arrays[0]} has {arrays[0].said}, expected the same"
                )
        return Vector((entries[0],))

    def _main(self, observation: Mapping[str, Part]) -> str:
        main = self.settings.main
        if main is not None and main not in observation:
            raise ValueError(f"main: found {main!r}, expected one of the parts {', '.join(observation)}")
        pictures = [name for name, part in observation.items() if isinstance(part, Pixels)]
        return main or [*pictures, *observation][0]

    def _final_observations(self) -> bool:
        """Whether there is one more than there are actions; ValueError where some episodes have it and some have not."""
        known = [each for each in self._recordings if each.num_actions is not None]
        has = [each.num_rows == (each.num_actions or 0) + 1 for each in known]
        if any(has) and not all(has):
            one, other = known[has.index(True)], known[has.index(False)]
            raise ValueError(
                f"{other.path}: found as many observations as actions, and {one.path} has one more, its final one, expected the same of "
                "all: leave the final observations out"
            )
        return any(has)

    def _actions(self) -> tuple[ActionSpace | None, tuple[str, ...]]:
        """Their space, and what is noted about them; None where nobody knows any."""
        found = [(each.path, *_labelled(each.actions)) for each in self._recordings if each.actions is not None]
        known = [(path, actions[labelled]) for path, actions, labelled in found if labelled.any()]
        if not known:
            return None, ()
        _check_alike(known)
        actions = np.concatenate([actions for _, actions in known])
        columns = ["actions"] if actions.ndim == 1 else [f"actions[{entry}]" for entry in range(actions.shape[1])]
        notes = constant_notes(self.settings.path, actions, columns)
        if actions.ndim == 1:
            return discrete_space(self.settings.path, int(actions.max())), notes
        return space_of_bounds(actions.min(axis=0), actions.max(axis=0)), notes

    def _pieces(self, recording: _Recording, described: Described) -> Iterator[Piece]:
        actions, labelled = _labelled(recording.actions) if recording.actions else (None, None)
        rewards = None if recording.rewards is None else recording.rewards.values().astype(np.float32).reshape(-1)
        recorded = sum(
            array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in recording.observations.values()
        )
        rows = rows_per_piece(described.observation, recorded_bytes=recorded)
        streams = {name: array.blocks(rows) for name, array in recording.observations.items()}
        for start in range(0, recording.num_rows, rows):
            blocks = {name: next(stream) for name, stream in streams.items()}
            stop = start + len(next(iter(blocks.values())))
            yield Piece(
                observations={
                    name: self._observed(described.observation[name], block) for name, block in blocks.items()
                },
                actions=_padded(actions, start, stop),
                labelled=_padded(labelled, start, stop),
                rewards=_padded(rewards, start, stop),
            )

    def _observed(self, part: Part, block: NDArray[Any]) -> NDArray[Any]:
        if not isinstance(part, Pixels):
            return block.astype(np.float32).reshape(len(block), -1)
        if block.ndim == GREY:
            block = block[..., None]
        if _is_channel_first(block.shape):
            block = block.transpose(0, 2, 3, 1)
        return self.fit.frames(np.ascontiguousarray(np.broadcast_to(block, (*block.shape[:3], 3))))


def _first_of(file: Path, arrays: Mapping[str, StoredArray], keys: Collection[str]) -> str:
    found = [key for key in keys if key in arrays]
    if not found:
        raise ValueError(
            f"{file}: found the arrays {', '.join(arrays) or 'none'}, expected one of {', '.join(keys)}: say which one is seen, "
            "`observations: {frames: NAME}`"
        )
    return found[0]


def _array(file: Path, arrays: Mapping[str, StoredArray], key: str) -> StoredArray:
    if key not in arrays:
        raise ValueError(f"{file}: found the arrays {', '.join(arrays) or 'none'}, expected {key!r} among them")
    return arrays[key]


def _optional(
    file: Path, arrays: Mapping[str, StoredArray], key: str | None, usual: Collection[str]
) -> StoredArray | None:
    if key is not None:
        return _array(file, arrays, key)
    return next((arrays[name] for name in usual if name in arrays), None)


def _check_lengths(recording: _Recording) -> None:
    """ValueError unless what is not observed has a row for each observation, or one fewer."""
    rows = recording.num_rows
    for array in (recording.actions, recording.rewards, recording.terminated):
        if array is not None and (array.shape[0] != recording.num_actions or rows - array.shape[0] not in (0, 1)):
            raise ValueError(
                f"{array}: found {array.shape[0]} rows, and {rows} observations, expected as many, or one fewer where the last observation "
                "is the final one, and as many of actions, rewards and ends"
            )


def _size(array: StoredArray) -> tuple[int, int]:
    """Height and width of pictures; ValueError where they are none."""
    shape = array.shape
    if array.dtype == np.uint8 and len(shape) == GREY:
        return shape[1], shape[2]
    if array.dtype == np.uint8 and len(shape) == GREY + 1:
        if _is_channel_first(shape):
            return shape[2], shape[3]
        if shape[3] in (1, 3):
            return shape[1], shape[2]
    raise ValueError(
        f"{array}: found {array.said}, expected pictures of uint8 [rows, height, width, 3], or grey ones [rows, height, width]"
    )


def _is_channel_first(shape: tuple[int, ...]) -> bool:
    return shape[1] in (1, 3) and shape[3] not in (1, 3)


def _entries(array: StoredArray) -> int:
    """Of vectors; ValueError where they are none."""
    if len(array.shape) > 2 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{array}: found {array.said}, expected pictures of uint8 [rows, height, width, 3], or numbers [rows, entries]; pictures of "
            "numbers from 0 to 1 are to be multiplied by 255 and written as uint8"
        )
    return array.shape[1] if len(array.shape) == 2 else 1


def _labelled(array: StoredArray) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Actions int64 [L] or float32 [L, A], and bool [L] whose are known."""
    values = array.values()
    if values.ndim == 2 and values.shape[1] == 1 and values.dtype.kind in "iub":
        values = values[:, 0]
    if values.ndim == 1 and values.dtype.kind in "iub":
        whole: NDArray[Any] = values.astype(np.int64)
        _check_actions(array, whole < -1, whole, "whole numbers from 0, or -1 where nobody knows the action")
        return whole, whole >= 0
    if values.ndim > 2 or values.dtype.kind != "f":
        raise ValueError(
            f"{array}: found {array.said}, expected actions as whole numbers [rows], or as float32 [rows, entries]"
        )
    numbers = values.reshape(len(values), -1).astype(np.float32)
    unknown = np.asarray(np.isnan(numbers).all(axis=1))
    wrong = ~np.asarray(np.isfinite(numbers).all(axis=1)) & ~unknown
    _check_actions(array, wrong, numbers, "finite numbers, or NaN in all entries where nobody knows the action")
    return np.where(unknown[:, None], np.float32(0), numbers), ~unknown


def _check_alike(known: Sequence[tuple[Path, NDArray[Any]]]) -> None:
    """ValueError where the actions of a file are of another kind than those of the first."""
    said = [(path, f"{actions.dtype} {list(actions.shape[1:])}") for path, actions in known]
    for path, form in said:
        if form != said[0][1]:
            raise ValueError(
                f"{path}: found actions of {form} per row, and {said[0][0]} has {said[0][1]}, expected the same in all episodes: write "
                "them alike"
            )


def _check_actions(array: StoredArray, wrong: NDArray[np.bool_], actions: NDArray[Any], expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{array}: row {row}: found the action {actions[row].tolist()}, expected {expected}")


def _padded(values: NDArray[Any] | None, start: int, stop: int) -> NDArray[Any] | None:
    """Rows of what has one fewer than there are observations, or as many."""
    if values is None:
        return None
    part = values[start:stop]
    return np.pad(part, [(0, stop - start - len(part)), *[(0, 0)] * (values.ndim - 1)])


def _is_terminated(recording: _Recording) -> bool:
    if recording.terminated is None:
        return False
    ends = np.asarray(recording.terminated.values().reshape(recording.terminated.shape[0], -1).any(axis=1))
    if ends[:-1].any():
        row = int(np.argmax(ends))
        raise ValueError(
            f"{recording.terminated}: row {row}: found an end, and {len(ends) - row - 1} rows behind it, expected one episode per file: "
            "split the file, or name another array, `terminated`"
        )
    return bool(ends[-1]) if len(ends) else False
