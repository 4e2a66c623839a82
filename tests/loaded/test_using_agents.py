"""What README.md and docs/using-agents.md show works as it stands, with the names of another experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lamflow.cli import parser
from lamflow.envs import gymnasium_face
from lamflow.methods.settings import METHODS

ROOT = Path(__file__).parents[2]
OURS = {
    "results/quickstart/policies/xland-doorkey-6x6-full/lapo_codes": "{root}/policies/{env}/lapo",
    "results/quickstart/lam/xland-doorkey-6x6-full/rotation_codes": "{root}/lam/{env}/lapo",
}


def blocks(path: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$(?=\n\n|\n?\Z)", ROOT.joinpath(path).read_text(), flags=re.DOTALL | re.MULTILINE
    )


def with_our_paths(text: str, results: Any) -> str:
    for theirs, ours in OURS.items():
        text = text.replace(theirs, ours.format(root=results.root, env="xland-empty-random-8x8-full"))
    return text


@pytest.mark.slow
def test_the_readmes_lines_run(results: Any, grid_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium_face, "make_vector_environment", lambda spec, count, **_: grid_world(count))
    monkeypatch.setattr(gymnasium_face, "draw_levels", lambda *_: np.arange(50))
    (text,) = [block for block in blocks("README.md", "python") if "load_agent" in block]
    names: dict[str, Any] = {}
    exec(with_our_paths(text, results), names)
    transitions = len(names["frames"]) - 1
    assert transitions > 1 and names["latents"].shape == (transitions, 4) and names["codes"].shape == (transitions, 1)


@pytest.mark.slow
def test_the_pages_lines_run(results: Any, grid_world: Any) -> None:
    seen = dict(grid_world(5).reset(np.arange(5)).parts)
    names: dict[str, Any] = {"observation": {name: part[0] for name, part in seen.items()}, "observations": seen}
    names["frames"] = np.repeat(seen["frames"][:1], 6, axis=0)
    acting, labelling = blocks("docs/using-agents.md", "python")
    exec(with_our_paths(acting.replace("actions = ", "agent.reset()\nactions = "), results), names)
    assert isinstance(names["action"], int) and names["actions"].shape == (5,)
    exec("import lamflow\n" + with_our_paths(labelling, results), names)
    assert names["frame"].shape == (8, 8, 2) and names["frames"].shape == (5, 8, 8, 2)


@pytest.mark.parametrize("page", ["docs/using-agents.md"])
def test_the_commands_are_those_that_there_are(page: str) -> None:
    text = ROOT.joinpath(page).read_text().replace("\\\n", " ")
    commands = re.findall(r"^lamflow (.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 6
    for line in commands:
        parser().parse_args(line.split())


def test_the_method_of_the_page_can_be_configured() -> None:
    (text,) = blocks("docs/using-agents.md", "yaml")
    (settings,) = yaml.safe_load(text)["methods"].values()
    found = METHODS.choices()[settings.pop("kind")]
    assert set(settings) == {"agent"} <= set(found.model_fields)
