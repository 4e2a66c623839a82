"""The typed model of ``config/rates.yaml``: measured rates of the stages, from which times and sizes of jobs are estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lamflow.config_base import Settings
from lamflow.config_errors import read_settings

Device = Literal["cpu", "gpu"]
Frames = Literal["grid", "pixels"]
WorkKind = Literal[
    "ppo",
    "online_decoding",
    "planning",
    "collection",
    "import",
    "lam_training",
    "cloning",
    "labelling",
    "decoder_training",
    "rollouts",
]


class Point(Settings):
    """One measurement."""

    macs: int = Field(ge=0, description="Multiply-accumulates of a sample's forward pass through the networks of it.")
    per_second: float = Field(gt=0, description="Samples a second, on a CPU of one core.")
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
    frames: dict[Frames, FrameFacts] = Field(description="By kind of frames.")
    work: dict[WorkKind, WorkRates] = Field(description="By kind of work.")

    def start_up_seconds(self, rule: str) -> float:
        """Of one job of a rule."""
        return self.start_up.get(rule, self.other_start_up)

    def per_second(self, kind: WorkKind, frames: Frames, device: Device, macs: int) -> float:
        """Samples a second (on a CPU: of one core) through networks of ``macs`` multiply-accumulates a sample.

        Between two measured sizes the logarithm of the rate is linear in that of the size; above the largest, the rate falls
        as the size grows; below the smallest, where calling operators sets the pace, it stays what it was there. KeyError
        when nothing was measured.
        """
        measured = getattr(self.work[kind], frames)
        if measured is None:
            raise KeyError(f"rates of {kind} over {frames}")
        return _interpolated((measured.gpu if device == "gpu" else ()) or measured.cpu, macs)


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
