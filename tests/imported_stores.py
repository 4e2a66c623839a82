"""Recordings of an environment's settings, imported into stores."""

from pathlib import Path

from lamflow.data.store import EpisodeStore
from lamflow.data.validate import store_problems
from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.recorded_settings import RecordedSettings
from lamflow.envs.spec import EnvironmentSpec
from lamflow.stages.import_episodes import import_episodes

SPLITS = ("train", "validation", "test")


def imported(settings: GymnasiumSettings | RecordedSettings, output: Path, name: str) -> dict[str, EpisodeStore]:
    """The stores by split, in which nothing is wrong."""
    spec: EnvironmentSpec = settings.build(name=name)
    assert settings.episodes is not None
    import_episodes(
        environment=spec.facts(),
        settings=settings.episodes.model_dump(mode="json"),
        files="",
        state_dir=output / "state",
        outputs={split: output / f"{split}.zarr" for split in SPLITS},
        table=output / "episodes.csv",
    )
    for split in SPLITS:
        assert store_problems(output / f"{split}.zarr") == []
    return {split: EpisodeStore.open(output / f"{split}.zarr", env=name) for split in SPLITS}
