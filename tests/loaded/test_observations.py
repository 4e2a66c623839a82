"""Observations as Gymnasium gives them."""

import numpy as np
import pytest

from lamflow.envs.spec import EnvironmentSpec
from lamflow.loaded.observations import read_observation
from lamflow.spaces import Discrete, Pixels


def test_a_picture_with_alpha_is_refused_and_no_batch() -> None:
    spec = EnvironmentSpec("x", "x", {"frames": Pixels((40, 40, 3))}, Discrete(2), max_steps=10, main="frames")
    for shape in ((40, 40, 4), (2, 40, 40, 4)):
        with pytest.raises(ValueError, match=r"\[40, 40, 4\]"):
            read_observation(spec, np.zeros(shape, np.uint8))
    grey, batched = read_observation(spec, np.zeros((5, 40, 40), np.uint8))
    assert batched and grey.parts["frames"].shape == (5, 40, 40, 3)


def test_read_only_pictures_may_be_given_to_torch() -> None:
    spec = EnvironmentSpec("x", "x", {"frames": Pixels((40, 40, 3))}, Discrete(2), max_steps=10, main="frames")
    for shape in ((40, 40, 3), (2, 40, 40, 3), (60, 60, 3)):
        picture = np.zeros(shape, np.uint8)
        picture.flags.writeable = False
        assert read_observation(spec, picture)[0].parts["frames"].flags.writeable
