"""Recordings that nobody plays, of which some actions are known or none, beside an environment that is played."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from compared import rows_of

from lamflow.data.store import EpisodeStore
from lamflow.experiment.reading import load_experiment
from lamflow.experiment.targets import Targets

CONFIGFILE = "--configfile=config/recorded.yaml"
TRAINING = {"steps": 20, "batch_size": 16, "warmup_steps": 5, "log_every": 10, "validate_every": 10}
NETWORK = {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 0, "hidden_width": 16}
LAM = {
    "inverse_dynamics": NETWORK,
    "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 4, "target": "change"},
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 8, "codes": 8},
    "training": TRAINING,
}
POLICY = {"network": NETWORK, "training": TRAINING}
LATENT = {"kind": "latent", "lam": "lapo", "policy": POLICY, "decoder": {"training": TRAINING}}
METHODS: dict[str, Any] = {
    "lapo": LATENT,
    "bc": {"kind": "bc", "policy": POLICY},
    "vpt": {"kind": "vpt", "inverse_dynamics": NETWORK, "policy": POLICY, "decoder": {"training": TRAINING}},
    "oracle_bc": {"kind": "oracle_bc", "policy": POLICY},
    "random": {"kind": "random"},
}
EPISODES, LENGTH = 20, 12
MOVES = np.array([[-2, 0], [0, 2], [2, 0], [0, -2], [0, 0]])


def record(folder: Path, *, known: bool) -> None:
    """Episodes of a square that five actions move; all of every other episode are known and a third of the rest, or none."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(EPISODES):
        actions = generator.integers(5, size=LENGTH)
        places = np.clip(12 + np.cumsum(MOVES[actions], axis=0), 0, 24)
        frames = np.zeros((LENGTH + 1, 32, 32, 3), np.uint8)
        for frame, (row, column) in zip(frames, [(12, 12), *places], strict=True):
            frame[row : row + 8, column : column + 8] = 200
        told = np.where((number % 2 == 0) | (np.arange(LENGTH) % 3 == 0), actions, -1)
        np.savez(folder / f"episode_{number}.npz", frames=frames, **({"actions": told} if known else {}))


def configuration(**changes: Any) -> dict[str, Any]:
    """At the smallest size."""
    sources = {name: {"kind": "npz", "path": f"recordings/{name}"} for name in ("clips", "silent")}
    splits = {"train": 0.6, "validation": 0.2, "test": 0.2}
    return {
        "experiment": "recorded",
        "environments": {
            "clips": {"kind": "recorded", "episodes": sources["clips"], "splits": splits, "actions": 5},
            "silent": {"kind": "recorded", "episodes": sources["silent"], "splits": splits},
        },
        "envs": ["clips", "silent"],
        "seeds": [0],
        "labels": [16, "2 trajectories"],
        "label_draws": 2,
        "lams": {"lapo": LAM},
        "methods": METHODS,
        "evaluation": {"bootstrap_samples": 50},
    } | changes


def write(checkout: Path, **changes: Any) -> Path:
    for name in ("clips", "silent"):
        record(checkout / "recordings" / name, known=name == "clips")
    checkout.joinpath("config", "recorded.yaml").write_text(yaml.safe_dump(configuration(**changes)))
    return checkout


def of_kind(jobs: list[str], start: str) -> list[str]:
    return [job for job in jobs if job.startswith(start)]


@pytest.mark.slow
def test_nobody_plays_and_what_needs_actions_is_left_out_without_them(
    checkout: Path, planned: Callable[..., list[str]]
) -> None:
    jobs = planned(write(checkout), CONFIGFILE)
    assert len(jobs) == len(set(jobs))
    for kind in ("Rollouts of", "Demonstrator of", "Film of", "Summary over all agents", "Plot of returns"):
        assert not of_kind(jobs, kind), kind
    assert len(of_kind(jobs, "Episodes of")) == 2
    assert len(of_kind(jobs, "Latent action model lapo")) == 2
    decoders = of_kind(jobs, "Action decoders of")
    assert len(decoders) == 2 and all(" on clips, seed 0" in job for job in decoders)
    policies = Counter(re.findall(r"Policy of (\w+) on (\w+),", "\n".join(jobs)))
    assert policies == {**{(name, "clips"): 1 for name in METHODS if name != "random"}, ("lapo", "silent"): 1}
    scored = [f"Answers of {name} to recorded actions of clips, seed 0" for name in METHODS]
    assert sorted(of_kind(jobs, "Answers of")) == sorted(scored)
    assert {"Plot of answers to recorded actions against labels", "What the experiment leaves out"} <= set(jobs)


