"""The list of published data sets."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lamflow.data.sources import archive_path, read_sources
from lamflow.envs.procgen_presets import PROCGEN_GAMES

LIST = Path(__file__).parents[2] / "config" / "datasets.yaml"
GAMES = [f"procgen-{game}" for game in PROCGEN_GAMES]


def changed(tmp_path: Path, source: str, **changes: Any) -> Path:
    """The list in the repository with other values for one game."""
    raw = yaml.safe_load(LIST.read_text())
    raw[source]["procgen-maze"] = raw[source]["procgen-maze"] | changes
    path = tmp_path / "datasets.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_every_game_has_its_archives_with_different_addresses() -> None:
    sources = read_sources(LIST)
    assert list(sources.lapo) == list(sources.dgrl) == GAMES
    for group in (sources.lapo, sources.dgrl):
        addresses = [url for source in group.values() for url in source.urls]
        assert len(set(addresses)) == len(addresses) >= len(GAMES)
    assert all(source.return_expert > source.return_random for source in sources.lapo.values())


def test_archives_lie_under_resources_unless_a_copy_is_named(tmp_path: Path) -> None:
    sources = read_sources(LIST)
    assert archive_path("lapo", "procgen-maze", sources.lapo["procgen-maze"]) == Path("resources/lapo/maze.zip")
    assert archive_path("dgrl", "procgen-maze", sources.dgrl["procgen-maze"]) == Path("resources/dgrl/maze.tar.xz")
    copy = read_sources(changed(tmp_path, "lapo", path="/data/maze.zip")).lapo["procgen-maze"]
    assert archive_path("lapo", "procgen-maze", copy) == Path("/data/maze.zip")
    (tmp_path / "v1.0").mkdir()
    for folder in ("/data/expert_data", str(tmp_path / "v1.0")):
        unpacked = read_sources(changed(tmp_path, "lapo", path=folder)).lapo["procgen-maze"]
        assert archive_path("lapo", "procgen-maze", unpacked) == Path(folder)


def test_an_environment_without_data_is_named_with_those_that_have_some() -> None:
    with pytest.raises(
        ValueError, match=r"lapo has no episodes of procgen-maze-hard; it has procgen-bigfish, .*procgen-starpilot"
    ):
        read_sources(LIST).source_of("lapo", "procgen-maze-hard")


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        (
            "lapo",
            {"url": "x"},
            r"datasets\.yaml: 1 problem\(s\)\n  lapo\.procgen-maze\.url: unknown key; known here: urls, path",
        ),
        ("lapo", {"sha256": "abc"}, r"lapo\.procgen-maze\.sha256"),
        (
            "lapo",
            {"path": "data/maze.ZIP"},
            r"lapo\.procgen-maze\.path: .*'data/maze\.ZIP', .* name ends in \.zip: rename it",
        ),
        (
            "lapo",
            {"path": "expert_data", "size": 9},
            r"lapo\.procgen-maze: path: found the folder 'expert_data' with a size or sha256, which are those of a zip",
        ),
        ("dgrl", {"path": "data/maze"}, r"dgrl\.procgen-maze\.path: .* name ends in \.tar\.xz"),
        ("dgrl", {"path": "data/maze.txz"}, r"dgrl\.procgen-maze\.path: .*'data/maze\.txz', .* name ends in \.tar\.xz"),
        ("dgrl", {"path": "data/maze.zip"}, r"dgrl\.procgen-maze\.path: .* name ends in \.tar\.xz"),
        ("lapo", {"train_chunks": 0}, r"lapo\.procgen-maze\.train_chunks"),
        ("dgrl", {"test_levels": [150, 200]}, r"dgrl\.procgen-maze: levels: .* expected ranges that share no level"),
        ("dgrl", {"test_levels": [200, 200]}, r"expected ranges whose first level is below their end"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, source: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sources(changed(tmp_path, source, **changes))
