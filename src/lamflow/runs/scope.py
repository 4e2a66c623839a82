"""An experiment as jobs see it: how much work a job has, and how many rows the splits of its data.

Its seeds do not matter here: all cost the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lamflow.envs.spec import EnvironmentSpec
from lamflow.experiment.experiment import Experiment
from lamflow.runs.rates import FrameFacts, Frames, Rates, WorkKind


class Task(NamedTuple):
    """So many samples of one kind of work, through networks of so many multiply-accumulates a sample."""

    kind: WorkKind
    samples: float
    macs: int = 0


@dataclass(frozen=True)
class Work:
    """One job's work.

    ``networks``: parameters that are trained or asked at once; ``members``: parameters of all networks that the job reads or
    writes, one a label count and draw; ``batch_macs``: multiply-accumulates of the largest batch's forward pass;
    ``window_bytes``: frames in memory; ``rows``: of the largest store that it reads or writes; ``output_bytes``: on disk.
    """

    tasks: tuple[Task, ...] = ()
    networks: int = 0
    members: int = 0
    batch_macs: int = 0
    window_bytes: int = 0
    rows: int = 0
    output_bytes: int = 0


UNKNOWN_ROWS = 3000
"""ASSUME: rows of a recorded episode whose length only decoding tells, such as two minutes of video."""


def rows_of_recordings(spec: EnvironmentSpec) -> dict[str, int]:
    """Rows of each split of an environment that nobody plays."""
    rows, episodes = spec.own["rows"], spec.own["episodes"]
    return {split: episodes[split] * UNKNOWN_ROWS if rows[split] is None else rows[split] for split in rows}


@dataclass(frozen=True, eq=False)
class Scope:
    """The experiment, and what its configuration does not say: rows of imported splits by environment and split."""

    experiment: Experiment
    rates: Rates
    imported_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shipped_experts: frozenset[str] = frozenset()

    def frames_of(self, spec: EnvironmentSpec) -> Frames:
        """The kind of frames that an environment has."""
        return "vectors" if spec.view == "vector" else "pixels" if spec.view == "pixels" else "grid"

    def facts_of(self, spec: EnvironmentSpec) -> FrameFacts:
        """What was measured of the kind of frames that an environment has."""
        return self.rates.facts_of(self.frames_of(spec))

    def rows_of(self, env: str, split: str) -> int:
        """Rows of a split's store: known of imports, else from the mean length of a demonstrator's episodes."""
        if members := self._members(env, split):
            return sum(self.rows_of(member, split) for member in members)
        if env in self.imported_rows:
            return self.imported_rows[env][split]
        spec = self.experiment.environment(env)
        share = self.facts_of(spec).demonstrator_share
        return round(self.episodes_of(split) * (share * spec.max_steps + spec.final_observations))

    def most_rows_of(self, env: str, split: str) -> int:
        """Rows of a split's store if each of its episodes took the time limit."""
        if members := self._members(env, split):
            return sum(self.most_rows_of(member, split) for member in members)
        if env in self.imported_rows:
            return self.imported_rows[env][split]
        return self.episodes_of(split) * (self.experiment.environment(env).max_steps + 1)

    def episodes_of(self, split: str) -> int:
        """Episodes that are collected for a split."""
        episodes: int = getattr(self.experiment.collection, f"{split}_episodes")
        return episodes

    def _members(self, env: str, split: str) -> tuple[str, ...]:
        """The environments whose episodes a split joins, none where it has its own."""
        return self.experiment.stores_behind(env, split) if self.experiment.environment(env).members else ()
