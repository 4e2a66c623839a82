"""Return against training steps of policies that play while they are trained."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lamflow.plots.return_curves import draw_return_curves
from lamflow.plots.style import NOTHING_NORMALISED


def draw_policy_returns(returns: pd.DataFrame) -> Figure:
    """``returns``: rows of ``summary/policy_returns.csv`` of one label budget, or of none."""
    return draw_return_curves(
        returns.rename(columns={"step": "env_steps"}), nothing=NOTHING_NORMALISED, steps="training steps"
    )
