"""The rule ``plot_latent_umap``: neighbourhoods of the latents of one environment's LAMs, coloured by true action."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.plots.latent_panels import read_latent_panels
from lamflow.plots.latent_umap import draw_latent_umap
from lamflow.plots.style import save_figure
from lamflow.provenance import record_provenance


def plot_latent_umap(*, episodes: Path | str, latents: Sequence[Path | str], output: Path | str) -> None:
    """Draw the latents of the effectful transitions of the store ``episodes`` by UMAP; a panel for each latent store of it."""
    started = time.monotonic()
    panels, names = read_latent_panels(episodes, latents)
    save_figure(draw_latent_umap(panels, names), Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={},
        inputs={"episodes": Path(episodes)}
        | {f"latents {panel.title}": Path(p) for panel, p in zip(panels, latents, strict=True)},
        seed=None,
        wall_seconds=time.monotonic() - started,
    )
