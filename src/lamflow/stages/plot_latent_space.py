"""The rule ``plot_latent_space``: the latents of one environment's LAMs, coloured by true action."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.catalogue import environment_spec
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import effectful
from lamflow.evaluation.codes import name_classes
from lamflow.plots.latent_space import LatentPanel, draw_latent_space
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_latent_space(*, episodes: Path | str, latents: Sequence[Path | str], output: Path | str) -> None:
    """Draw the latents of the effectful transitions of the store ``episodes``; a panel for each latent store of it."""
    started = time.monotonic()
    store = EpisodeStore.open(episodes)
    arrays = store.load()
    rows = effectful(arrays).numpy()
    actions, names = name_classes(environment_spec(store.env), arrays.actions[rows])
    panels = []
    for path in latents:
        latent_store = LatentStore.open(path, episodes=store)
        title = f"{latent_store.attributes['lam']}, seed {latent_store.attributes['seed']}"
        panels.append(LatentPanel(title, latent_store.load().latents[rows], actions))
    save_figure(draw_latent_space(panels, names), Path(output))
    record_provenance(
        Path(output),
        stage=__name__,
        settings={},
        inputs={"episodes": Path(episodes)}
        | {f"latents {panel.title}": Path(p) for panel, p in zip(panels, latents, strict=True)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
