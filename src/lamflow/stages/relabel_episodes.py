"""Stop 4: write the latent actions of a split's transitions to a latent store."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamflow.catalogue import environment_spec
from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import LatentActionModel
from lamflow.lam.validation import label_rows
from lamflow.provenance import record_provenance

ROWS_AT_ONCE = 65_536
"""Rows of the store whose latents are in memory before they are written."""


def relabel_episodes(
    *, env: str, lam: str, seed: int, model: Path | str, episodes: Path | str, output: Path | str
) -> None:
    """Label every transition of the store ``episodes`` with the LAM at ``model``; writes a latent store, row by row beside it."""
    started = time.monotonic()
    network = load_latent_action_model(Path(model), spec=environment_spec(env), lam=lam, seed=seed)
    quantizer = network.settings.quantizer
    store = EpisodeStore.open(episodes, env=env)
    data = EpisodeTensors(store.load())
    num_tokens = quantizer.codebooks * quantizer.tokens if quantizer.kind == "vq_ema" else 0
    with LatentWriter(
        output,
        episodes=store,
        lam=lam,
        seed=seed,
        latent_dim=quantizer.latent_dim,
        num_tokens=num_tokens,
        codebook_size=quantizer.codes if num_tokens else None,
    ) as writer:
        for start in range(0, store.num_rows, ROWS_AT_ONCE):
            latents, codes = _labels(network, data, start, min(start + ROWS_AT_ONCE, store.num_rows))
            writer.append(latents, codes if num_tokens else None)
    record_provenance(
        Path(output),
        stage=__name__,
        settings={"lam": lam},
        inputs={"model": Path(model), "episodes": Path(episodes)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _labels(
    network: LatentActionModel, data: EpisodeTensors, start: int, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Latents float32 [N, D] and codes int64 [N, K] of the rows ``start`` .. ``stop`` - 1; 0 where there is no next frame."""
    rows = data.rows[(data.rows >= start) & (data.rows < stop)]
    labels = label_rows(network, data, rows)
    places = (rows - start).cpu().numpy()
    latents = np.zeros((stop - start, labels.continuous.shape[1]), np.float32)
    codes = np.zeros((stop - start, labels.codes.shape[1]), np.int64)
    latents[places], codes[places] = labels.continuous.cpu().numpy(), labels.codes.cpu().numpy()
    return latents, codes
