"""Stop 2 of a union: one split of its members' episodes, joined and not copied."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lamflow.code_digests import Code
from lamflow.data.unions import join_stores
from lamflow.envs.spec import EnvironmentSpec
from lamflow.provenance import record_provenance


def join_episodes(
    *,
    environment: Mapping[str, Any],
    shares: Sequence[float] | None,
    split: str,
    episodes: Sequence[Path | str],
    output: Path | str,
) -> None:
    """Write a store that names the stores ``episodes``, whose rows it has one after the other.

    ``shares``: how much learners see of each; None: as many as each has transitions.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    join_stores(output, episodes, spec=spec, split=split, shares=shares)
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={"shares": None if shares is None else list(shares)},
        inputs={str(path): Path(path) for path in episodes},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
