"""The typed model of ``config/rates.yaml``: measured rates of the stages, from which times and sizes of jobs are estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from lamflow.settings import Settings
from lamflow.settings_errors import read_settings

Device = Literal["cpu", "gpu"]
Frames = Literal["grid", "pixels", "vectors"]
WorkKind = Literal[
    "ppo",
    "online_decoding",
    "planning",
    "collection",
    "import",
    "decoding",
    "lam_training",
    "cloning",
    "labelling",
    "decoder_training",
    "rollouts",
]

ALIKE: dict[WorkKind, tuple[WorkKind, ...]] = {
    "ppo": ("online_decoding",),
    "online_decoding": ("ppo",),
    "planning": ("collection", "rollouts"),
    "collection": ("rollouts", "planning"),
    "import": ("labelling",),
    "decoding": ("import",),
    "lam_training": ("cloning",),
    "cloning": ("lam_training", "decoder_training"),
    "labelling": ("rollouts", "lam_training"),
    "decoder_training": ("cloning", "lam_training"),
    "rollouts": ("collection", "labelling"),
}
"""Whose rates are nearest, the nearest first."""


class Point(Settings):
    """One measurement."""

    macs: int = Field(ge=0, description="Multiply-accumulates of a sample's forward pass through the networks of it.")
    per_second: float = Field(ge=1e-9, description="Samples a second, on a CPU of one core.")
    source: str = Field(min_length=1, description="What was run where, or which document has the figure.")


def _ascending(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: point.macs))


Points = Annotated[tuple[Point, ...], AfterValidator(_ascending)]


class DeviceRates(Settings):
    """The measurements of one kind of work on one kind of frames."""

    cpu: Points = Field(min_length=1, description="On a CPU.")
    gpu: Points = Field((), description="On a GPU; without any, a GPU is taken to be as fast as a core of the CPU.")


class WorkRates(Settings):
    """One kind of work."""

    unit: str = Field(description="What a sample is.")
    grid: DeviceRates | None = Field(None, description="On grids of categories.")
    pixels: DeviceRates | None = Field(None, description="On RGB frames.")
    vectors: DeviceRates | None = Field(None, description="On vectors of numbers.")


class FrameFacts(Settings):
    """What the number of frames and their room on disk follow from, for one kind of frames."""

    demonstrator_share: float = Field(
        gt=0, le=1, description="Mean length of a demonstrator's episode as a share of its time limit."
    )
    agent_share: float = Field(gt=0, le=1, description="The same of an agent that is evaluated.")
    stored_share: float = Field(gt=0, description="Bytes of a store of episodes a byte of its frames.")
    latents_share: float = Field(gt=0, description="Bytes of a latent store a byte of its latents and codes.")
    source: str = Field(min_length=1, description="Where these were measured.")


class Rates(Settings):
    """All that estimates are made from."""

    origin: dict[Device, str] = Field(description="Where the rates of a device come from, in words for the estimate.")
    start_up: dict[str, float] = Field(description="Seconds of a job beside its work, by rule.")
    other_start_up: float = Field(gt=0, description="The same of a job of any other rule.")
    frames: dict[Frames, FrameFacts] = Field(min_length=1, description="By kind of frames.")
    work: dict[WorkKind, WorkRates] = Field(description="By kind of work.")

    def start_up_seconds(self, rule: str) -> float:
        """Of one job of a rule."""
        return self.start_up.get(rule, self.other_start_up)

    def per_second(self, kind: WorkKind, frames: Frames, device: Device, macs: int) -> float:
        """Samples a second (on a CPU: of one core) through networks of ``macs`` multiply-accumulates a sample.

        Between two measured sizes the logarithm of the rate is linear in that of the size; above the largest, the rate falls
        as the size grows; below the smallest, where calling operators sets the pace, it stays what it was there. Where nothing
        was measured, the rates are those of ``measured_as``.
        """
        measured = self._measured(*self.measured_as(kind, frames))
        assert measured is not None
        return _interpolated((measured.gpu if device == "gpu" else ()) or measured.cpu, macs)

    def measured_as(self, kind: WorkKind, frames: Frames) -> tuple[WorkKind, Frames]:
        """The work and frames whose rates stand for these: their own, else the nearest that were measured. That is work of the same
        sort on such frames, then the same work on other frames, then anything."""
        kinds = (kind, *ALIKE[kind], *self.work)
        near = [(other, frames) for other in (kind, *ALIKE[kind])]
        far = [(other, other_frames) for other in kinds for other_frames in get_args(Frames)]
        return next(work for work in near + far if self._measured(*work) is not None)

    def facts_of(self, frames: Frames) -> FrameFacts:
        """What was measured of a kind of frames, or of another where nothing was."""
        return self.frames.get(frames) or next(iter(self.frames.values()))

    def _measured(self, kind: WorkKind, frames: Frames) -> DeviceRates | None:
        measured: DeviceRates | None = getattr(self.work.get(kind), frames, None)
        return measured

    @model_validator(mode="after")
    def _something_measured(self) -> Rates:
        if not any(rates.grid or rates.pixels or rates.vectors for rates in self.work.values()):
            raise ValueError(
                "work: found no rates at all, expected those of at least one kind of work on grid, pixels or vectors"
            )
        return self


def _interpolated(points: Sequence[Point], macs: int) -> float:
    smaller = [point for point in points if point.macs <= macs]
    larger = [point for point in points if point.macs > macs]
    if not smaller:
        return larger[0].per_second
    below = smaller[-1]
    if not below.macs:
        return (larger or smaller)[0].per_second
    if not larger:
        return below.per_second * below.macs / macs
    above = larger[0]
    position = math.log(macs / below.macs) / math.log(above.macs / below.macs)
    return below.per_second * (above.per_second / below.per_second) ** position


def read_rates(path: Path) -> Rates:
    """Read and validate a table of rates; ValueError lists each bad key with its value and what is allowed."""
    return read_settings(path, Rates)
