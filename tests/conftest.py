"""What all tests share: one thread, as a workflow's job has, no `make` above them, and a grid world that needs no simulator.

The networks are small; on a busy machine more threads wait for each other. The options of the `make` that runs the tests would be those of
each `make` that a test starts.
"""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, below
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # and this one when UMAP is, which gives torch as many

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lamflow.data.store import EpisodeArrays, EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode, Observation, StepResult, VectorEnvironment
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE
from lamflow.lam.one_step import OneStepLam
from lamflow.training.interruption import SIGNALS

for _variable in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(_variable, None)

FLOOR, WALL, GOAL = 1, 2, 6
MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])
"""Up, right, down, left, as (rows, columns)."""
GOAL_CELL = np.array([6, 6])
MAX_STEPS = 40


THREADS = torch.get_num_threads()
SLOW_FIXTURES = {
    "test_demonstrator_stages": {"folder"},
    "test_learning": {"trained"},
    "test_plot_episode_film": {"episodes"},
    "test_procgen_experts": {"expert"},
    "test_vector_stages": {"folder"},
    "test_verdicts": {"grid_model", "pixel_model"},
}
"""By test file the fixtures that take seconds: whichever of their tests runs first would pay for them."""


TOGETHER = {"test_latent_figures": "umap", "test_plot_stages": "umap"}
"""Files for one worker: numba compiles UMAP anew in each process, which takes half a minute."""
WHOLE = ("mark.whole", "tiny_run", "finished")
"""One of these stands in each file that has `whole` tests, or it lies under tests/workflow/slurm."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m whole` imports no file without such tests: all together take a minute of imports."""
    if (
        config.option.markexpr != "whole"
        or not collection_path.match("test_*.py")
        or collection_path.parent.name == "slurm"
    ):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return None if any(word in text for word in WHOLE) else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs Snakemake begins first, as it takes longest. With several workers a file's tests stay together, and so do all on Slurm.
    All that looks at a finished run of the whole pipeline is `whole`."""
    workflow, slurm = (Path(__file__).parent.joinpath("workflow", part) for part in ("", "slurm"))
    items.sort(key=lambda item: workflow not in item.path.parents)
    for item in items:
        on_slurm = slurm in item.path.parents
        used = set(getattr(item, "fixturenames", ()))
        if on_slurm or "tiny_run" in used:
            item.add_marker(pytest.mark.whole)
        if used & SLOW_FIXTURES.get(item.path.stem, {"world"}):
            item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.xdist_group("slurm" if on_slurm else TOGETHER.get(item.path.stem, item.path.stem)))


@pytest.fixture(scope="module")
def signals_are_heard() -> Iterator[None]:
    """Tests that run under nohup, or in the background of a shell script, ignore some, and so would the processes that they start."""
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two workers with two threads each wait for each other most of the time: nothing may raise torch's number for the tests to come."""
    yield
    assert torch.get_num_threads() == THREADS


class GridWorld(VectorEnvironment):
    """A ``VectorEnvironment`` in numpy that looks like the full view of XLand-MiniGrid: an open room of 6x6 cells.

    The agent goes forward (action 0), turns right (1) or left (2); the other actions do nothing. On the goal in the lower right
    corner an episode ends with reward 1, after ``MAX_STEPS`` with 0. The level id decides where the agent starts.
    """

    spec: EnvironmentSpec = preset("xland-empty-random-8x8-full")

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.levels = np.zeros(num_envs, np.int64)
        self.steps = np.zeros(num_envs, np.int64)
        self.cells = np.zeros((num_envs, 2), np.int64)
        self.directions = np.zeros(num_envs, np.int64)
        self.actions = np.zeros(num_envs, np.int64)

    def reset(self, level_ids: NDArray[np.int64]) -> Observation:
        assert level_ids.shape == (self.num_envs,)
        self.levels = level_ids.copy()
        self._restart(np.arange(self.num_envs))
        return self._observe()

    def send(self, actions: NDArray[np.int64]) -> None:
        self.actions = actions.copy()

    def receive(self) -> StepResult:
        actions = self.actions
        ahead = np.clip(self.cells + MOVES[self.directions], 1, 6)
        self.cells = np.where((actions == 0)[:, None], ahead, self.cells)
        self.directions = (self.directions + (actions == 1) - (actions == 2)) % 4
        self.steps += 1
        final, terminated = self._observe(), (self.cells == GOAL_CELL).all(1)
        truncated = ~terminated & (self.steps == MAX_STEPS)
        self._restart(np.flatnonzero(terminated | truncated))
        rewards = terminated.astype(np.float32)
        return StepResult(self._observe(), final, rewards, terminated, truncated, self.levels.copy())

    def close(self) -> None: ...

    def expert_actions(self) -> NDArray[np.int64]:
        """Down the column, then along the row, turning right until the agent faces that way."""
        wanted = np.where(self.cells[:, 0] < GOAL_CELL[0], 2, 1)
        return np.where(self.directions == wanted, 0, 1)

    def _restart(self, rows: NDArray[np.int64]) -> None:
        for row in rows:
            generator = np.random.default_rng(int(self.levels[row]))
            self.cells[row], self.directions[row] = generator.integers(1, 6, 2), generator.integers(4)
        self.steps[rows] = 0

    def _observe(self) -> Observation:
        frames = np.full((self.num_envs, 8, 8, 2), (WALL, 5), np.uint8)
        frames[:, 1:7, 1:7] = (FLOOR, 0)
        frames[:, GOAL_CELL[0], GOAL_CELL[1]] = (GOAL, 3)
        slots = np.arange(self.num_envs)
        frames[slots, self.cells[:, 0], self.cells[:, 1], 0] = AGENT_TILE + self.directions
        frames[slots, self.cells[:, 0], self.cells[:, 1], 1] = 0
        proprioception = np.zeros((self.num_envs, 3), np.uint8)
        proprioception[:, 0] = self.directions
        return Observation({"frames": frames, "proprioception": proprioception})


