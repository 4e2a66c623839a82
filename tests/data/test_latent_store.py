"""Writing and reading latent stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lamflow.data.latents import LatentStore, LatentWriter
from lamflow.data.store import EpisodeStore


def test_latents_read_back_as_they_were_written(tmp_path: Path, store_path: Path) -> None:
    episodes = EpisodeStore.open(store_path)
    latents = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    codes = np.arange(24).reshape(12, 2) % 8
    path = tmp_path / "latents.zarr"
    with LatentWriter(
        path, episodes=episodes, lam="lapo", seed=1, latent_dim=4, num_tokens=2, codebook_size=8
    ) as writer:
        writer.append(latents[:5], codes[:5])
        writer.append(latents[5:], codes[5:])
    store = LatentStore.open(path, env="xland-doorkey-5x5", lam="lapo", seed=1, episodes=episodes)
    arrays = store.load()
    np.testing.assert_array_equal(arrays.latents, latents)
    np.testing.assert_array_equal(arrays.codes, codes)
    assert np.flatnonzero(~arrays.valid).tolist() == [3, 5, 11]  # the final observations
    assert (store.num_rows, store.latent_dim, store.num_tokens, store.codebook_size) == (12, 4, 2, 8)


def test_without_a_codebook_there_are_no_codes(tmp_path: Path, store_path: Path) -> None:
    path = tmp_path / "latents.zarr"
    with LatentWriter(path, episodes=EpisodeStore.open(store_path), lam="none", seed=0, latent_dim=3) as writer:
        writer.append(np.zeros((12, 3), np.float32))
    store = LatentStore.open(path)
    assert store.load().codes is None
    assert (store.num_tokens, store.codebook_size) == (0, None)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"env": "xland-r1-9x9"}, "found environment 'xland-doorkey-5x5', expected 'xland-r1-9x9'"),
        ({"lam": "other"}, "found lam 'lapo', expected 'other'"),
        ({"seed": 0}, "found seed 1, expected 0"),
    ],
)
def test_a_store_of_something_else_is_refused(latent_path: Path, expected: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"latents\.zarr: " + message):
        LatentStore.open(latent_path, **expected)  # type: ignore[arg-type]


def test_latents_of_other_episodes_are_refused(
    tmp_path: Path, latent_path: Path, write_episodes: Callable[..., object]
) -> None:
    write_episodes(tmp_path / "other.zarr", seed=1)
    with pytest.raises(
        ValueError, match=r"found latents of other episodes .* expected those of .*other\.zarr.*relabel"
    ):
        LatentStore.open(latent_path, episodes=EpisodeStore.open(tmp_path / "other.zarr"))


def test_an_episode_store_is_no_latent_store(store_path: Path, latent_path: Path) -> None:
    with pytest.raises(ValueError, match="found format 'lamflow-episodes', expected 'lamflow-latents'"):
        LatentStore.open(store_path)
    with pytest.raises(ValueError, match="found format 'lamflow-latents', expected 'lamflow-episodes'"):
        EpisodeStore.open(latent_path)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path, store_path: Path) -> None:
    path = tmp_path / "latents.zarr"
    episodes = EpisodeStore.open(store_path)

    def write(latents: np.ndarray, codes: np.ndarray | None, num_tokens: int = 2) -> None:
        with LatentWriter(
            path, episodes=episodes, lam="lapo", seed=1, latent_dim=4, num_tokens=num_tokens, codebook_size=8
        ) as writer:
            writer.append(latents, codes)

    latents, codes = np.zeros((12, 4), np.float32), np.zeros((12, 2), np.int64)
    with pytest.raises(ValueError, match=r"latents is float64 \[12, 4\], expected float32 \[12, 4\]"):
        write(latents.astype(np.float64), codes)
    with pytest.raises(ValueError, match=r"codes is int64 \[11, 2\], expected int64 \[12, 2\]"):
        write(latents, codes[:11])
    with pytest.raises(ValueError, match=r"found \['latents'\] to append, expected \['codes', 'latents'\]"):
        write(latents, None)
    with pytest.raises(ValueError, match=r"found latents of 11 rows, expected 12, the rows of .*train\.zarr"):
        write(latents[:11], codes[:11])
    with pytest.raises(ValueError, match=r"found num_tokens 0 and codebook_size 8: give both or none"):
        write(latents, codes, num_tokens=0)
    assert not path.exists()
