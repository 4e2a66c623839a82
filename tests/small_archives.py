"""Archives in the form of the published data sets that take milliseconds to write and import: noise in place of frames."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.data.store import EpisodeStore
from lamflow.envs.presets import preset
from lamflow.stages.import_dgrl import import_dgrl
from lamflow.stages.import_lapo import import_lapo

ENV = "procgen-leaper"
ROWS = 6
LAPO_SETTINGS: dict[str, Any] = {
    "urls": [],
    "licence": "a test",
    "version": "1",
    "return_expert": 7.4,
    "return_random": 2.5,
    "train_chunk_rows": ROWS,
    "test_chunk_rows": ROWS,
    "episode_marks": "last",
}
DGRL_SETTINGS: dict[str, Any] = {"urls": [], "licence": "a test", "version": "1", "return_random": 2.5}
Arrays = dict[str, NDArray[Any]]


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Frames of blocks, so that they pack well."""
    small = np.random.default_rng(seed).integers(0, 256, (*shape[:-3], 4, 4, 3)).astype(np.uint8)
    return small.repeat(16, axis=-3).repeat(16, axis=-2)


def chunk(seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "obs": noise(seed, ROWS, 64, 64, 3),
        "ta": generator.integers(0, 15, ROWS),
        "done": np.arange(ROWS) % 3 == 2,
        "rewards": generator.integers(0, 9, ROWS).astype(np.float32),
        "values": generator.normal(size=ROWS),
    }


def packed(arrays: Arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def lapo_files() -> dict[str, bytes]:
    """The npz files of an archive by name: three chunks of train/, one of test/."""
    return {f"leaper/{name}.npz": packed(chunk(seed)) for seed, name in enumerate(LAPO_NAMES)}


LAPO_NAMES = ("train/0", "train/1", "train/2", "test/0")


def write_zip(path: Path, files: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=options.get("compression"))
    return path


def import_zip(archive: Path, split: str = "train", **settings: Any) -> EpisodeStore:
    """The store of a split; the archive counts as seen for the first time."""
    Path(f"{archive}.lock.json").unlink(missing_ok=True)
    output = archive.parent / f"{split}.zarr"
    import_lapo(
        environment=preset(ENV).facts(), split=split, settings=LAPO_SETTINGS | settings, archive=archive, output=output
    )
    return EpisodeStore.open(output, env=ENV)


LEVELS = (3, 170, 190)


def episode(length: int, seed: int) -> Arrays:
    return {
        "observations": noise(seed, length + 1, 64, 64, 3).transpose(0, 3, 1, 2).copy(),
        "actions": np.arange(length)[:, None] % 15,
        "rewards": np.eye(1, length, length - 1, dtype=np.float32).T * seed,
        "dones": np.arange(length) == length - 1,
    }


def as_npy(value: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(value, dtype=object), allow_pickle=True)
    return stream.getvalue()


def dgrl_files(*, npz: bool = False) -> dict[str, bytes]:
    """The files of an archive by name: an episode of each split."""
    files = {}
    for index, level in enumerate(LEVELS):
        arrays = episode(3 + index, index)
        name = f"leaper/20220101T000000_{index}_{3 + index}_{level}_{index:.2f}.np{'z' if npz else 'y'}"
        files[name] = packed(arrays) if npz else as_npy(arrays)
    return files


def tar_of(
    files: dict[str, bytes], *more: tuple[str, bytes], tar_format: int = tarfile.PAX_FORMAT, **changes: Any
) -> bytes:
    """An uncompressed tar of ``files`` and ``more``; ``changes``: attributes of each member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tar_format) as archive:
        for name, content in [*files.items(), *more]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def import_tar(archive: Path) -> dict[str, EpisodeStore]:
    """The stores of all splits; the archive counts as seen for the first time."""
    Path(f"{archive}.lock.json").unlink(missing_ok=True)
    outputs = {split: archive.parent / f"{split}.zarr" for split in ("train", "validation", "test")}
    import_dgrl(environment=preset(ENV).facts(), settings=DGRL_SETTINGS, archive=archive, outputs=outputs)
    return {split: EpisodeStore.open(path, env=ENV) for split, path in outputs.items()}
