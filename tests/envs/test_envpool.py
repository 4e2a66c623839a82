"""EnvPool as another simulator of Procgen: tested where it is installed, and what is said where it is not."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lamflow.envs.interface import VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.envs.registry import make_vector_environment

LEVELS = range(100, 120)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name == "envpool":
            raise ModuleNotFoundError("No module named 'envpool'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match="No module named 'envpool'; pip install envpool and the system's Qt 5"):
        make_vector_environment(preset("procgen-maze"), 2, backend="envpool", levels=LEVELS)


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "envpool"},
        {"levels": LEVELS},
        {"backend": "envpool", "levels": LEVELS, "level_stream": iter([1])},
    ],
)
def test_levels_belong_to_the_backend_envpool(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected levels with the backend envpool"):
        make_vector_environment(preset("procgen-maze"), 2, **options)


def test_envpool_simulates_procgen_only() -> None:
    with pytest.raises(ValueError, match="simulates Procgen only"):
        make_vector_environment(preset("xland-doorkey-5x5"), 2, backend="envpool", levels=LEVELS)


@pytest.fixture
def starpilot() -> VectorEnvironment:
    pytest.importorskip("envpool")
    try:
        return make_vector_environment(preset("procgen-starpilot"), 5, backend="envpool", levels=LEVELS)
    except ValueError as error:
        pytest.skip(str(error))


def test_slots_stay_in_the_range_and_begin_the_next_episode_at_once(starpilot: VectorEnvironment) -> None:
    with pytest.raises(ValueError, match="EnvPool cannot put a slot on a level"):
        starpilot.reset(np.arange(5))
    starpilot.reset(np.full(5, -1))
    generator, seen, ends, starts = np.random.default_rng(0), set(), 0, {}
    for _ in range(400):
        result = starpilot.step(generator.integers(15, size=5))
        seen |= set(result.level_ids.tolist())
        for slot in np.flatnonzero(result.terminated | result.truncated):
            ends += 1
            first = starts.setdefault(int(result.level_ids[slot]), result.observation.parts["frames"][slot])
            np.testing.assert_array_equal(first, result.observation.parts["frames"][slot])
    assert seen <= set(LEVELS)
    assert len(starts) < ends, "levels repeated"
    starpilot.close()