def walk(level: int, *, epsilon: float) -> Episode:
    """One episode of the grid world's expert with uniformly random actions at probability ``epsilon``."""
    world, generator = GridWorld(1), np.random.default_rng(level + 1_000_000)
    observations, actions, rewards = [world.reset(np.array([level]))], [], []
    while True:
        random_action = generator.integers(world.spec.num_actions, size=1)
        actions.append(random_action if generator.random() < epsilon else world.expert_actions())
        result = world.step(actions[-1])
        assert result.final_observation is not None
        observations.append(result.final_observation)
        rewards.append(result.rewards)
        if result.terminated[0] or result.truncated[0]:
            break
    return Episode(
        observations={
            name: np.concatenate([observation.parts[name] for observation in observations])
            for name in world.spec.observation
        },
        actions=np.concatenate(actions),
        rewards=np.concatenate(rewards),
        terminated=bool(result.terminated[0]),
        truncated=bool(result.truncated[0]),
        level_id=level,
    )


@pytest.fixture(scope="session")
def grid_world() -> type[GridWorld]:
    return GridWorld


WriteWalks = Callable[..., Path]


@pytest.fixture(scope="session")
def write_walks() -> WriteWalks:
    """Writes episodes of the grid world on the levels ``first_level``, ... to a store and returns its path."""

    def write(
        path: Path,
        *,
        episodes: int,
        first_level: int = 0,
        split: str = "train",
        epsilon: float = 0.3,
        return_random: float | None = 0.1,
        **others: object,
    ) -> Path:
        attributes = {
            "source": "grid world",
            "licence": "MIT",
            "return_expert": 1.0,
            "return_random": return_random,
            **others,
        }
        with EpisodeWriter(path, spec=GridWorld.spec, split=split, attributes=attributes) as writer:
            for level in range(first_level, first_level + episodes):
                writer.append(walk(level, epsilon=epsilon))
        return path

    return write


@pytest.fixture(scope="session")
def walks(write_walks: WriteWalks, tmp_path_factory: pytest.TempPathFactory) -> EpisodeArrays:
    """120 episodes in memory, half of their actions random."""
    path = write_walks(tmp_path_factory.mktemp("walks") / "train.zarr", episodes=120, epsilon=0.5)
    return EpisodeStore.open(path).load()


@pytest.fixture(scope="session")
def other_walks(write_walks: WriteWalks, tmp_path_factory: pytest.TempPathFactory) -> EpisodeArrays:
    """30 episodes of other levels."""
    path = write_walks(tmp_path_factory.mktemp("walks") / "validation.zarr", episodes=30, first_level=500, epsilon=0.5)
    return EpisodeStore.open(path).load()


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.fixture
def killed_at_loss(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """``with killed_at_loss(9): train()``: the LAM's training must end in the middle, at its ninth loss. Later ones go on."""

    @contextmanager
    def killed(last: int) -> Iterator[None]:
        compute, calls = OneStepLam.loss, []

        def loss_until_killed(model: OneStepLam, windows: Any) -> Any:
            calls.append(1)
            if len(calls) == last:
                raise Killed
            return compute(model, windows)

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(OneStepLam, "loss", loss_until_killed)
            yield

    return killed
