"""A union of two grid worlds from nothing to the report: it learns from both, and plays one of them and a third one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from compared import rows_of

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.experiment.reading import load_experiment

CONFIGFILE = "--configfile=config/union.yaml"
TRAINING = {"steps": 30, "batch_size": 16, "warmup_steps": 5, "log_every": 10, "validate_every": 15}
NETWORK = {"width": 16, "layers": 2}
POLICY = {"network": NETWORK, "training": TRAINING}
MEMBERS = ["xland-doorkey-5x5", "xland-r1-9x9"]
PLAYED = ["xland-r1-9x9", "xland-fourrooms"]


def configuration(**changes: Any) -> dict[str, Any]:
    """At the smallest size."""
    union = {"kind": "union", "members": MEMBERS, "shares": [1, 3], "evaluation": {"members": PLAYED}}
    lam = {"inverse_dynamics": NETWORK, "forward_dynamics": NETWORK, "training": TRAINING}
    return {
        "experiment": "union",
        "envs": [{"two": union | changes}],
        "seeds": [0],
        "labels": [16],
        "label_draws": 1,
        "expert": {"total_steps": 8192, "num_envs": 64},
        "collection": {
            "train_episodes": 8,
            "validation_episodes": 4,
            "test_episodes": 4,
            "num_rulesets": 20,
            "reference_episodes": 8,
        },
        "lams": {"lapo": lam},
        "methods": {
            "lapo": {"kind": "latent", "lam": "lapo", "policy": POLICY, "decoder": {"training": TRAINING}},
            "bc": {"kind": "bc", "policy": POLICY},
            "random": {"kind": "random"},
        },
        "evaluation": {"episodes": 3, "bootstrap_samples": 50},
    }


def write(checkout: Path, **changes: Any) -> Path:
    checkout.joinpath("config", "union.yaml").write_text(yaml.safe_dump(configuration(**changes)))
    return checkout


@pytest.mark.slow
def test_a_union_adds_the_joining_of_its_splits_and_no_collection(
    checkout: Path, planned: Callable[..., list[str]]
) -> None:
    jobs = planned(write(checkout), CONFIGFILE)
    assert len(jobs) == len(set(jobs))
    demonstrators = {job for job in jobs if job.startswith("Demonstrator of")}
    assert demonstrators == {f"Demonstrator of {env}" for env in (*MEMBERS, *PLAYED)}
    episodes = Counter(job.split(" of ")[1].split(",")[0] for job in jobs if job.startswith("Episodes of"))
    assert episodes == {"xland-doorkey-5x5": 2, "xland-r1-9x9": 3, "xland-fourrooms": 1, "two": 3}
    joined = [f"Episodes of two, {split} split, joined from those of its members" for split in ("train", "validation", "test")]  # fmt: skip
    assert set(joined) <= set(jobs)
    for kind, count in (("Latent action model", 1), ("Latent actions by", 1), ("Policy of", 2), ("Rollouts of", 3)):
        found = [job for job in jobs if job.startswith(kind)]
        assert len(found) == count
        assert all(" on two, seed 0" in job for job in found)


def test_where_it_plays_changes_no_training() -> None:
    """What learns is told its environment's facts, and not in which its agents play."""
    played = [configuration(evaluation={"members": members}) for members in (PLAYED, MEMBERS)]
    facts = [load_experiment(each).environment("two").facts() for each in played]
    assert facts[0] == facts[1]


@pytest.fixture(scope="module")
def finished_union(
    tmp_path_factory: pytest.TempPathFactory, copied: Callable[[Path], Path], run_to_report: Callable[..., Path]
) -> Path:
    return run_to_report(write(copied(tmp_path_factory.mktemp("union") / "checkout")), CONFIGFILE)


@pytest.mark.whole
def test_the_stores_of_the_union_hold_no_rows(finished_union: Path) -> None:
    data = finished_union / "results/union/data"
    for split, members in (("train", MEMBERS), ("validation", MEMBERS), ("test", PLAYED)):
        path = data / "two" / f"{split}.zarr"
        store = EpisodeStore.open(path, env="two")
        assert sum(file.stat().st_size for file in path.rglob("*")) < 20_000
        assert [member.path.resolve() for member in store.members] == [data / env / f"{split}.zarr" for env in members]
    shares = EpisodeStore.open(data / "two" / "train.zarr").shares
    assert shares is not None
    assert shares.shares.tolist() == [0.25, 0.75]
    latents = LatentStore.open(finished_union / "results/union/latents/two/lapo/seed0/train.zarr")
    assert latents.num_rows == EpisodeStore.open(data / "two" / "train.zarr").num_rows


@pytest.mark.whole
def test_each_environment_that_is_played_has_its_rows_and_its_own_references(finished_union: Path) -> None:
    results = finished_union / "results/union"
    rows = rows_of(results / "evaluation/two/lapo/seed0/returns.csv")
    assert Counter(row["env"] for row in rows) == {f"two/{env}": 3 for env in PLAYED}
    for env in PLAYED:
        store = EpisodeStore.open(results / f"data/{env}/test.zarr")
        assert {float(row["return_expert"]) for row in rows if row["env"] == f"two/{env}"} == {
            store.attributes["return_expert"]
        }
    aggregate = {(row["env"], row["method"]): float(row["mean"]) for row in rows_of(results / "summary/aggregate.csv")}
    for method in ("lapo", "bc", "random"):
        assert np.isclose(
            aggregate["two", method], np.mean([aggregate[f"two/{env}", method] for env in PLAYED]), atol=1e-5
        )
        assert np.isclose(aggregate["two", method], aggregate["all", method], atol=1e-5)


@pytest.mark.whole
def test_the_report_has_every_figure(finished_union: Path) -> None:
    page = finished_union.joinpath("report.html").read_text()
    plots = {path.name for path in finished_union.joinpath("results/union/plots").rglob("*.*")}
    assert {"latent_space.svg", "episode_film.gif", "label_curve_mean.svg", "code_actions.svg"} <= plots
    assert [name for name in plots if not name.endswith(".json") and name not in page] == []


@pytest.mark.whole
def test_nothing_is_to_be_done_afterwards(finished_union: Path, planned: Callable[..., list[str]]) -> None:
    assert planned(finished_union, CONFIGFILE) == []
