"""Agents' results made up for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

WriteReturns = Callable[..., Path]


@pytest.fixture
def write_returns(tmp_path: Path) -> WriteReturns:
    """A function that writes the ``returns.csv`` of one agent job and returns its path.

    Each episode of ``skills`` (labels -> probability of success) returns 0.9 (success) or 0.1; random returns 0.1 and the
    demonstrator 0.9, so that the normalised return is the success rate. ``train_skills``: those on levels of the train split.
    """

    def write(
        env: str = "xland-doorkey-6x6",
        method: str = "lapo",
        seed: int = 0,
        skills: dict[str, float] | None = None,
        draws: int = 2,
        episodes: int = 10,
        train_skills: dict[str, float] | None = None,
        policy_episodes: str = "all",
    ) -> Path:
        rows = []
        skilled = [("test", *pair) for pair in (skills or {"16": 0.3, "64": 0.8}).items()]
        skilled += [("train", *pair) for pair in (train_skills or {}).items()]
        for split, labels, skill in skilled:
            for draw in range(draws):
                for episode in range(episodes):
                    success = (episode + draw + seed) % episodes < round(skill * episodes)
                    agent = (env, method, seed, labels, draw, policy_episodes, split)
                    rows.append((*agent, episode, 100 + episode, 0.1 + 0.8 * success, 12, success))
        columns = [
            "env",
            "method",
            "seed",
            "labels",
            "label_draw",
            "policy_episodes",
            "split",
            "episode",
            "level_seed",
            "return",
            "length",
            "success",
        ]
        table = pd.DataFrame(rows, columns=columns).assign(return_random=0.1, return_expert=0.9)
        path = tmp_path / env / method / f"seed{seed}" / "returns.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def write_metrics(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a ``metrics.csv`` from rows (step, split, name, value) and returns its path."""

    def write(name: str, rows: list[tuple[int, str, str, float]]) -> Path:
        path = tmp_path / name / "metrics.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=["step", "split", "name", "value"]).to_csv(path, index=False)
        return path

    return write
