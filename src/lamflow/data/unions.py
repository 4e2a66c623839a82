"""Writes the store of a union: which stores it joins, and how much of each learners see. No rows are copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lamflow.data.group_writer import GroupWriter
from lamflow.data.store import UNION_FORMAT, UNION_FORMAT_VERSION, EpisodeStore
from lamflow.envs.spec import EnvironmentSpec


def join_stores(
    path: Path | str, stores: Sequence[Path | str], *, spec: EnvironmentSpec, split: str, shares: Sequence[float] | None
) -> None:
    """Write the store ``path`` of the environment ``spec``: the episodes of ``stores``, one after the other.

    ``shares``: how much of each is drawn, which sum to 1; None: by their numbers of transitions. The stores are found by their place beside
    the new one, so all may be moved together. ValueError when one of them cannot be read, or is of another split.
    """
    path, members = Path(path), [EpisodeStore.open(store) for store in stores]
    for member in members:
        if member.split != split:
            raise ValueError(
                f"{member.path}: found split {member.split!r}, expected {split!r}: give the store of that split"
            )
    num_episodes = [member.num_episodes for member in members]
    transitions = [member.num_transitions for member in members]
    if shares is None:
        shares = [count / max(1, sum(transitions)) for count in transitions] if sum(transitions) else None
    taken = shares or [1 / len(members)] * len(members)
    returns = [member.attributes["return_behaviour"] * member.num_episodes for member in members]
    with GroupWriter(path, ()) as group:
        group.attributes = {
            "format": UNION_FORMAT,
            "format_version": UNION_FORMAT_VERSION,
            "env": spec.name,
            "environment": spec.facts(),
            "split": split,
            "num_episodes": sum(num_episodes),
            "num_rows": sum(member.num_rows for member in members),
            "final_observations": all(member.final_observations for member in members),
            "return_behaviour": sum(returns) / sum(num_episodes),
            "return_expert": None,
            "return_random": None,
            "members": [
                {
                    "env": member.env,
                    "store": Path(os.path.relpath(member.path.resolve(), path.parent.resolve())).as_posix(),
                    "digest": member.digest,
                    "share": share,
                }
                for member, share in zip(members, taken, strict=True)
            ],
        }
