"""Recordings in the place of a demonstrator's episodes of an environment of Gymnasium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported_stores import imported
from linear_world import SETTINGS

from lamflow.data.store import EpisodeStore
from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.registry import make_vector_environment
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.references import reference_returns
from lamflow.lam import probe
from lamflow.stages.train_lam import train_lam

EPISODES, ROWS, ENTRIES = 8, 6, 4


def write_recordings(folder: Path, *, entries: int = ENTRIES, actions: Any = None, reward: float | None = 1.0) -> Path:
    """Vectors as CartPole shows them, a constant per episode; actions of 0 and 1 unless others are given."""
    folder.mkdir()
    for number in range(EPISODES):
        columns = {"state": np.full((ROWS, entries), number, np.float32)}
        if actions is not False:
            columns["actions"] = np.arange(ROWS) % 2 if actions is None else actions
        if reward is not None:
            columns["rewards"] = np.full(ROWS, reward, np.float32)
        np.savez(folder / f"{number}.npz", **columns)
    return folder


def settings_of(folder: Path, **changes: Any) -> GymnasiumSettings:
    episodes = {"kind": "npz", "path": str(folder), "observations": {"state": "state"}}
    given = {"id": "CartPole-v1", "episodes": episodes, "returns": {"random": 1.5}}
    return GymnasiumSettings.model_validate(given | changes)


def run(settings: GymnasiumSettings, output: Path) -> dict[str, EpisodeStore]:
    return imported(settings, output, "cart")


def test_stores_are_of_the_recordings_and_normalised_by_their_returns(tmp_path: Path) -> None:
    settings = settings_of(write_recordings(tmp_path / "recordings"))
    stores = run(settings, tmp_path)
    spec: EnvironmentSpec = settings.build(name="cart")
    assert sum(store.attributes["num_episodes"] for store in stores.values()) == EPISODES
    for store in stores.values():
        assert reference_returns(store, spec) == (1.5, ROWS)
        assert store.attributes["return_expert_error"] == 0
        assert not store.attributes["final_observations"] and spec.final_observations
        arrays = store.load()
        assert arrays.acted.all() and store.recorded == "all"
        assert (arrays.level_seeds == -1).all()  # a level of the simulator is a seed


def test_agents_play_the_simulator(tmp_path: Path) -> None:
    spec: EnvironmentSpec = settings_of(write_recordings(tmp_path / "recordings")).build(name="cart")
    environment = make_vector_environment(spec, 2)
    assert environment.reset(np.array([3, 4])).parts["state"].shape == (2, ENTRIES)
    assert environment.step(np.array([0, 1])).rewards.tolist() == [1, 1]
    environment.close()


def test_a_latent_action_model_learns_from_the_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
    settings = settings_of(write_recordings(tmp_path / "recordings"))
    run(settings, tmp_path)
    train_lam(
        environment=settings.build(name="cart").facts(),
        lam="plain",
        settings=SETTINGS | {"training": SETTINGS["training"] | {"steps": 2, "validate_every": 2, "log_every": 1}},
        logging={},
        seed=0,
        train=tmp_path / "train.zarr",
        validation=tmp_path / "validation.zarr",
        output=tmp_path / "model.safetensors",
        metrics=tmp_path / "metrics.csv",
        state_dir=tmp_path / "training",
    )
    assert (tmp_path / "model.safetensors").is_file()


def test_recordings_without_rewards_need_the_return_of_the_demonstrator(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "recordings", reward=None)
    with pytest.raises(ValueError, match=r"no reward but 0, expected .* set environments\.cart\.returns\.demonstrator"):
        run(settings_of(folder), tmp_path / "refused")
    stores = run(settings_of(folder, returns={"random": 1, "demonstrator": 9}), tmp_path / "taken")
    assert stores["test"].attributes["return_expert"] == 9


@pytest.mark.parametrize(
    ("recorded", "changes", "message"),
    [
        ({"entries": 3}, {}, r"part 'state' .*found vector of shape \[3\] .*expected vector of shape \[4\]"),
        ({"actions": np.arange(ROWS)}, {}, "actions: found 6 actions in the recordings, expected 2, as the simulator"),
        ({"actions": np.ones((ROWS, 2), np.float32)}, {}, r"actions: found box ones of shape \[2\] .*expected discrete"),
        ({"actions": False}, {}, "actions: found none in the recordings, expected discrete ones"),
        ({}, {"max_steps": 3}, "max_steps: found 3, and 6 actions in the recorded episode '0'"),
    ],
    ids=["entries", "too many actions", "continuous", "no actions", "long"],
)  # fmt: skip
def test_recordings_of_other_spaces_are_refused(
    tmp_path: Path, recorded: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    """The same recordings without the fault are taken, as the tests above show."""
    with pytest.raises(ValueError, match=message):
        settings_of(write_recordings(tmp_path / "recordings", **recorded), **changes).build(name="cart")


def test_continuous_actions_beyond_the_simulators_are_refused(tmp_path: Path) -> None:
    actions = np.linspace(-2, 2, ROWS, dtype=np.float32)[:, None]
    for name, scale, fits in (("within", 1, True), ("beyond", 1.5, False)):
        settings = settings_of(
            write_recordings(tmp_path / name, entries=3, actions=scale * actions),
            id="Pendulum-v1",
            returns={"random": -1000},
        )
        if fits:
            assert settings.build(name="swing").own["episodes"]["train"] == 6
        else:
            with pytest.raises(ValueError, match=r"actions: found entry 0 from -3 to 3 .*expected it from -2 to 2"):
                settings.build(name="swing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"returns": None}, r"returns: found none beside episodes, expected `returns: \{random"),
        ({"demonstrator": {"kind": "policy", "path": "a:b"}}, "demonstrator: found it beside episodes"),
        ({"episodes": None}, "returns: found it without episodes"),
        ({"episodes": None, "returns": None, "splits": {"train": 0.5}}, "splits: found it without episodes"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(Path("recordings"), **changes)
