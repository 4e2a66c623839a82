"""Latent action models out of their files: latents as the workflow's, whole or in pieces, and predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamflow
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import Window
from lamflow.loaded.lams import LoadedLam, joined
from lamflow.training.checkpoint import save_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lam(results: Any) -> LoadedLam:
    return lamflow.load_lam(results.lam)


@pytest.fixture(scope="module")
def episode(results: Any) -> np.ndarray:
    """The frames of the longest episode."""
    arrays = EpisodeStore.open(results.store("train")).load()
    longest = int(np.diff([*arrays.episode_starts, arrays.num_rows]).argmax())
    return np.split(arrays.frames, arrays.episode_starts[1:])[longest]


def problem(call: Any) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


def test_latents_and_codes_are_those_of_the_workflows_relabelling(results: Any, lam: LoadedLam) -> None:
    arrays = EpisodeStore.open(results.store("train")).load()
    stored = LatentStore.open(results.latents("train"))
    latents, codes = (stored.rows(name).read(0, arrays.num_rows) for name in ("latents", "codes"))
    for number, frames in enumerate(np.split(arrays.frames, arrays.episode_starts[1:])):
        start = int(arrays.episode_starts[number])
        found, rows = lam.label(frames), slice(start, start + len(frames) - 1)
        np.testing.assert_allclose(found.latents, latents[rows], rtol=1e-5, atol=1e-6)
        assert found.codes.tolist() == codes[rows].tolist()
    assert lam.encode(frames).tolist() == found.latents.tolist()


@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 1, 1, 1), (1, 7)], ids=str)
def test_an_episode_in_pieces_is_labelled_as_the_whole_one(
    sizes: tuple[int, ...], lam: LoadedLam, episode: np.ndarray
) -> None:
    cuts = np.cumsum(np.resize(sizes, len(episode)))
    parts = joined(list(lam.label_pieces(iter(np.split(episode, cuts[cuts < len(episode)])))))
    whole = lam.label(episode)
    np.testing.assert_allclose(parts.latents, whole.latents, rtol=1e-5, atol=1e-6)
    assert parts.codes.tolist() == whole.codes.tolist()


def test_predictions_are_the_models_own(lam: LoadedLam, episode: np.ndarray) -> None:
    found = lam.label(episode)
    predicted = lam.predict(episode, found.latents)
    assert predicted.shape == (len(episode) - 1, 8, 8, 2) and predicted.dtype == np.uint8
    assert (predicted == lam.predict(episode, codes=found.codes)).all()
    window = Window.of_frames(torch.from_numpy(episode[None, [3, 4, 5]]))
    with torch.no_grad():
        wanted = lam.model.predict(window, lam.model.quantizer(torch.from_numpy(found.latents[4:5])).latents)
    assert (predicted[4] == wanted[0].numpy()).all()


def test_a_frame_and_a_latent_or_a_code_give_a_frame(lam: LoadedLam, episode: np.ndarray) -> None:
    """The first one of an episode."""
    found = lam.label(episode[:2])
    one = lam.predict(episode[0], found.latents[0])
    assert one.shape == (8, 8, 2) and (one == lam.predict(episode, found.latents)[0]).all()
    assert (one == lam.predict(episode[0], codes=found.codes[0])).all()


def test_a_model_is_found_by_its_folder(results: Any) -> None:
    assert repr(lamflow.load_lam(results.lam.parent)) == "LoadedLam(lapo of xland-empty-random-8x8-full, seed 0)"


def test_what_is_no_model_or_no_frames_of_its_own_is_refused(
    results: Any, lam: LoadedLam, episode: np.ndarray, tmp_path: Path
) -> None:
    policy = results.folder("policies", "bc") / "policy.safetensors"
    assert "found a file of kind 'policy', expected a latent action model's" in problem(
        lambda: lamflow.load_lam(policy)
    )
    save_model(tmp_path / "model.safetensors", {}, {"kind": "lam", "env": "x"})
    assert "does not say its environment" in problem(lambda: lamflow.load_lam(tmp_path))
    assert "no such model file" in problem(lambda: lamflow.load_lam(tmp_path / "nothing.safetensors"))
    large = np.zeros((4, 96, 64, 3), np.uint8)
    assert "found frames uint8 ['T', 96, 64, 3], expected uint8 ['T', 8, 8, 2]" in problem(lambda: lam.label(large))
    assert "found fewer than two frames" in problem(lambda: lam.label(episode[:1]))
    assert "expected one of them" in problem(lambda: lam.predict(episode[0]))
    assert "found latents of shape [3], expected [4]" in problem(lambda: lam.predict(episode[0], np.zeros(3)))
    assert "found codes from 6 to 6, expected whole numbers from 0 to 5" in problem(
        lambda: lam.predict(episode[0], codes=np.array([6]))
    )
    assert "found codes from -1 to -1" in problem(lambda: lam.predict(episode[0], codes=np.array([-1])))
    assert "found 2 latents for 1 frames" in problem(lambda: lam.predict(episode[:1], np.zeros((2, 4))))