@pytest.mark.slow
def test_beside_a_played_environment_each_has_what_is_its_own(
    checkout: Path, planned: Callable[..., list[str]]
) -> None:
    both = {"envs": ["clips", "procgen-coinrun"], "evaluation": {"during_training": 2, "episodes": 4}}
    jobs = planned(write(checkout, **both), CONFIGFILE)
    assert len(of_kind(jobs, "Rollouts of")) == len(of_kind(jobs, "Answers of")) == len(METHODS)
    assert all("procgen-coinrun" in job for job in [*of_kind(jobs, "Rollouts of"), *of_kind(jobs, "Film of")])
    assert {"Summary over all agents", "Summary of all answers to recorded actions"} <= set(jobs)
    assert "Summary of procgen-coinrun" in jobs and "Summary of clips" not in jobs
    assert len(of_kind(jobs, "Policy of bc on ")) == 2


@pytest.fixture(scope="module")
def finished_recordings(
    tmp_path_factory: pytest.TempPathFactory, copied: Callable[[Path], Path], run_to_report: Callable[..., Path]
) -> Path:
    return run_to_report(write(copied(tmp_path_factory.mktemp("recorded") / "checkout")), CONFIGFILE)


@pytest.mark.whole
def test_recordings_go_all_the_way_to_the_report(finished_recordings: Path) -> None:
    results = finished_recordings / "results/recorded"
    store = EpisodeStore.open(results / "data/clips/test.zarr")
    known = int(store.load(frames=False).is_labelled.sum())
    aggregate = rows_of(results / "summary/action_aggregate.csv")
    answering = Counter((row["method"], row["what"]) for row in aggregate)
    assert answering == {
        ("lapo", "agent"): 2, ("lapo", "decoder"): 2, ("vpt", "agent"): 2, ("vpt", "decoder"): 2, ("bc", "agent"): 2,
        ("oracle_bc", "agent"): 1, ("random", "agent"): 1,
    }  # fmt: skip
    for row in aggregate:
        assert row["env"] == "clips" and row["measure"] == "accuracy" and int(row["rows"]) == known
        assert 0 <= float(row["low"]) <= float(row["score"]) <= float(row["high"]) <= 1
    assert {row["env"]: row["verdict"] for row in rows_of(results / "summary/lams.csv")}.keys() == {"clips", "silent"}
    for made in ("plots/label_curve_actions.svg", "plots/silent/lam_curves.svg", "plots/clips/policy_curves.svg"):
        assert (results / made).exists()
    for unmade in ("summary/returns.csv", "decoders/silent", "plots/silent/latent_space.svg"):
        assert not (results / unmade).exists()
    report = (finished_recordings / "report.html").read_text(encoding="utf-8")
    for text in (
        "Nobody plays clips, silent",
        "No action of silent is known",
        "learn nothing of silent: bc, oracle",
    ):
        assert text in report


def test_a_method_that_learns_by_playing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(write(tmp_path))
    methods = METHODS | {"online": {"kind": "online", "of": "lapo"}}
    with pytest.raises(ValueError, match=r"methods\.online\.kind.*nobody plays clips: there are its recordings alone"):
        load_experiment(configuration(methods=methods, envs=["clips"]))


def test_a_union_is_played_or_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(write(tmp_path))
    changes = configuration()
    changes["environments"]["clips"] |= {"frames": {"height": 64, "width": 64}, "actions": 15}
    changes["environments"]["two"] = {
        "kind": "union", "members": ["procgen-coinrun", "procgen-ninja"], "evaluation": {"members": ["clips", "procgen-coinrun"]},
    }  # fmt: skip
    with pytest.raises(ValueError, match="two: found procgen-coinrun, where agents play, beside clips"):
        load_experiment(changes | {"envs": ["two"]})


def test_the_targets_of_recordings_train_and_compare_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(write(tmp_path))
    targets = Targets(load_experiment(configuration()))
    results = "results/recorded"
    assert f"{results}/policies/silent/lapo/seed0/policy.safetensors" in targets.agents()
    assert f"{results}/decoders/clips/lapo/seed0/decoders.safetensors" in targets.agents()
    assert not any("bc" in path or "decoders" in path for path in targets.agents() if "silent" in path)
    assert targets.tables() == [
        *(f"{results}/evaluation/clips/{method}/seed0/actions.csv" for method in METHODS),
        f"{results}/summary/action_scores.csv",
        f"{results}/summary/action_aggregate.csv",
    ]
    assert targets.returns(["clips", "silent"]) == []


def test_warnings_name_what_is_asked_for_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(write(tmp_path))
    said = load_experiment(configuration(evaluation={"during_training": 2})).warnings()
    assert "clips: nobody plays it, so its policies are not evaluated in training (evaluation.during_training)" in said
    assert "methods.bc: learns nothing of silent, whose actions nobody knows" in said
    assert not any("methods.lapo: learns nothing" in line for line in said)
