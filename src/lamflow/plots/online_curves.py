"""Return against environment steps of methods that are trained online."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lamflow.plots.return_curves import draw_return_curves

NO_EPISODES = "no episode has ended in any of the runs"


def draw_online_curves(
    curves: pd.DataFrame, *, published: pd.DataFrame | None = None, nothing: str = NO_EPISODES
) -> Figure:
    """``curves``, ``published`` and ``nothing``: see ``draw_return_curves``."""
    return draw_return_curves(curves, published=published, nothing=nothing, steps="environment steps")
