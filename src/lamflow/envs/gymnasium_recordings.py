"""Recordings in the place of a demonstrator's episodes of an environment of Gymnasium: they must be of its spaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lamflow.envs.gymnasium_settings import GymnasiumSettings
from lamflow.envs.recorded_facts import listed, own_facts
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described
from lamflow.spaces import Box, Discrete, Part

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."


def with_recordings(settings: GymnasiumSettings, spec: EnvironmentSpec) -> EnvironmentSpec:
    """The environment with the facts of its recordings: ``own`` has what that of recordings alone has, and ``returns``. ValueError
    names the part, the actions or the episode that does not fit the simulator."""
    assert settings.episodes is not None and settings.returns is not None
    fit = FrameFit(settings.resize, settings.resize)
    found = listed(settings.episodes.build(fit=fit), settings.episodes)
    _check_parts(found, spec)
    _check_actions(found, spec)
    _check_lengths(found, spec)
    own = {**own_facts(found, fit, settings.splits), "returns": settings.returns.model_dump(mode="json")}
    return replace(spec, own={**spec.own, **own})


def _check_parts(found: Described, spec: EnvironmentSpec) -> None:
    for name in {**spec.observation, **found.observation}:
        recorded, simulated = found.observation.get(name), spec.observation.get(name)
        if recorded != simulated:
            raise ValueError(
                f"episodes: part {name!r} of an observation: found {_said(recorded)} in the recordings, expected {_said(simulated)}, as "
                "the simulator shows: name the parts alike (`parts` of the source), wrap the environment, or set resize"
            )


def _said(part: Part | None) -> str:
    if part is None:
        return "nothing"
    sizes = getattr(part, "sizes", None)
    return f"{part.kind} of shape {list(part.shape)}" + (f" with {list(sizes)} values" if sizes else "")


def _check_actions(found: Described, spec: EnvironmentSpec) -> None:
    recorded, simulated = found.action, spec.action
    if isinstance(recorded, Discrete) and isinstance(simulated, Discrete):
        said, expected, fits = f"{recorded.count} actions", f"{simulated.count}", recorded.count <= simulated.count
    elif isinstance(recorded, Box) and isinstance(simulated, Box) and recorded.shape == simulated.shape:
        bounds = np.array([recorded.low, recorded.high, simulated.low, simulated.high], np.float32)
        outside = (bounds[0] < bounds[2]) | (bounds[1] > bounds[3])
        entry = int(np.argmax(outside))
        low, high, least, most = bounds[:, entry]
        said, expected = f"entry {entry} from {low:g} to {high:g}", f"it from {least:g} to {most:g}"
        fits = not outside.any()
    else:
        said = "none" if recorded is None else f"{recorded.kind} ones of shape {list(recorded.shape)}"
        expected, fits = f"{simulated.kind} ones of shape {list(simulated.shape)}", False
    if not fits:
        raise ValueError(
            f"episodes: actions: found {said} in the recordings, expected {expected}, as the simulator takes: mend the recordings, or give "
            "an environment of kind recorded, which nobody plays"
        )


def _check_lengths(found: Described, spec: EnvironmentSpec) -> None:
    for episode in found.episodes:
        actions = (episode.rows or 0) - found.final_observations
        if actions > spec.max_steps:
            raise ValueError(
                f"max_steps: found {spec.max_steps}, and {actions} actions in the recorded episode {episode.name!r}, expected as many at "
                "least: set max_steps, or cut the recordings"
            )
