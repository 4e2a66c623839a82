"""Every Procgen game on its real simulator, behind the vector-environment interface."""

from __future__ import annotations

import importlib.machinery
import os
import struct
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lamflow.envs.interface import Observation, StepResult
from lamflow.envs.presets import preset, presets
from lamflow.envs.procgen import NUM_LEVELS, ProcgenVectorEnvironment, first_state, make_simulator
from lamflow.envs.procgen_presets import PROCGEN_GAMES
from lamflow.envs.spec import EnvironmentSpec

ALL = [name for name, spec in presets().items() if spec.family == "procgen"]
EASY = [f"procgen-{game}" for game in PROCGEN_GAMES]
LEVELS = np.array([3, 2**31 - 1, 3, 77])


def actions_of(steps: int, slots: int = len(LEVELS)) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(15, size=(steps, slots))


def play(environment: ProcgenVectorEnvironment, actions: NDArray[np.int64]) -> list[StepResult]:
    return [environment.step(row) for row in actions]


def assert_equal(first: list[StepResult], second: list[StepResult]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.observation.parts["frames"], other.observation.parts["frames"])
        for name in ("rewards", "terminated", "truncated", "level_ids"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("name", ALL)
def test_levels_and_actions_decide_an_episode_whatever_the_threads(name: str) -> None:
    spec, actions = preset(name), actions_of(25)
    runs, starts = [], []
    for num_threads in (0, 3):
        environment = ProcgenVectorEnvironment(spec, len(LEVELS), count(1000), num_threads=num_threads)
        starts.append(environment.reset(LEVELS).parts["frames"])
        runs.append(play(environment, actions))
        environment.close()
    np.testing.assert_array_equal(*starts)
    assert_equal(*runs)
    assert starts[0].shape == (4, 64, 64, 3)
    assert starts[0].dtype == np.uint8
    np.testing.assert_array_equal(starts[0][0], starts[0][2])
    assert (starts[0][0] != starts[0][3]).any(), "another level looks different"
    assert not any(result.final_observation for result in runs[0])


@pytest.mark.parametrize("name", ["procgen-maze", "procgen-maze-hard", "procgen-starpilot"])
def test_a_slot_is_put_on_its_level_as_the_plain_simulator_makes_it(name: str) -> None:
    spec, actions = preset(name), actions_of(30)
    environment = ProcgenVectorEnvironment(spec, len(LEVELS))
    frames = [environment.reset(LEVELS).parts["frames"]]
    frames += [result.observation.parts["frames"] for result in play(environment, actions)]
    assert [info["level_seed"] for info in environment._simulator.get_info()] == LEVELS.tolist()
    for slot, level in enumerate(LEVELS.tolist()):
        plain = make_simulator(spec, 1, start_level=level, num_levels=1, num_threads=0)
        for step, seen in enumerate(frames):
            np.testing.assert_array_equal(plain.observe()[1]["rgb"][0], seen[slot])
            if step < len(actions):
                plain.act(actions[step, slot : slot + 1])


def test_the_hard_mode_is_another_game() -> None:
    easy, hard = (
        ProcgenVectorEnvironment(preset(name), 1).reset(np.array([5])).parts["frames"]
        for name in ("procgen-maze", "procgen-maze-hard")
    )
    assert (easy != hard).any()


def until_an_end(environment: ProcgenVectorEnvironment) -> StepResult:
    for row in actions_of(500, environment.num_envs):
        result = environment.step(row)
        if (result.terminated | result.truncated).any():
            return result
    raise AssertionError("no episode ended")


def test_an_episode_that_ends_is_followed_by_the_first_frame_of_the_streams_next_level() -> None:
    spec = preset("procgen-starpilot")
    environment = ProcgenVectorEnvironment(spec, 3, iter([50, 51]))
    environment.reset(np.array([1, 2, 3]))
    expected = [50, 51]
    while expected:
        result = until_an_end(environment)
        for slot in np.flatnonzero(result.terminated):
            level = expected.pop(0) if expected else int(result.level_ids[slot])
            assert result.level_ids[slot] == level
            start = ProcgenVectorEnvironment(spec, 1).reset(np.array([level])).parts["frames"][0]
            np.testing.assert_array_equal(result.observation.parts["frames"][slot], start)
    before = result.level_ids
    np.testing.assert_array_equal(
        until_an_end(environment).level_ids, before, "a dry stream leaves slots on their levels"
    )


@pytest.mark.parametrize("name", EASY)
def test_a_saved_batch_goes_on_as_if_nothing_had_been(name: str) -> None:
    spec = preset(name)
    environment = ProcgenVectorEnvironment(spec, len(LEVELS), count(1000))
    environment.reset(LEVELS)
    play(environment, actions_of(10))
    saved = environment.save()
    later = play(environment, actions_of(15))
    other = ProcgenVectorEnvironment(spec, len(LEVELS), count(1000))
    present: Observation = other.restore(saved)
    np.testing.assert_array_equal(present.parts["frames"], environment.restore(saved).parts["frames"])
    assert_equal(play(other, actions_of(15)), later)


def test_slots_that_are_kept_go_on_as_they_would_have() -> None:
    spec, actions, kept = preset("procgen-coinrun"), actions_of(30), np.array([2, 0])
    whole, fewer = (ProcgenVectorEnvironment(spec, len(LEVELS), count(1000)) for _ in range(2))
    for environment in (whole, fewer):
        environment.reset(LEVELS)
        play(environment, actions[:10])
    present = fewer.keep(kept)
    assert fewer.num_envs == len(kept)
    for row in actions[10:]:
        expected, found = whole.step(row), fewer.step(row[kept])
        np.testing.assert_array_equal(found.observation.parts["frames"], expected.observation.parts["frames"][kept])
        np.testing.assert_array_equal(found.rewards, expected.rewards[kept])
        if (expected.terminated | expected.truncated).any():
            break
    assert present.parts["frames"].shape == (2, 64, 64, 3)


def test_actions_that_were_sent_are_the_callers_again() -> None:
    spec, actions = preset("procgen-coinrun"), actions_of(20)
    whole, halves = (ProcgenVectorEnvironment(spec, len(LEVELS), num_threads=2) for _ in range(2))
    whole.reset(LEVELS)
    halves.reset(LEVELS)
    results = []
    for row in actions:
        sent = row.copy()
        halves.send(sent)
        sent[:] = 0
        results.append(halves.receive())
    assert_equal(results, play(whole, actions))


def test_what_cannot_be_is_refused() -> None:
    environment = ProcgenVectorEnvironment(preset("procgen-maze"), 2)
    with pytest.raises(RuntimeError, match="step before reset"):
        environment.step(np.zeros(2, np.int64))
    for levels in ([-1, 0], [0, NUM_LEVELS]):
        with pytest.raises(ValueError, match=f"procgen-maze: found level (-1|{NUM_LEVELS}), expected 0 to 2147483647"):
            environment.reset(np.array(levels))
    with pytest.raises(ValueError, match=r"level ids of shape \(3,\), expected \(2,\)"):
        environment.reset(np.zeros(3, np.int64))
    environment.reset(np.zeros(2, np.int64))
    for actions in (np.array([0, 15]), np.array([-1, 0]), np.zeros(3, np.int64)):
        with pytest.raises(ValueError, match=r"found actions of shape .* in 0\.\.14"):
            environment.step(actions)
    with pytest.raises(ValueError, match="num_envs: found 0"):
        ProcgenVectorEnvironment(preset("procgen-maze"), 0)
    with pytest.raises(ValueError, match="without render=True"):
        ProcgenVectorEnvironment(preset("procgen-maze"), 1).pictures()


def time_limit(spec: EnvironmentSpec) -> int:
    """The limit in a saved state: version, name, 17 numbers, two random generators, reward, done, level complete, action, limit."""
    state, place = first_state(spec, 0), 0

    def number() -> int:
        nonlocal place
        place += 4
        return int(struct.unpack_from("<i", state, place - 4)[0])

    def text() -> bytes:
        nonlocal place
        size = number()
        place += size
        return state[place - size : place]

    number()
    assert text().decode() == spec.simulator_id.split("/")[0]
    place += 17 * 4
    for _ in range(2):
        number()
        assert text()[:1].isdigit()
    place += 4 * 4
    return number()


@pytest.mark.parametrize("name", ALL)
def test_the_presets_step_limit_is_that_of_the_game(name: str) -> None:
    assert time_limit(preset(name)) == preset(name).max_steps


@pytest.mark.parametrize("name", ["procgen-maze", "procgen-heist-hard"])
def test_an_episode_at_the_step_limit_is_truncated(name: str) -> None:
    spec = preset(name)
    environment = ProcgenVectorEnvironment(spec, 2)
    environment.reset(np.array([0, 1]))
    idle = np.full(2, 4)
    for _ in range(spec.max_steps - 1):
        result = environment.step(idle)
        assert not (result.terminated | result.truncated).any()
    result = environment.step(idle)
    assert result.truncated.all()
    assert not result.terminated.any()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_package_may_lie_in_a_folder_with_a_space_and_umlauts(locale: str, tmp_path: Path) -> None:
    sources = Path(__file__).parents[2] / "src"
    if locale == "C" and not f"{sys.prefix}{sources}".isascii():
        pytest.skip("in this locale Python does not start from a folder with such a name")
    found = importlib.machinery.PathFinder.find_spec("procgen")
    assert found is not None and found.submodule_search_locations
    packages = tmp_path / "früh stück"
    packages.mkdir()
    packages.joinpath("procgen").symlink_to(found.submodule_search_locations[0])
    program = (
        "from lamflow.envs.presets import preset; from lamflow.envs.procgen import first_state; import sys; "
        "print(first_state(preset('procgen-coinrun'), 3) != b'', ascii(sys.modules['procgen'].__path__[0]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (packages, sources))), "LC_ALL": locale}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert (result.returncode, result.stdout) == (0, f"True {str(packages / 'procgen')!a}\n"), result.stderr
