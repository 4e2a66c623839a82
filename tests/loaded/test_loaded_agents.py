"""Agents out of their files: where they are found, that they act as in rollouts, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamflow
from lamflow.envs.interface import Observation
from lamflow.loaded.agent_files import find_agent, pack_agent
from lamflow.loaded.agents import LoadedAgent
from lamflow.policies.members import Member

SRC = Path(lamflow.__file__).parents[1]
pytestmark = pytest.mark.slow


def returns_of(results: Any, method: str, labels: int, draw: int) -> list[tuple[int, float, int]]:
    """Level, return and length of each episode that the workflow's agent has played."""
    with results.folder("evaluation", method).joinpath("returns.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if (row["labels"], row["label_draw"]) == (str(labels), str(draw))]
    return [(int(row["level_seed"]), float(row["return"]), int(row["length"])) for row in rows]


def shown(observation: Observation) -> dict[str, Any]:
    """A batch as Gymnasium gives it."""
    return dict(observation.parts)


def play_one(agent: LoadedAgent, world: Any, level: int) -> tuple[int, float, int]:
    """An episode in an environment of its own, by single observations."""
    agent.reset()
    seen, total, length = world.reset(np.array([level])), 0.0, 0
    while True:
        action = agent.act({name: part[0] for name, part in seen.parts.items()})
        assert isinstance(action, int)
        result = world.step(np.array([action]))
        total, length, seen = total + float(result.rewards[0]), length + 1, result.observation
        if result.terminated[0] or result.truncated[0]:
            return level, total, length


@pytest.mark.parametrize("method", ["lapo", "bc"])
def test_an_agent_plays_as_in_the_workflows_rollouts(method: str, results: Any, grid_world: Any) -> None:
    """Those of 64 labels and draw 1 take their most likely action."""
    agent = lamflow.load_agent(results.folder("policies", method), labels=64, draw=1)
    played = [play_one(agent, grid_world(1), level) for level, _, _ in returns_of(results, method, 64, 1)]
    assert played == returns_of(results, method, 64, 1)


def test_the_agent_of_a_single_budget_and_draw_needs_no_choice(results: Any, grid_world: Any) -> None:
    """Its policy, which learnt without labels, has as many members as its decoders."""
    agent = lamflow.load_agent(results.folder("policies", "one_budget"))
    assert agent.member == Member("16", 0)
    wanted = returns_of(results, "one_budget", 16, 0)
    assert [play_one(agent, grid_world(1), level) for level, _, _ in wanted] == wanted != []


def test_a_batch_acts_as_its_rows_do_and_episodes_in_it_begin_when_they_do(results: Any, grid_world: Any) -> None:
    agent = lamflow.load_agent(results.folder("policies", "lapo"), labels=64, draw=1)
    world, levels = grid_world(3), np.array([5000, 5001, 5002])
    seen, begun, totals, played = world.reset(levels), None, np.zeros(3), []
    lengths = np.zeros(3, np.int64)
    for _ in range(90):
        result = world.step(agent.act(shown(seen), begun=begun))
        totals, lengths, seen = totals + result.rewards, lengths + 1, result.observation
        begun = result.terminated | result.truncated
        played += [(int(levels[slot]), float(totals[slot]), int(lengths[slot])) for slot in np.flatnonzero(begun)]
        totals[begun], lengths[begun] = 0, 0
    assert len(played) > 3 and set(played) <= set(returns_of(results, "lapo", 64, 1))


SCRIPT = """
import json, sys
import numpy as np
import lamflow
seen = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    agent = lamflow.load_agent(folder, labels=16, draw=1)
    taken = [agent.act({name: seen[name][step] for name in seen.files}).tolist() for step in range(len(seen["frames"]))]
    print(json.dumps(taken))
"""


def test_a_fresh_process_somewhere_else_acts_the_same_from_packed_folders(results: Any, tmp_path: Path) -> None:
    """What is drawn comes from the experiment's seed."""
    generator, methods = np.random.default_rng(0), ("lapo", "dictionary", "bc")
    seen = {
        "frames": generator.integers(10, size=(4, 5, 8, 8, 2), dtype=np.uint8),
        "proprioception": generator.integers(3, size=(4, 5, 3), dtype=np.uint8),
    }
    np.savez(tmp_path / "seen.npz", **seen)
    wanted = []
    for method in methods:
        pack_agent(find_agent(results.folder("policies", method)), tmp_path / method)
        here = lamflow.load_agent(results.folder("policies", method), labels=16, draw=1)
        wanted.append([here.act({name: part[step] for name, part in seen.items()}).tolist() for step in range(4)])
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, "seen.npz", *methods],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert [json.loads(line) for line in result.stdout.splitlines()] == wanted


