"""What an environment of Gymnasium is, found by making and trying it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np

from lamflow.envs.gymnasium_parts import action_of, parts_of, read_parts, shown_space
from lamflow.envs.gymnasium_recordings import with_recordings
from lamflow.envs.gymnasium_saved_policy import check_spaces, facts_of_saved, load_saved, read_saved
from lamflow.envs.gymnasium_settings import (
    LARGEST_SIDE,
    SMALLEST_SIDE,
    GymnasiumSettings,
    PpoDemonstratorSettings,
)
from lamflow.envs.spec import EnvironmentSpec
from lamflow.spaces import ActionSpace, Box, Categories, Discrete, Part, Pixels

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

TRIED_SEEDS, TRIED_STEPS = (0, 1), 20
"""What tells whether episodes can be repeated."""


def describe(settings: GymnasiumSettings, name: str) -> EnvironmentSpec:
    """The facts of the environment, which is made and played for a few steps.

    ``own`` holds what makes it again, the ``modules`` of other people's code that it runs, and whether it ``repeats``: whether equal seeds
    and actions give equal episodes. ValueError where it cannot be made, or where nothing here can take what it shows.
    """
    own = _own_facts(settings)
    environment = make_environment(own)
    try:
        parts, action = parts_of(environment.observation_space, settings.resize), action_of(environment.action_space)
        _check_sides(parts)
        names, main = _action_names(settings, action), _main_part(settings, parts)
        if isinstance(settings.demonstrator, PpoDemonstratorSettings) and not settings.episodes:
            _check_ppo(parts, main, action)
        _check_saved_policy(own, environment)
        repeats = _repeats(own, parts, environment)
        modules = [*settings.packages, _module_of(environment)]
    finally:
        environment.close()
    spec = EnvironmentSpec(
        name=name,
        family="gymnasium",
        observation=parts,
        action=action,
        main=main,
        max_steps=own["max_steps"],
        action_names=names,
        own={**own, "modules": sorted(set(modules)), "repeats": repeats},
    )
    return with_recordings(settings, spec) if settings.episodes else spec


def _own_facts(settings: GymnasiumSettings) -> dict[str, Any]:
    """What makes the environment again. ValueError when its episodes may never end."""
    dumped = settings.model_dump(mode="json")
    own = {key: dumped[key] for key in ("id", "kwargs", "wrappers", "resize")}
    own |= {"simulator_id": settings.id, "demonstrator": settings.demonstrator.kind}
    if settings.demonstrator.kind == "policy":
        own["policy"] = settings.demonstrator.path
    elif settings.demonstrator.kind == "stable_baselines3":
        own["saved"] = facts_of_saved(settings.demonstrator)
    limit = settings.max_steps or _specification(settings.id).max_episode_steps
    if limit is None:
        raise ValueError(
            f"max_steps: {settings.id} is registered without a step limit, so that an episode might never end: set max_steps"
        )
    return {**own, "max_steps": int(limit)}


def _specification(environment_id: str) -> Any:
    """Gymnasium's, of an id; what is wrong with the package that registers it is said in a line."""
    package, separator, registered = environment_id.partition(":")
    if separator:
        imported(package, "id")
    try:
        return gymnasium.spec(registered or environment_id)
    except gymnasium.error.Error as error:
        raise ValueError(f"id: found {environment_id!r}, which Gymnasium does not know: {error}") from None


def imported(path: str, key: str) -> Any:
    """The module ``package.module``, or the ``name`` of ``package.module:name``; ValueError says where the import failed."""
    module_name, _, name = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a foreign module does when it is imported
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
        raise ValueError(f"{key}: {module_name} cannot be imported: {type(error).__name__}: {error}{place}") from error
    if not name:
        return module
    if not hasattr(module, name):
        raise ValueError(f"{key}: found no {name} in {module_name} ({module.__file__})")
    return getattr(module, name)


