"""The latent action space: a plane of latents, coloured by the action that the demonstrator really took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamflow.plots.latent_panels import Floats, LatentPanel, Plane, draw_planes
from lamflow.plots.style import percent

MOST_POINTS = 4000
"""Points of a panel; more of them are thinned out at random."""


def principal_plane(latents: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Coordinates [M, 2] on the first two principal components, and the share of the variance that each explains, [2].

    With a single latent dimension the second coordinate is 0.
    """
    centred = latents.astype(float) - latents.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2 / max(float((singular**2).sum()), np.finfo(float).tiny)
    missing = max(0, 2 - len(axes))
    coordinates = np.pad(centred @ axes[:2].T, ((0, 0), (0, missing)))
    return coordinates, np.pad(variance[:2], (0, missing))


def draw_latent_space(panels: Sequence[LatentPanel], action_names: Sequence[str], *, seed: int = 0) -> Figure:
    """A scatter of each panel's latents on their first two principal components; ``seed`` picks and orders the points."""

    def project(panel: LatentPanel) -> Plane:
        chosen = np.random.default_rng(seed).permutation(len(panel.actions))[:MOST_POINTS]
        coordinates, explained = principal_plane(panel.latents)
        x_label, y_label = (
            f"component 1 ({percent(explained[0])} of variance)",
            f"component 2 ({percent(explained[1])})",
        )
        return Plane(coordinates[chosen], panel.actions[chosen], x_label, y_label)

    return draw_planes(panels, action_names, project)
