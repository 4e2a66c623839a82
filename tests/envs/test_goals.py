"""Goals in words."""

import numpy as np
import pytest
from xminigrid.core.constants import Colors, Tiles

from lamflow.envs.goals import COLOR_NAMES, TILE_NAMES, describe_goal


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ((1, 3, 8, 0, 0), "hold the orange ball"),
        ((3, 7, 6, 0, 0), "stand beside the grey key"),
        ((4, 5, 4, 4, 5), "purple pyramid beside yellow square"),
        ((0, 0, 0, 0, 0), ""),
    ],
)
def test_a_goal_is_said_in_words(task: tuple[int, ...], text: str) -> None:
    assert describe_goal(np.array(task, np.uint8)) == text


def test_names_are_those_of_the_simulator() -> None:
    for names, known in ((TILE_NAMES, Tiles()), (COLOR_NAMES, Colors())):
        for index, name in enumerate(names):
            if index:
                simulators = {field.name for field in known.__dataclass_fields__.values() if field.default == index}
                assert simulators == {"_".join(reversed(name.split())).upper()}, name
