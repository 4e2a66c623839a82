"""The rule ``plot_film_strip``: what one LAM's forward model predicts under each code for one frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeArrays, EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import Window, effectful
from lamflow.envs.rendering import render_frame
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.codes import CodeTable, count_codes, group_by_action, name_classes
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.model import LatentActionModel
from lamflow.plots.film_strip import MOST_PREDICTIONS, draw_film_strip
from lamflow.plots.latent_panels import ACTIONS_UNKNOWN
from lamflow.plots.style import figure_of_text, percent, save_figure
from lamflow.provenance import note_sources, record_provenance
from lamflow.spaces import Discrete, Vector
from lamflow.stages.code import stage_code


def plot_film_strip(*, model: Path | str, episodes: Path | str, latents: Path | str, output: Path | str) -> None:
    """Draw the forward model's predictions from one frame of ``episodes`` under the most frequent codes of ``latents``,
    grouped by the true action that each code goes with most, of the transitions whose action is known, or say that there are none;
    ValueError when the LAM has no codebook."""
    started = time.monotonic()
    store = EpisodeStore.open(episodes)
    spec = store.spec
    if isinstance(spec.main_part, Vector) or not isinstance(spec.action, Discrete):
        raise ValueError(
            f"{episodes}: found frames of kind {spec.main_part.kind} and actions of kind {spec.action.kind} in {spec.name}, expected "
            "frames that can be drawn and actions that have names: this figure cannot be made of them"
        )
    latent_store = LatentStore.open(latents, env=store.env, episodes=store)
    lam, seed = latent_store.attributes["lam"], int(latent_store.attributes["seed"])
    codes, arrays = latent_store.load().codes, store.load()
    if codes is None:
        raise ValueError(f"{latents}: LAM {lam!r} has no codebook, so there are no codes to draw")
    changes = np.flatnonzero(effectful(arrays).numpy())
    if not len(changes):
        raise ValueError(f"{episodes}: no action changes a frame, so there are no effectful transitions to draw")
    network, title = load_latent_action_model(Path(model), spec=spec), f"{store.env}, {lam}, seed {seed}"
    code = stage_code(__name__, settings=network.settings)
    note_sources(code)
    known = changes[arrays.is_labelled[changes]]
    if len(known):
        row = start_row(arrays, known)
        (window,) = EpisodeTensors.open(store, window_gib=0).part(network.window, torch.tensor([row])).windows()
        figure = _strip(spec, arrays, codes[known], known, row, partial(predict_codes, network, window), title)
    else:
        figure, row = figure_of_text(f"{title}: {ACTIONS_UNKNOWN}"), -1
    save_figure(figure, Path(output))
    record_provenance(
        Path(output),
        code=code,
        settings={"row": row},
        inputs={"model": Path(model), "episodes": Path(episodes), "latents": Path(latents)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
    )


def _strip(
    spec: EnvironmentSpec,
    arrays: EpisodeArrays,
    codes: NDArray[np.int64],
    rows: NDArray[np.int64],
    row: int,
    predict: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    title: str,
) -> Figure:
    """``codes`` int64 [N, K] of the transitions at ``rows`` int64 [N], and what is predicted under the most frequent ones from ``row``."""
    actions, names = name_classes(spec, arrays.actions[rows])
    table = count_codes(codes, actions, num_actions=len(names))
    order = group_by_action(table, MOST_PREDICTIONS)
    return draw_film_strip(
        start_frame=arrays.frames[row],
        true_next=arrays.frames[row + 1],
        true_action=names[actions[rows == row][0]] if not spec.action_names else spec.action_names[arrays.actions[row]],
        predictions=predict(table.codes[order]),
        captions=[_caption(table, code, names) for code in order],
        render=partial(
            render_frame, view=spec.view, tile_size=3 if spec.view == "pixels" else max(12, 240 // spec.frame_shape[0])
        ),
        title=title,
    )


def start_row(arrays: EpisodeArrays, changes: NDArray[np.int64]) -> int:
    """The middle one of the ``changes`` (rows of effectful transitions) whose action is the most frequent one among them."""
    actions = arrays.actions[changes]
    common = changes[actions == np.bincount(actions).argmax()]
    return int(common[len(common) // 2])


@torch.no_grad()
def predict_codes(model: LatentActionModel, window: Window, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The next frame uint8 [N, H, W, C] in one transition, under each of ``codes`` int64 [N, K]."""
    assert model.settings.quantizer.num_tokens, "a latent store has codes only where the LAM has codes"
    device = next(model.parameters()).device
    latents = model.quantizer.decode(torch.from_numpy(codes).to(device))
    repeated = Window.of_frames(window.frames.expand(len(codes), *window.frames.shape[1:]), present=window.present)
    predicted: NDArray[np.uint8] = model.predict(repeated, latents).cpu().numpy()
    return predicted


def _caption(table: CodeTable, code: int, action_names: tuple[str, ...]) -> str:
    """Code and its share of the effectful transitions; the true action it goes with most, and how often it does."""
    counts = table.counts[code]
    return (
        f"if code {table.labels[code]} ({percent(table.frequencies[code])})\n"
        f"{action_names[counts.argmax()]} {percent(counts.max() / counts.sum())}"
    )
