"""The summary stages: tables with the promised columns and numbers that can be checked by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lamflow.data.store import EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.evaluation.columns import (
    AGENT_COLUMNS,
    AGGREGATE_COLUMNS,
    DIFFERENCE_COLUMNS,
    IMPROVEMENT_COLUMNS,
    PROFILE_COLUMNS,
)
from lamflow.evaluation.results import read_aggregate, read_improvement, read_profile, read_returns
from lamflow.evaluation.summaries import add_normalized
from lamflow.stages.summarise import summarise, summarise_agents
from lamflow.stages.summarise_lams import summarise_lams

WriteReturns = Callable[..., Path]
ENVS = ("xland-doorkey-6x6", "xland-r1-9x9")


TABLES = ("returns", "aggregate", "improvement", "differences", "profile")


def run(paths: list[Path], folder: Path, samples: int = 200, episodes: Sequence[Path] = ()) -> list[pd.DataFrame]:
    """The summary tables, in the order of ``TABLES``."""
    outputs = {name: folder / f"{name}.csv" for name in TABLES}
    summarise(
        returns=paths,
        **{f"output_{name}": path for name, path in outputs.items()},
        output_tables=[folder / f"table.{suffix}" for suffix in ("csv", "md", "tex")],
        labels=64,
        bootstrap_samples=samples,
        episodes=episodes,
    )
    return [pd.read_csv(path, dtype={"labels": str}) for path in outputs.values()]


@pytest.fixture
def paths(write_returns: WriteReturns) -> list[Path]:
    """Two environments, three seeds; oracle BC and random beside a method with labels and one in a single environment."""
    found = []
    for env in ENVS:
        for seed in range(3):
            found.append(write_returns(env, "lapo", seed))
            found.append(write_returns(env, "bc", seed, {"16": 0.1, "64": 0.2}))
            found.append(write_returns(env, "oracle_bc", seed, {"all": 0.9}, draws=1))
            found.append(write_returns(env, "random", seed, {"0": 0.0}, draws=1))
    found += [write_returns(ENVS[0], "vpt", seed) for seed in range(3)]
    return found


def test_tables_have_the_promised_columns_and_rows(paths: list[Path], tmp_path: Path) -> None:
    agents, aggregate, improvement, differences, profile = run(paths, tmp_path)
    assert tuple(agents.columns) == AGENT_COLUMNS
    assert tuple(aggregate.columns) == AGGREGATE_COLUMNS
    assert tuple(improvement.columns) == IMPROVEMENT_COLUMNS
    assert tuple(differences.columns) == DIFFERENCE_COLUMNS
    assert tuple(profile.columns) == PROFILE_COLUMNS
    assert len(agents) == 2 * 3 * (2 * 2 * 2 + 1 + 1) + 3 * 2 * 2
    assert aggregate.groupby("env").size().to_dict() == {ENVS[0]: 8, ENVS[1]: 6, "all": 6}
    assert set(agents["split"]) == {"test"}


def test_numbers_are_those_of_the_episodes(paths: list[Path], tmp_path: Path) -> None:
    agents, aggregate, *_ = run(paths, tmp_path)
    agent = agents.query(
        "env == @ENVS[0] and method == 'lapo' and labels == '64' and seed == 1 and label_draw == 0"
    ).iloc[0]
    assert agent["episodes"] == 10
    assert agent["return_mean"] == pytest.approx(0.1 + 0.8 * 0.8)
    assert agent["return_std"] == pytest.approx(0.8 * 0.4)
    assert agent["normalized_return"] == pytest.approx(0.8)
    assert agent["success_rate"] == pytest.approx(0.8)
    row = aggregate.query("env == 'all' and method == 'bc' and labels == '64'").iloc[0]
    assert (row["num_seeds"], row["num_draws"], row["episodes"]) == (3, 2, 2 * 3 * 2 * 10)
    assert row["mean"] == pytest.approx(0.2) == row["iqm"]
    assert row["success_rate"] == pytest.approx(0.2)
    assert row["mean_low"] < 0.2 < row["mean_high"]
    assert row["success_low"] < 0.2 < row["success_high"]


def test_returns_are_also_normalised_by_the_published_bounds_where_there_are_any(
    write_returns: WriteReturns, tmp_path: Path
) -> None:
    """Maze: 5 to 10."""
    maze = preset("procgen-maze")
    episode = Episode(
        {"frames": np.zeros((2, 64, 64, 3), np.uint8)}, np.zeros(2, np.int64), np.zeros(2, np.float32), True, False, 0
    )
    with EpisodeWriter(
        tmp_path / "test.zarr", spec=maze, split="test", attributes={"source": "a", "licence": "b"}
    ) as store:
        store.append(episode)
    returns = [write_returns("procgen-maze"), write_returns(ENVS[0])]
    agents, *_ = run(returns, tmp_path, episodes=[tmp_path / "test.zarr"])
    found = agents.set_index(["env", "labels"])["normalized_return_cobbe"]
    returned = agents.set_index(["env", "labels"])["return_mean"]
    expected = (returned.loc["procgen-maze"] - 5) / 5
    assert found.loc["procgen-maze"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.loc[ENVS[0]].isna().all()


def test_a_method_that_lacks_an_environment_is_left_out_of_all(paths: list[Path], tmp_path: Path) -> None:
    _, aggregate, *_ = run(paths, tmp_path)
    assert "vpt" not in set(aggregate.query("env == 'all'")["method"])
    assert "vpt" in set(aggregate.query("env == @ENVS[0]")["method"])


def test_one_environment_has_no_rows_for_all(write_returns: WriteReturns, tmp_path: Path) -> None:
    _, aggregate, *_ = run([write_returns()], tmp_path)
    assert set(aggregate["env"]) == {ENVS[0]}


def test_improvement_compares_methods_of_equal_labels(paths: list[Path], tmp_path: Path) -> None:
    _, _, improvement, *_ = run(paths, tmp_path)
    assert set(improvement["labels"]) == {"16", "64"}
    at_64 = improvement.query("env == 'all' and labels == '64'").set_index(["method", "baseline"])["probability"]
    assert at_64["lapo", "bc"] == 1
    assert at_64["bc", "lapo"] == 0


def test_another_method_leaves_the_intervals_as_they_were(
    paths: list[Path], write_returns: WriteReturns, tmp_path: Path
) -> None:
    befores = run(paths, tmp_path / "before")
    afters = run([write_returns(method="aaa"), *reversed(paths)], tmp_path / "after")
    for before, after in zip(befores, afters, strict=True):
        kept = after[(after["method"] != "aaa") & (after.get("baseline") != "aaa")].reset_index(drop=True)
        pd.testing.assert_frame_equal(before, kept)


def test_differences_are_those_of_equal_seeds_draws_and_episodes(paths: list[Path], tmp_path: Path) -> None:
    *_, differences, _ = run(paths, tmp_path)
    row = differences.query("env == 'all' and labels == '64' and method == 'lapo' and baseline == 'bc'").iloc[0]
    assert (row["num_seeds"], row["num_draws"]) == (3, 2)
    assert row["difference"] == pytest.approx(0.6)
    assert row["low"] < 0.6 < row["high"]
    turned = differences.query("env == 'all' and labels == '64' and method == 'bc' and baseline == 'lapo'").iloc[0]
    assert turned[["difference", "low", "high"]].tolist() == pytest.approx(
        [-row["difference"], -row["high"], -row["low"]]
    )
    assert set(differences["labels"]) == {"16", "64"}
    assert not ((differences["env"] == "all") & (differences["method"] == "vpt")).any()


def slow_differences(ours: pd.DataFrame, theirs: pd.DataFrame, samples: int) -> tuple[float, float, float]:
    """The paired hierarchical bootstrap of one environment, loop by loop."""
    keys = ["seed", "label_draw", "episode"]
    both = ours.set_index(keys)["normalized"].to_frame("ours").join(theirs.set_index(keys)["normalized"], how="inner")
    gaps = (both["ours"] - both["normalized"]).to_dict()
    seeds, draws, episodes = (sorted(set(both.index.get_level_values(key))) for key in keys)
    rng, found = random.Random(0), []
    for _ in range(samples):
        means = []
        for seed in rng.choices(seeds, k=len(seeds)):
            for draw in rng.choices(draws, k=len(draws)):
                drawn = rng.choices(episodes, k=len(episodes))
                means.append(sum(gaps[seed, draw, episode] for episode in drawn) / len(drawn))
        found.append(sum(means) / len(means))
    return (sum(gaps.values()) / len(gaps), *np.percentile(found, [2.5, 97.5]))


def test_differences_agree_with_a_slow_reference_on_what_both_methods_have(
    write_returns: WriteReturns, tmp_path: Path
) -> None:
    """One method has a seed and a label draw more; skills differ from seed to seed, which pairs partly cancel."""
    ours = [write_returns(method="ours", seed=s, skills={"64": 0.9 - 0.1 * s}, draws=3) for s in range(5)]
    theirs = [write_returns(method="theirs", seed=s, skills={"64": 0.6 - 0.2 * (s == 2)}, draws=2) for s in range(1, 5)]
    *_, differences, _ = run([*ours, *theirs], tmp_path, samples=4000)
    row = differences.query("method == 'ours'").iloc[0]
    value, low, high = slow_differences(
        *(add_normalized(read_returns(paths)) for paths in (ours, theirs)), samples=2000
    )
    assert (row["num_seeds"], row["num_draws"]) == (4, 2)
    assert row["difference"] == pytest.approx(value)
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.02)


def test_methods_without_a_common_seed_have_no_difference(write_returns: WriteReturns, tmp_path: Path) -> None:
    *_, differences, _ = run([write_returns(seed=0), write_returns(method="bc", seed=1)], tmp_path)
    assert differences.empty


def test_profiles_hold_the_compared_budget_and_methods_without_one(paths: list[Path], tmp_path: Path) -> None:
    *_, profile = run(paths, tmp_path)
    assert set(profile["labels"]) == {"64", "all", "0"}
    agents = profile.query("env == @ENVS[0] and method == 'lapo'").set_index("threshold")["fraction"]
    assert (agents.loc[0.0], agents.loc[0.79], agents.loc[0.8]) == (1, 1, 0)
    assert profile["threshold"].min() <= 0 and profile["threshold"].max() >= 1


def test_online_methods_stand_after_all_labels(paths: list[Path], write_returns: WriteReturns, tmp_path: Path) -> None:
    online = [write_returns(env, "lapo", seed, {"online": 1.0}, draws=1) for env in ENVS for seed in range(3, 6)]
    moved = [path.rename(path.parent / "online.csv") for path in online]
    for path in moved:
        pd.read_csv(path).assign(method="rl").to_csv(path, index=False)
    agents, aggregate, _, _, profile = run([*paths, *moved], tmp_path / "summary")
    assert "online" in set(agents["labels"]) & set(profile["labels"])
    assert aggregate.query("env == 'all' and method == 'rl'")["mean"].tolist() == [1]


def test_summaries_can_be_read_again(paths: list[Path], tmp_path: Path) -> None:
    run(paths, tmp_path)
    assert read_improvement(tmp_path / "improvement.csv")["labels"].iloc[0] == "16"
    assert read_profile(tmp_path / "profile.csv")["threshold"].dtype == float


def test_tables_of_one_environment_have_the_columns_of_all(paths: list[Path], tmp_path: Path) -> None:
    agents, *_ = run(paths, tmp_path)
    chosen = [path for path in paths if ENVS[0] in str(path) and "seed1" in str(path)]
    summarise_agents(returns=chosen, output=tmp_path / "seed1.csv")
    expected = agents.query("env == @ENVS[0] and seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "seed1.csv", dtype={"labels": str}), expected)


def test_the_aggregate_can_be_read_again(paths: list[Path], tmp_path: Path) -> None:
    run(paths, tmp_path)
    table = read_aggregate(tmp_path / "aggregate.csv")
    assert table["labels"].iloc[0] == "16"
    assert table["mean"].dtype == float


def test_tables_come_with_their_provenance(paths: list[Path], tmp_path: Path) -> None:
    run(paths, tmp_path)
    found = json.loads((tmp_path / "aggregate.json").read_text())
    assert found["settings"] == {"bootstrap_samples": 200, "labels": "64"}
    assert len(found["inputs"]) == len(paths)


def test_a_missing_agent_is_named_and_nothing_is_written(write_returns: WriteReturns, tmp_path: Path) -> None:
    paths = [write_returns(seed=0), write_returns(seed=1, draws=1)]
    with pytest.raises(ValueError, match=r"lapo, labels 16: every seed needs the same label draws.*seed 1 draw 0: 10"):
        run(paths, tmp_path / "summary")
    assert not (tmp_path / "summary").exists()


@pytest.mark.parametrize(
    ("references", "reason"),
    [
        ({"return_expert": 0.1}, "the demonstrator (0.1) is not above random (0.1)"),
        ({"return_random": 0.5, "return_expert": 0.1}, "the demonstrator (0.1) is not above random (0.5)"),
        ({"return_random": 0.1, "return_expert": 0.100001}, "less than 0.001 of the size of returns"),
        ({"return": "1e100"}, "less than 0.001 of the size of returns"),
    ],
)
def test_references_without_information_give_no_normalised_number(
    write_returns: WriteReturns,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    references: dict[str, object],
    reason: str,
) -> None:
    """Alone in an experiment such an environment keeps its raw returns; the figures say why they are empty."""
    path = write_returns()
    pd.read_csv(path).assign(**references).to_csv(path, index=False)
    agents, *others = run([path], tmp_path)
    assert agents["return_mean"].notna().all() and agents["normalized_return"].isna().all()
    assert all(table.empty for table in others)
    printed = pd.read_csv(tmp_path / "table.csv").set_index("quantity")
    assert printed.loc["return", "lapo"] == pytest.approx(
        agents.query("labels == '64'")["return_mean"].mean(), rel=1e-5
    )
    assert np.isnan(printed.loc["normalized_return", "lapo"])
    assert "Not normalised: xland-doorkey-6x6, as " in (tmp_path / "table.md").read_text()
    assert reason in (tmp_path / "table.md").read_text() and reason in caplog.text
    assert "there is nothing to normalise by" in caplog.text
    for read, name in ((read_aggregate, "aggregate"), (read_improvement, "improvement"), (read_profile, "profile")):
        assert read(tmp_path / f"{name}.csv").empty


@pytest.fixture
def turned(paths: list[Path]) -> list[Path]:
    """The results of both environments, of which the second has a demonstrator below random."""
    for path in paths:
        if ENVS[1] in str(path):
            pd.read_csv(path).assign(return_random=0.5, return_expert=0.1).to_csv(path, index=False)
    return paths


def test_an_environment_that_cannot_be_normalised_takes_nothing_from_the_others(
    turned: list[Path], tmp_path: Path
) -> None:
    sound = [path for path in turned if ENVS[0] in str(path)]
    agents, *others = run(turned, tmp_path / "both")
    alone = run(sound, tmp_path / "alone")
    pd.testing.assert_frame_equal(agents.query("env == @ENVS[0]").reset_index(drop=True), alone[0])
    for found, expected in zip(others, alone[1:], strict=True):
        pd.testing.assert_frame_equal(found, expected)


def test_what_is_left_out_of_normalisation_keeps_its_raw_returns_and_is_said(
    turned: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agents, *_ = run(turned, tmp_path)
    reason = "the demonstrator (0.1) is not above random (0.5)"
    found = agents.query("env == @ENVS[1]")
    assert len(found) > 0 and found["normalized_return"].isna().all() and found["return_mean"].notna().all()
    printed = pd.read_csv(tmp_path / "table.csv").set_index(["quantity", "row"])
    assert printed.loc[("return", ENVS[1]), "lapo"] == pytest.approx(0.1 + 0.8 * 0.8)
    assert np.isnan(printed.loc[("normalized_return", ENVS[1]), "lapo"])
    assert printed.loc[("normalized_return", "mean"), "lapo"] == pytest.approx(0.8)
    assert f"Not normalised: {ENVS[1]}, as {reason}." in (tmp_path / "table.md").read_text()
    assert f"Not normalised: {ENVS[1]}, as {reason}." in (tmp_path / "table.tex").read_text()
    assert json.loads((tmp_path / "aggregate.json").read_text())["settings"]["left_out"] == {ENVS[1]: reason}
    assert f"{ENVS[1]} is left out of what is normalised: {reason}" in caplog.text


def test_a_gap_within_the_error_that_the_store_tells_is_left_out(
    write_returns: WriteReturns, tmp_path: Path, write_walks: Callable[..., Path], grid_world: Any
) -> None:
    """.9 - .1 with a standard error of 1."""
    errors = {"return_random_error": 0.6, "return_expert_error": 0.8}
    store = write_walks(tmp_path / "test.zarr", episodes=2, split="test", **errors)
    summarise_agents(returns=[write_returns(grid_world.spec.name)], output=tmp_path / "a.csv", episodes=[store])
    found = pd.read_csv(tmp_path / "a.csv")
    assert found["normalized_return"].isna().all() and found["return_mean"].notna().all()
    assert "the standard error of the difference (1)" in (tmp_path / "a.json").read_text()


def test_lam_table_has_the_last_validation_value_of_each_metric(
    write_metrics: Callable[..., Path], tmp_path: Path
) -> None:
    first = write_metrics(
        "a",
        [
            (50, "train", "loss/total", 3.0),
            (100, "validation", "fdm/loss", 2.0),
            (200, "validation", "fdm/loss", 1.0),
            (200, "validation", "codebook/perplexity", 5.0),
        ],
    )
    second = write_metrics("b", [(200, "validation", "fdm/loss", 0.5)])
    runs = [{"env": ENVS[0], "lam": lam, "seed": 0} for lam in ("lapo", "continuous")]
    summarise_lams(metrics=[first, second], runs=runs, output=tmp_path / "lams.csv")
    table = pd.read_csv(tmp_path / "lams.csv").set_index("lam")
    assert list(table.columns) == ["env", "seed", "step", "verdict", "reason", "codebook/perplexity", "fdm/loss"]
    assert table.loc["lapo", ["step", "codebook/perplexity", "fdm/loss"]].tolist() == [200, 5.0, 1.0]
    assert pd.isna(table.loc["continuous", "codebook/perplexity"])


def test_lam_table_has_a_verdict_on_each_model_and_the_log_tells_it(
    write_metrics: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {"fdm/loss": 1.0, "fdm/loss_copy_last_frame": 2.0}
    paths = [
        write_metrics(
            name,
            [(200, "validation", *item) for item in (losses | {"fdm/loss_shuffled_latent": shuffled}).items()],
        )
        for name, shuffled in (("a", 3.0), ("b", 1.0))
    ]
    runs = [{"env": ENVS[0], "lam": "lapo", "seed": seed} for seed in (0, 1)]
    summarise_lams(metrics=paths, runs=runs, output=tmp_path / "lams.csv")
    table = pd.read_csv(tmp_path / "lams.csv")
    assert table["verdict"].tolist() == ["healthy", "latent ignored"]
    assert "Try more `training.steps`" in table["reason"][1]
    assert "Latent action models: 1 latent ignored, 1 healthy." in capsys.readouterr().out


def test_lam_without_validation_is_named(write_metrics: Callable[..., Path], tmp_path: Path) -> None:
    path = write_metrics("a", [(50, "train", "loss/total", 3.0)])
    with pytest.raises(ValueError, match=r"a/metrics\.csv: no rows of split 'validation'"):
        summarise_lams(metrics=[path], runs=[{"env": "e", "lam": "l", "seed": 0}], output=tmp_path / "lams.csv")
