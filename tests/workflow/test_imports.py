"""Published data sets in the workflow: which rule makes the episodes, and an import that runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lapo_files import SETTINGS, game_chunks, write_zip

from lamflow.data.store import EpisodeStore

CONFIGFILE = ("--configfile=config/published.yaml",)
STORES = [f"results/published/data/procgen-leaper/{split}.zarr" for split in ("train", "validation", "test")]


def configure(checkout: Path, source: str, *envs: str) -> None:
    checkout.joinpath("config", "published.yaml").write_text(
        yaml.safe_dump(
            {
                "experiment": "published",
                "envs": list(envs),
                "seeds": [0],
                "collection": {"source": source},
                "methods": {"nothing": {"kind": "random"}},
            }
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(("source", "imports"), [("lapo", 3), ("dgrl", 1)])
def test_episodes_of_procgen_come_from_the_published_data_and_others_from_their_demonstrators(
    checkout: Path, planned: Callable[..., list[str]], source: str, imports: int
) -> None:
    configure(checkout, source, "procgen-leaper", "xland-fourrooms")
    others = [path.replace("procgen-leaper", "xland-fourrooms") for path in STORES]
    jobs = planned(checkout, *STORES, *others, *CONFIGFILE)
    assert sum(job.startswith("Episodes of procgen-leaper") for job in jobs) == imports
    assert sum(job.startswith("Episodes of xland-fourrooms") for job in jobs) == 3
    assert sum(job.endswith(": leaper") for job in jobs) == 1
    assert "Demonstrator of procgen-leaper" not in jobs


@pytest.mark.slow
def test_a_game_without_published_data_is_named_before_any_job_is_planned(checkout: Path, snakemake: Callable) -> None:
    configure(checkout, "lapo", "procgen-leaper-hard")
    result = snakemake(checkout, "--dry-run", *CONFIGFILE)
    assert result.returncode != 0
    assert "lapo has no episodes of procgen-leaper-hard; it has procgen-bigfish" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.slow
def test_an_archive_that_was_put_in_place_by_hand_is_imported_without_a_network(
    checkout: Path, snakemake: Callable
) -> None:
    configure(checkout, "lapo", "procgen-leaper")
    datasets = checkout / "config" / "datasets.yaml"
    datasets.write_text(yaml.safe_dump({"lapo": {"procgen-leaper": SETTINGS}, "dgrl": {}}))
    write_zip(checkout / "resources" / "lapo" / "leaper.zip", game_chunks())
    result = snakemake(checkout, *STORES, *CONFIGFILE, "--show-failed-logs")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "download_lapo" not in result.stdout
    stores = [EpisodeStore.open(checkout / path, env="procgen-leaper") for path in STORES]
    assert [store.num_rows for store in stores] == [512, stores[1].num_rows, 48]
    assert all(checkout.joinpath(path).with_suffix(".json").exists() for path in STORES)
