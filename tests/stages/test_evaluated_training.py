"""Policies that play while they train: the same policies, and a curve that an interruption leaves as it is."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_policy_stages import METHODS, Stages

from lamflow.envs.interface import VectorEnvironment
from lamflow.evaluation.columns import POLICY_CURVE_COLUMNS
from lamflow.methods.settings import method_settings
from lamflow.stages import evaluate_agents as evaluate_module
from lamflow.stages import train_evaluated_policy as evaluated_module
from lamflow.stages.train_evaluated_policy import train_evaluated_policy

TIMES, EPISODES = 3, 6
LABELS, DRAWS = (16,), 2


class Killed(BaseException):
    """What ends a training in the middle."""


class Evaluated(Stages):
    """The stage beside its plain form, on levels that say of which split they are."""

    drawn: list[str]

    def common(self, method: str) -> dict[str, Any]:
        return super().common(method) | {"labels": LABELS, "label_draws": DRAWS}

    def evaluated(self, method: str, name: str, **changes: Any) -> Path:
        folder = self.folder / name
        decoders = self.folder / method / "decoders.safetensors"
        arguments: dict[str, Any] = {
            "agent": METHODS[method],
            "agent_labels": () if method == "oracle_bc" else LABELS,
            "agent_label_draws": DRAWS,
            "evaluation": {"episodes": EPISODES, "during_training": TIMES},
            "collection": {},
            "logging": {},
            "train": self.world.episodes(),
            "validation": self.world.episodes("validation"),
            "episodes": self.world.episodes("test"),
            "latents": self.latents(method, "train"),
            "validation_latents": self.latents(method, "validation"),
            "decoders": decoders if decoders.exists() else None,
            "output": folder / "policy.safetensors",
            "metrics": folder / "metrics.csv",
            "curve": folder / "curve.csv",
            "state_dir": folder / "state",
        }
        train_evaluated_policy(**(self.common(method) | arguments | changes))
        return folder


@pytest.fixture
def stages(
    world: Any, grid_world: Callable[[int], VectorEnvironment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Evaluated:
    stages = Evaluated(world, tmp_path)
    stages.drawn = []

    def draw(env: Any, split: str, count: int, *_: Any, **__: Any) -> Any:
        stages.drawn.append(split)
        return np.arange(count) + 30_000

    monkeypatch.setattr(evaluate_module, "make_vector_environment", lambda name, count, **_: grid_world(count))
    for module in (evaluate_module, evaluated_module):
        monkeypatch.setattr(module, "draw_levels", draw)
    return stages


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lapo", "mixture", "bc", "vpt", "oracle_bc"])
def test_to_play_meanwhile_changes_nothing_of_the_policy(method: str, stages: Evaluated) -> None:
    if METHODS[method]["kind"] == "latent":
        stages.decoders(method)
    plain = stages.policy(method)
    folder = stages.evaluated(method, "evaluated")
    assert folder.joinpath("policy.safetensors").read_bytes() == plain.read_bytes()
    curves = [rows_of(path) for path in (folder / "metrics.csv", plain.with_name("metrics.csv"))]
    assert [row for row in curves[0] if row["split"] != "evaluation"] == curves[1] != curves[0]
    assert set(stages.drawn) == {"validation"}, "no test level is played"
    rows = rows_of(folder / "curve.csv")
    assert tuple(rows[0]) == POLICY_CURVE_COLUMNS
    agents = {(row["labels"], row["label_draw"]) for row in rows}
    assert len(agents) == (1 if method == "oracle_bc" else DRAWS) and len(rows) == TIMES * len(agents)
    assert {row["step"] for row in rows} == {"2", "4", "6"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lapo", "oracle_bc"])
def test_the_last_point_is_what_the_finished_agents_return(method: str, stages: Evaluated) -> None:
    if method == "lapo":
        stages.decoders(method)
    folder = stages.evaluated(method, method)
    episodes = stages.evaluate(method, evaluation={"episodes": EPISODES})
    last = [row for row in rows_of(folder / "curve.csv") if row["step"] == "6"]
    for row in last:
        own = [e for e in episodes if (e["labels"], e["label_draw"]) == (row["labels"], row["label_draw"])]
        assert float(row["return_mean"]) == pytest.approx(np.mean([float(e["return"]) for e in own]))
        assert float(row["success_rate"]) == pytest.approx(np.mean([e["success"] == "True" for e in own]))
        assert len(own) == int(row["episodes"]) == EPISODES
    assert len(last) == len(episodes) / EPISODES


@pytest.mark.slow
@pytest.mark.parametrize(("method", "last"), [("oracle_bc", 2), ("oracle_bc", 3), ("bc", 5)])
def test_an_interrupted_training_has_the_curve_of_a_straight_one(
    method: str, last: int, stages: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = METHODS[method]
    training = settings["policy"]["training"] | {"checkpoint_every": 3}
    given = settings | {"policy": settings["policy"] | {"training": training}}
    stages.common = lambda name, common=stages.common: common(name) | {"settings": given}  # type: ignore[method-assign]
    straight = stages.evaluated(method, "straight", agent=given)
    play, calls = evaluated_module.play_levels, list[int]()

    def killed(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == last:
            raise Killed
        return play(*arguments)

    monkeypatch.setattr(evaluated_module, "play_levels", killed)
    with pytest.raises(Killed):
        stages.evaluated(method, "resumed", agent=given)
    resumed = stages.evaluated(method, "resumed", agent=given)
    for name in ("policy.safetensors", "curve.csv", "metrics.csv"):
        assert resumed.joinpath(name).read_bytes() == straight.joinpath(name).read_bytes()
    assert len(calls) < 2 * TIMES * (DRAWS if method == "bc" else 1), "what was finished is not played again"


def test_a_checkpoint_of_a_training_without_an_audience_is_not_resumed(
    stages: Evaluated, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its curve would begin in the middle."""
    folder = stages.folder / "oracle_bc"
    monkeypatch.setattr("lamflow.stages.train_policy.remove_checkpoints", lambda path: None)
    stages.policy("oracle_bc")
    stages.evaluated("oracle_bc", "oracle_bc", state_dir=folder / "state")
    assert "checkpoint of other settings, data or code" in capsys.readouterr().out
    assert [row["step"] for row in rows_of(folder / "curve.csv")] == ["2", "4", "6"]


def test_methods_whose_decoders_see_the_policy_cannot_play_meanwhile() -> None:
    playing = {name: method_settings(settings).plays_in_training for name, settings in METHODS.items()}
    assert [name for name, plays in playing.items() if not plays] == ["flow", "codes_observing", "random"]
