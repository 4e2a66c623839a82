"""Stop 4: write the latent actions of a split's transitions to a latent store."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from lamflow.catalogue import environment_spec
from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore
from lamflow.lam.learning import WindowBatches, load_latent_action_model
from lamflow.lam.validation import label_in_batches
from lamflow.provenance import record_provenance


def relabel_episodes(
    *, env: str, lam: str, seed: int, model: Path | str, episodes: Path | str, output: Path | str
) -> None:
    """Label every transition of the store ``episodes`` with the LAM at ``model``; writes a latent store, row by row beside it."""
    started = time.monotonic()
    network = load_latent_action_model(Path(model), spec=environment_spec(env), lam=lam, seed=seed)
    quantizer = network.settings.quantizer
    store = EpisodeStore.open(episodes, env=env)
    batches = WindowBatches(store.load())
    labels = label_in_batches(network, batches.windows(batches.rows))
    num_tokens = labels.codes.shape[1]
    latents = np.zeros((store.num_rows, quantizer.latent_dim), np.float32)
    codes = np.zeros((store.num_rows, num_tokens), np.int64)
    rows = batches.rows.numpy()
    latents[rows], codes[rows] = labels.continuous.numpy(), labels.codes.numpy()
    with LatentWriter(
        output,
        episodes=store,
        lam=lam,
        seed=seed,
        latent_dim=quantizer.latent_dim,
        num_tokens=num_tokens,
        codebook_size=quantizer.codes if num_tokens else None,
    ) as writer:
        writer.append(latents, codes if num_tokens else None)
    record_provenance(
        Path(output),
        stage=__name__,
        settings={"lam": lam},
        inputs={"model": Path(model), "episodes": Path(episodes)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )
