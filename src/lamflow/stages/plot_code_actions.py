"""The rule ``plot_code_actions``: which true actions stand behind each code of one LAM."""

from __future__ import annotations

import time
from pathlib import Path

from lamflow.code_digests import Code
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.windows import effectful
from lamflow.evaluation.codes import count_codes, name_classes
from lamflow.plots.code_actions import draw_code_actions
from lamflow.plots.latent_panels import ACTIONS_UNKNOWN
from lamflow.plots.style import figure_of_text, save_figure
from lamflow.provenance import record_provenance
from lamflow.spaces import Discrete


def plot_code_actions(*, episodes: Path | str, latents: Path | str, output: Path | str) -> None:
    """Draw the codes of the effectful transitions whose action is known, or say that there are none; ValueError when the LAM of
    ``latents`` has no codebook."""
    started = time.monotonic()
    store = EpisodeStore.open(episodes)
    latent_store = LatentStore.open(latents, episodes=store)
    codes = latent_store.load().codes
    lam, seed = latent_store.attributes["lam"], latent_store.attributes["seed"]
    if codes is None:
        raise ValueError(f"{latents}: LAM {lam!r} has no codebook, so there are no codes to draw")
    arrays, spec = store.load(), store.spec
    if not isinstance(spec.action, Discrete):
        raise ValueError(
            f"{episodes}: actions of {spec.name} are continuous or unknown, so there are none to count under each code"
        )
    changes, title = effectful(arrays).numpy(), f"{store.env}, {lam}, seed {seed}"
    if not changes.any():
        raise ValueError(f"{episodes}: no action changes a frame, so there are no effectful transitions to draw")
    rows = changes & arrays.is_labelled
    if rows.any():
        actions, names = name_classes(spec, arrays.actions[rows])
        figure = draw_code_actions(count_codes(codes[rows], actions, num_actions=len(names)), names, title=title)
    else:
        figure = figure_of_text(f"{title}: {ACTIONS_UNKNOWN}")
    save_figure(figure, Path(output))
    record_provenance(
        Path(output),
        code=Code(__name__),
        settings={},
        inputs={"episodes": Path(episodes), "latents": Path(latents)},
        seed=int(seed),
        wall_seconds=time.monotonic() - started,
    )
