"""Neighbourhoods of the latent action space: UMAP of latents, coloured by the action that the demonstrator really took."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamflow.caches import cache_or_temporary_folder
from lamflow.plots.latent_panels import Floats, LatentPanel, Plane, draw_planes

MOST_POINTS = 3000
"""Points of a panel; more of them are thinned out at random."""
NEIGHBOURS = 15
"""Neighbours of a point that UMAP keeps near it."""
LEAST_POINTS = 5
"""Fewer different ones have no neighbourhoods: they stand where their first latent dimensions say."""


def umap_plane(latents: NDArray[np.float32], *, seed: int = 0) -> Floats:
    """Coordinates [M, 2] by UMAP (McInnes et al. 2018, arXiv:1802.03426); equal latents and ``seed`` give equal coordinates.

    Latents are taken as they are, with Euclidean distances; equal ones count once, or copies would be all the neighbours that a latent
    of a grid has. The optimisation runs on one thread, or it would not repeat.
    """
    distinct, places = np.unique(latents, axis=0, return_inverse=True)
    if len(distinct) < LEAST_POINTS:
        return np.pad(latents[:, :2].astype(float), ((0, 0), (0, max(0, 2 - latents.shape[1]))))
    # numba, which wants to keep what it compiles, tries the installed package and the home directory, and fails without both.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_or_temporary_folder("numba")))
    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP  # takes seconds, as numba compiles

    neighbours = min(NEIGHBOURS, len(distinct) - 1)
    distances, indices = NearestNeighbors(n_neighbors=neighbours).fit(distinct).kneighbors(distinct)
    model = UMAP(
        n_neighbors=neighbours,
        # Exact neighbours, found here: UMAP's own search compiles for longer than it all takes.
        precomputed_knn=(indices, distances.astype(np.float32), None),
        force_approximation_algorithm=True,
        # A spectral start needs eigenvectors, which fail or differ between machines on disconnected or duplicate points.
        init="pca" if latents.shape[1] > 1 else "random",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn")  # new points are never added
        coordinates: Floats = model.fit_transform(distinct.astype(np.float32)).astype(float)
    placed: Floats = coordinates[places.reshape(-1)]
    return placed


def draw_latent_umap(panels: Sequence[LatentPanel], action_names: Sequence[str], *, seed: int = 0) -> Figure:
    """A scatter of each panel's latents by UMAP; ``seed`` picks the points and starts the optimisation."""

    def project(panel: LatentPanel) -> Plane:
        chosen = np.random.default_rng(seed).permutation(len(panel.actions))[:MOST_POINTS]
        coordinates = umap_plane(panel.latents[chosen], seed=seed)
        return Plane(coordinates, panel.actions[chosen], "UMAP 1", "UMAP 2")

    return draw_planes(panels, action_names, project)