def make_environment(own: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment of these facts of its own, in its wrappers, with its step limit; ValueError when it cannot be made."""
    _specification(own["id"])
    wrappers: list[Callable[..., Any]] = [
        imported(path, f"wrappers.{index}") for index, path in enumerate(own["wrappers"])
    ]
    try:
        environment = gymnasium.make(
            own["id"], max_episode_steps=own["max_steps"], disable_env_checker=True, **own["kwargs"]
        )
        for wrapper in wrappers:
            environment = wrapper(environment)
    except Exception as error:  # whatever a foreign environment does
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"id: {own['id']} cannot be made: {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"
        ) from error
    return environment


def _module_of(environment: gymnasium.Env[Any, Any]) -> str:
    return type(environment.unwrapped).__module__


def _check_sides(parts: Mapping[str, Part]) -> None:
    for name, part in parts.items():
        if isinstance(part, Pixels) and not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in part.shape[:2]):
            raise ValueError(
                f"observation space: part {name!r} has pictures of {part.shape[0]}x{part.shape[1]} pixels, expected sides from "
                f"{SMALLEST_SIDE} to {LARGEST_SIDE}: set resize"
            )


def _check_saved_policy(own: Mapping[str, Any], environment: gymnasium.Env[Any, Any]) -> None:
    """ValueError unless the saved policy that demonstrates, if one does, can be loaded and takes what the environment shows."""
    if saved := own.get("saved"):
        policy = load_saved(saved, read_saved(saved))
        seen = shown_space(environment.observation_space, own["resize"])
        check_spaces(saved, policy, seen, environment.action_space)


def _main_part(settings: GymnasiumSettings, parts: Mapping[str, Part]) -> str:
    """What latent action models see."""
    if settings.main is not None:
        if settings.main not in parts:
            raise ValueError(f"main: found {settings.main!r}, expected one of the parts {', '.join(parts)}")
        return settings.main
    pictures = [name for name, part in parts.items() if isinstance(part, Pixels)]
    grids = [name for name, part in parts.items() if isinstance(part, Categories) and len(part.shape) == 3]
    found = (pictures or grids or list(parts))[:1]
    if not pictures and not grids and len(parts) > 1:
        raise ValueError(f"main: say which of the parts {', '.join(parts)} latent action models see")
    return found[0]


def _check_ppo(parts: Mapping[str, Part], main: str, action: ActionSpace) -> None:
    """ValueError where PPO cannot learn to demonstrate: it sees the main picture, or vectors alone."""
    instead = "let a policy of your own demonstrate (kind: policy)"
    if isinstance(parts[main], Pixels):
        if isinstance(action, Box):
            raise ValueError(
                f"demonstrator: PPO over pictures takes discrete actions, and these are continuous: {instead}"
            )
        return
    for name, part in parts.items():
        if len(part.shape) != 1:
            raise ValueError(
                f"demonstrator: PPO over vectors cannot see the part {name!r} of shape {list(part.shape)}: {instead}, or leave the part "
                "out in a wrapper"
            )


def _action_names(settings: GymnasiumSettings, action: Any) -> tuple[str, ...]:
    if not isinstance(action, Discrete):
        return ()
    names = settings.action_names or tuple(f"action {index}" for index in range(action.count))
    if len(names) != action.count or len(set(names)) != len(names):
        raise ValueError(f"action_names: found {', '.join(names)}, expected {action.count} different names")
    return names


def _repeats(own: Mapping[str, Any], parts: Mapping[str, Part], environment: gymnasium.Env[Any, Any]) -> bool:
    """Whether another instance repeats what this one plays."""
    other = make_environment(own)
    try:
        return all(_trace(environment, parts, seed) == _trace(other, parts, seed) for seed in TRIED_SEEDS)
    finally:
        other.close()


def _trace(environment: gymnasium.Env[Any, Any], parts: Mapping[str, Part], seed: int) -> list[bytes]:
    """What some random steps from a seed show and give."""
    environment.action_space.seed(seed)
    observation, _ = environment.reset(seed=seed)
    seen = []
    for _ in range(TRIED_STEPS):
        seen += [part.tobytes() for part in read_parts(parts, observation).values()]
        observation, reward, terminated, truncated, _ = environment.step(environment.action_space.sample())
        seen.append(np.array([reward, terminated, truncated], np.float64).tobytes())
        if terminated or truncated:
            break
    return [*seen, *(part.tobytes() for part in read_parts(parts, observation).values())]