def test_all_folders_of_a_method_lead_to_the_same_agent(results: Any) -> None:
    found = [find_agent(results.folder(kind, "lapo")) for kind in ("policies", "decoders", "evaluation")]
    assert found[0] == found[1] == found[2]
    assert set(found[0].models) == {"policy", "decoders"}
    assert found[0].members == tuple(Member(labels, draw) for labels in ("16", "64") for draw in (0, 1))
    assert find_agent(results.folder("evaluation", "random")).models == {}


def test_a_random_agent_needs_what_its_rollouts_say_alone(results: Any, grid_world: Any) -> None:
    agent = lamflow.load_agent(results.folder("evaluation", "random"))
    assert agent.act(shown(grid_world(5).reset(np.arange(5)))).shape == (5,)


def test_without_its_rollouts_actions_are_drawn_or_as_one_says(results: Any, grid_world: Any, tmp_path: Path) -> None:
    root = tmp_path / "results" / "copied"
    for kind in ("policies", "decoders"):
        source = results.folder(kind, "dictionary")
        shutil.copytree(source, root / source.relative_to(results.root))
    folder = root / results.folder("policies", "dictionary").relative_to(results.root)
    seen = shown(grid_world(64).reset(np.arange(64)))
    drawn, likely = (
        lamflow.load_agent(folder, labels=64, draw=0, action_selection=selection) for selection in (None, "argmax")
    )
    first = drawn.act(seen).tolist()
    assert len(set(first)) > len(set(likely.act(seen).tolist()))
    drawn.reset(seed=0)
    assert drawn.act(seen).tolist() == first


def test_a_packed_agent_may_be_one_of_its_members(results: Any, tmp_path: Path) -> None:
    pack_agent(find_agent(results.folder("policies", "lapo")), tmp_path / "agent", Member("64", 1))
    assert lamflow.load_agent(tmp_path / "agent").member == Member("64", 1)
    assert lamflow.load_agent(tmp_path / "agent", labels=16, draw=0).member == Member("16", 0)


def problem(call: Any) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


def test_which_agent_must_be_said_where_there_are_several(results: Any) -> None:
    folder = results.folder("policies", "lapo")
    said = problem(lambda: lamflow.load_agent(folder))
    assert "expected one of the label budgets 16, 64 and one of the draws 0, 1" in said
    unknown: Any = "greedy"
    assert "action_selection: found 'greedy', expected argmax or sample" in problem(
        lambda: lamflow.load_agent(folder, labels=64, draw=0, action_selection=unknown)
    )
    assert "labels=32" in problem(lambda: lamflow.load_agent(folder, labels=32))
    random = results.folder("evaluation", "random")
    assert "is the same for all" in problem(lambda: lamflow.load_agent(random, labels=64))


def test_folders_that_are_no_agents_are_refused(results: Any, tmp_path: Path) -> None:
    assert "no such folder" in problem(lambda: lamflow.load_agent(tmp_path / "nothing"))
    assert "expected a folder that `lamflow pack` wrote" in problem(lambda: lamflow.load_agent(tmp_path))
    alone = tmp_path / "results" / "x" / results.folder("policies", "lapo").relative_to(results.root)
    shutil.copytree(results.folder("policies", "lapo"), alone)
    assert "decoders.safetensors: not there" in problem(lambda: lamflow.load_agent(alone))
    alone.joinpath("policy.safetensors").unlink()
    assert "found no model file there or beside it" in problem(lambda: lamflow.load_agent(alone))
    pack_agent(find_agent(results.folder("policies", "lapo")), tmp_path / "agent")
    card = tmp_path / "agent" / "lamflow_agent.json"
    card.write_text('{"format": "other"}')
    assert "found format 'other'" in problem(lambda: lamflow.load_agent(card.parent))
    card.write_text("{")
    assert "cannot be read" in problem(lambda: lamflow.load_agent(card.parent))
    assert "found other files there" in problem(
        lambda: pack_agent(find_agent(results.folder("policies", "lapo")), results.root)
    )


def test_observations_that_are_none_of_the_environment_are_refused(results: Any, grid_world: Any) -> None:
    agent = lamflow.load_agent(results.folder("policies", "lapo"), labels=64, draw=0)
    seen = shown(grid_world(2).reset(np.arange(2)))
    one = {name: part[0] for name, part in seen.items()}
    assert "expected a dict with the parts frames, proprioception" in problem(lambda: agent.act(one["frames"]))
    assert "no 'proprioception'" in problem(lambda: agent.act({"frames": one["frames"]}))
    assert "has shape [7, 8, 2]" in problem(lambda: agent.act({**one, "frames": one["frames"][:7]}))
    beyond = {**seen, "proprioception": np.full((2, 3), 99, np.uint8)}
    assert "observation 0 of the batch" in problem(lambda: agent.act(beyond))
    agent.act(seen)
    assert "found 1 observations, expected 2 as before: call reset()" in problem(lambda: agent.act(one))
    assert "begun: found [3], expected bool [2]" in problem(lambda: agent.act(seen, begun=np.ones(3, np.bool_)))
