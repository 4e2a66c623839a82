"""Video files as recorded episodes: whole files, or cut by a table or at leaps. Each file is decoded once, in order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import groupby, islice, pairwise
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np

from lamflow.episodes.action_table import ActionTable, read_action_table
from lamflow.episodes.cuts import Cut, between, cuts_of_table, whole
from lamflow.episodes.cutting import kept_pictures
from lamflow.episodes.decoding import USUAL_RATE, Picture, VideoFacts, pictures, video_facts
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, EpisodeEntry, Piece, RecordedEpisode
from lamflow.episodes.leaps import leaps_in
from lamflow.episodes.video_files import Recording, recordings_at
from lamflow.episodes.video_settings import VideoSettings
from lamflow.spaces import Pixels

FRAMES = "frames"
PIECE_BYTES = 4 << 20
MOST_TOLD = 20
"""Sizes and rates that stand among the facts."""


class VideoSource:
    """A ``lamflow.episodes.interface.Source``. Actions are those of the frames that are kept, found by the recording and the number that
    the frame has in it."""

    def __init__(self, *, settings: VideoSettings, fit: FrameFit) -> None:
        self.settings, self.fit = settings, fit

    def describe(self) -> Described:
        """Decodes the first frame of each file; where leaps cut, all of each. ValueError as in the interface."""
        return self._described

    def episodes(self, names: Collection[str] | None = None) -> Iterator[RecordedEpisode]:
        """ValueError, after the pieces that could be read, where a file is damaged, or shorter than cuts or actions say."""
        entries = {entry.name: entry for entry in self._described.episodes}
        wanted = [cut for cut in self._cuts if names is None or cut.name in names]
        for recording, cuts in groupby(wanted, key=lambda cut: cut.recording):
            rate = self._facts[recording].rate or USUAL_RATE
            kept = kept_pictures(self._pictures(recording), list(cuts), self.settings.every, rate)
            for cut, part in groupby(kept, key=lambda found: found[0]):
                yield RecordedEpisode(entries[cut.name], self._pieces(cut, (picture for _, picture in part)))

    @cached_property
    def _recordings(self) -> tuple[Recording, ...]:
        return recordings_at(Path(self.settings.path))

    @cached_property
    def _facts(self) -> dict[Recording, VideoFacts]:
        return {recording: video_facts(recording.path) for recording in self._recordings}

    @cached_property
    def _actions(self) -> ActionTable | None:
        return None if self.settings.actions is None else read_action_table(Path(self.settings.actions))

    @cached_property
    def _cuts(self) -> Sequence[Cut]:
        """All episodes, in order."""
        settings = self.settings.cuts
        if settings is None:
            found = [whole(recording) for recording in self._recordings]
        elif settings.table is not None:
            found = cuts_of_table(Path(settings.table), settings.unit, self._recordings)
        else:
            assert settings.leaps is not None
            leaps = leaps_in([recording.path for recording in self._recordings], settings.leaps)
            leaping = zip(self._recordings, leaps, strict=True)
            found = [cut for recording, (count, starts) in leaping for cut in between(recording, starts, count)]
        _check_names(found)
        return found

    @cached_property
    def _shape(self) -> tuple[int, int]:
        """Height and width of all frames."""
        shapes: dict[tuple[int, int], tuple[Recording, VideoFacts]] = {}
        for recording, facts in self._facts.items():
            try:
                shapes.setdefault(self.fit.shape_of(facts.height, facts.width), (recording, facts))
            except ValueError as error:
                raise ValueError(f"{recording.path}: {error}") from None
        (first, facts), *others = shapes.values()
        if others:
            other, others_facts = others[0]
            raise ValueError(
                f"{first.path} and {other.path}: found frames of {facts.height} x {facts.width} and of {others_facts.height} x "
                f"{others_facts.width} pixels (height x width), expected one size: set `frames: {{height: 64, width: 64}}`"
            )
        return next(iter(shapes))

    @cached_property
    def _described(self) -> Described:
        facts, actions = list(self._facts.values()), self._actions
        if actions is not None:
            actions.check_episodes([recording.name for recording in self._recordings])
        rates = sorted({facts.rate for facts in facts if facts.rate})
        return Described(
            observation={FRAMES: Pixels((*self._shape, 3))},
            main=FRAMES,
            action=None if actions is None else actions.space,
            episodes=tuple(self._entry(cut) for cut in self._cuts),
            lossy=any(facts.lossy for facts in facts),
            frames_per_second=rates[0] / self.settings.every if len(rates) == 1 else None,
            action_names=() if actions is None else actions.action_names,
            notes=(*_notes(self._facts), *(() if actions is None else actions.notes)),
            facts={
                "codecs": sorted({facts.codec for facts in facts}),
                "pixel_formats": sorted({facts.pixel_format for facts in facts}),
                "recorded_sizes": [list(size) for size in sorted({(facts.height, facts.width) for facts in facts})][
                    :MOST_TOLD
                ],
                "recorded_frames_per_second": rates[:MOST_TOLD],
                "every": self.settings.every,
            },
        )

    def _entry(self, cut: Cut) -> EpisodeEntry:
        """Compares with the container's count of frames, where it has one."""
        facts = self._facts[cut.recording]
        count = facts.num_frames
        if count is not None:
            cut.check_end(count, np.inf if facts.rate is None else (count + 0.5) / facts.rate)
            if self._actions is not None:
                self._actions.check_length(cut.recording.name, count)
        length = cut.num_frames(count)
        rows = None if length is None else -(-length // self.settings.every)
        return EpisodeEntry(cut.name, rows, cut.group, self._labelled(cut))

    def _labelled(self, cut: Cut) -> bool | None:
        """Where an episode begins and ends that is cut by seconds, only decoding tells: it counts where its recording has no action at all,
        or one of each frame; else None."""
        if self._actions is None:
            return None
        if cut.unit == "seconds":
            known = len(self._actions.frames.get(cut.recording.name, ()))
            return known > 0 if known in (0, self._facts[cut.recording].num_frames) else None
        end = inf if cut.end is None else cut.end
        return self._actions.knows(cut.recording.name, int(cut.start), end, self.settings.every)

    def _pictures(self, recording: Recording) -> Iterator[Picture]:
        """All of a recording; ValueError at its end where there are actions of frames that it does not have."""
        count = 0
        for picture in pictures(recording.path):
            count = picture.number + 1
            yield picture
        if self._actions is not None:
            self._actions.check_length(recording.name, count)

    def _pieces(self, cut: Cut, found: Iterator[Picture]) -> Iterator[Piece]:
        rows = max(1, PIECE_BYTES // prod((*self._shape, 3)))
        while part := list(islice(self._frames(cut, found), rows)):
            numbers = np.array([number for number, _ in part], np.int64)
            frames = np.stack([frame for _, frame in part])
            if self._actions is None:
                yield Piece({FRAMES: frames})
            else:
                actions, labelled = self._actions.of(cut.recording.name, numbers)
                yield Piece({FRAMES: frames}, actions, labelled)

    def _frames(self, cut: Cut, found: Iterator[Picture]) -> Iterator[tuple[int, Any]]:
        """Numbers of pictures and the frames that they become."""
        for picture in found:
            shape = self.fit.shape_of(*picture.turn.shape_of(picture.image))
            if shape != self._shape:
                raise ValueError(
                    f"{cut.recording.path}: frame {picture.number}: found {shape[0]} x {shape[1]} pixels (height x width), expected "
                    f"{self._shape[0]} x {self._shape[1]} as in the frames before: set `frames: {{height: 64, width: 64}}`"
                )
            yield picture.number, picture.turn.frame(picture.image, self.fit)


def _check_names(cuts: Sequence[Cut]) -> None:
    ordered = sorted(cuts, key=lambda cut: cut.name)
    for before, after in pairwise(ordered):
        if before.name == after.name:
            raise ValueError(
                f"{before.where} and {after.where}: found two episodes of the name {after.name!r}, expected a name once: rename one"
            )


def _notes(facts: dict[Recording, VideoFacts]) -> Iterator[str]:
    uneven = [(recording, found.intervals) for recording, found in facts.items() if found.intervals is not None]
    if uneven:
        recording, (shortest, longest) = uneven[0]
        yield (
            f"{recording.path}: the frame rate varies ({shortest * 1000:.0f} to {longest * 1000:.0f} ms between frames; {len(uneven)} of "
            f"{len(facts)} files do so): frames are counted by their order, so that a step is not always the same time."
        )
    rates = sorted({found.rate for found in facts.values() if found.rate})
    if len(rates) > 1:
        yield f"The files have {len(rates)} frame rates, from {rates[0]:g} to {rates[-1]:g} per second: a step is not the same time in all."
    wide = [recording for recording, found in facts.items() if abs(found.pixel_aspect - 1) > 0.01]
    if wide:
        yield f"{wide[0].path}: its pixels are not square ({facts[wide[0]].pixel_aspect:.2f} wide per height) and are read as if they were."
