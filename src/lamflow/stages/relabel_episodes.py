"""Stop 4: write the latent actions of a split's transitions to a latent store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lamflow.data.held_windows import Section
from lamflow.data.latents import LatentWriter
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import Latents
from lamflow.lam.validation import label_rows
from lamflow.provenance import note_sources, record_provenance
from lamflow.stages.code import stage_code
from lamflow.training.precision import autocast, precision_of


def relabel_splits(
    *,
    environment: Mapping[str, Any],
    lam: str,
    seed: int,
    model: Path | str,
    episodes: Sequence[Path | str],
    outputs: Sequence[Path | str],
) -> None:
    """``relabel_episodes`` of several stores, one after the other: starting a process costs more than labelling a small one."""
    for store, output in zip(episodes, outputs, strict=True):
        relabel_episodes(environment=environment, lam=lam, seed=seed, model=model, episodes=store, output=output)


def relabel_episodes(
    *, environment: Mapping[str, Any], lam: str, seed: int, model: Path | str, episodes: Path | str, output: Path | str
) -> None:
    """Label every transition of the store ``episodes`` with the LAM at ``model``; writes a latent store, row by row beside it.

    In the precision that the setting of the model's training means here, which is printed. Memory is that of a few sections of the
    store: while one is labelled, the next is read and the last is written.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    network = load_latent_action_model(Path(model), spec=spec, lam=lam, seed=seed)
    code = stage_code(__name__, settings=network.settings)
    note_sources(code)
    precision = precision_of(network.settings.training.precision, network.parameters())
    print(f"relabelling of {episodes} by {lam} of {spec.name}, seed {seed}: precision {precision}")
    quantizer = network.settings.quantizer
    store = EpisodeStore.open(episodes, env=spec.name)
    data = EpisodeTensors.open(store, window_gib=0)
    num_tokens = quantizer.num_tokens
    with (
        LatentWriter(
            output,
            episodes=store,
            lam=lam,
            seed=seed,
            latent_dim=quantizer.latent_dim,
            num_tokens=num_tokens,
            codebook_size=quantizer.num_codes if num_tokens else None,
        ) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        written: list[Future[None]] = []
        for section in data.sections(network.window):
            with autocast(precision.name, data.device):
                labels = label_rows(network, section)
            for future in written:
                future.result()
            written = [pool.submit(_write, writer, section, labels)]
        for future in written:
            future.result()
    record_provenance(
        Path(output),
        code=code,
        settings={"lam": lam},
        inputs={"model": Path(model), "episodes": Path(episodes)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[precision],
    )


def _write(writer: LatentWriter, section: Section, labels: Latents) -> None:
    """Append the latents and, where there is a codebook, the codes of a section; 0 where there is no next frame."""
    rows = (section.rows - section.start).cpu().numpy()
    latents = np.zeros((section.stop - section.start, labels.continuous.shape[1]), np.float32)
    codes = np.zeros((len(latents), labels.codes.shape[1]), np.int64)
    latents[rows], codes[rows] = labels.continuous.cpu().numpy(), labels.codes.cpu().numpy()
    writer.append(latents, codes if codes.shape[1] else None)
