"""Stop 1: the card of an expert, which says how well it plays levels that it never saw."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamflow.atomic_files import write_text
from lamflow.envs.levels import draw_levels
from lamflow.envs.spec import EnvironmentSpec
from lamflow.evaluation.statistics import Estimate, estimate, normalized_return, resample, stratified_mean
from lamflow.provenance import record_provenance
from lamflow.rl.pixel_experts import PixelExpert, play_episodes, read_pixel_expert
from lamflow.stages.code import stage_code

CARD_STREAM = 9_000_011
"""Offset of the seed of a card's levels, so that they are not those on which agents are measured."""
RESAMPLES = 2000


def measure_expert(
    *,
    environment: Mapping[str, Any],
    expert: Path | str,
    episodes: int,
    published: Mapping[str, float],
    seed: int,
    output: Path | str,
) -> None:
    """Let the expert of a Procgen game and a random policy play ``episodes`` test levels; write a card (Markdown) to ``output`` and its
    numbers to ``returns.json`` beside it. ``published``: returns of others that stand beside them, by name.
    """
    started = time.monotonic()
    spec = EnvironmentSpec.from_facts(environment)
    code = stage_code(__name__, spec)
    network, metadata = read_pixel_expert(Path(expert), spec)
    levels = draw_levels(spec, "test", episodes, seed + CARD_STREAM)
    players = {
        name: PixelExpert(network, epsilon=epsilon, seed=seed) for name, epsilon in (("expert", 0.0), ("random", 1.0))
    }
    measured = {name: _returns(player, levels) for name, player in players.items()}
    card = _card(spec, metadata, {name: _interval(returns, seed) for name, returns in measured.items()}, published)
    card["episodes"] = episodes
    write_text(Path(output).with_name("returns.json"), json.dumps(card, indent=2) + "\n")
    write_text(Path(output), _page(card))
    record_provenance(
        Path(output),
        code=code,
        settings={"episodes": episodes},
        inputs={"expert": Path(expert)},
        seed=seed,
        wall_seconds=time.monotonic() - started,
        precision=[players["expert"].precision],
    )


def _returns(expert: PixelExpert, levels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([episode.total_reward for episode in play_episodes(expert, levels)])


def _interval(returns: NDArray[np.float64], seed: int) -> Estimate:
    """Mean return and its 95% bootstrap interval."""
    return estimate(stratified_mean, [resample(returns[None, None], samples=RESAMPLES, seed=seed)])


def _card(
    spec: EnvironmentSpec,
    metadata: Mapping[str, Any],
    measured: Mapping[str, Estimate],
    published: Mapping[str, float],
) -> dict[str, Any]:
    game, mode = spec.simulator_id.split("/")
    assert spec.return_bounds is not None, "Procgen games have bounds"
    low, high = spec.return_bounds
    return {
        "env": spec.name,
        "game": game,
        "mode": mode,
        "training_steps": metadata["settings"]["total_steps"],
        "settings": metadata["settings"],
        "seed": metadata["seed"],
        "returns": {
            name: {"mean": value.value, "low": value.low, "high": value.high} for name, value in measured.items()
        },
        "normalized_return_cobbe": float(normalized_return(measured["expert"].value, random=low, expert=high)),
        "published": dict(published),
    }


def _page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    rows = [
        f"| {name} (here) | {part['mean']:.2f} | {part['low']:.2f} to {part['high']:.2f} |"
        for name, part in card["returns"].items()
    ]
    rows += [f"| {name} | {value:.2f} | |" for name, value in card["published"].items()]
    table = "\n".join(rows)
    settings = ", ".join(
        f"{key} {value}" for key, value in card["settings"].items() if key not in {"network", "source"}
    )
    return f"""# Expert of {card["env"]}

Procgen's {card["game"]}, {card["mode"]} mode, trained with PPO for {card["training_steps"]:,} environment steps
(seed {card["seed"]}) on levels of the train split.

Mean raw return over {card["episodes"]} levels of the test split, which no training saw, with a 95% bootstrap interval:

| who | return | interval |
|---|---|---|
{table}

Normalised by the constants of Cobbe et al. (2020): {card["normalized_return_cobbe"]:.3f}.

Settings: {settings}; network {card["settings"]["network"]}.

Made by `snakemake experts --cores 2 --configfile config/procgen_experts.yaml --config "envs=[{card["env"]}]"
"pixel_expert={{total_steps: {card["training_steps"]}}}"`.
"""
