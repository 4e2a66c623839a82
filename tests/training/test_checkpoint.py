"""Model files and random states: what comes back, and what people read when a file is not what it should be."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lamflow.training.checkpoint import (
    load_checkpoint,
    load_weights,
    random_states,
    read_model,
    restore_random_states,
    save_checkpoint,
    save_model,
    seed_everything,
)

METADATA = {"kind": "lam", "env": "xland-doorkey-5x5", "seed": 3, "settings": {"widths": [1, 2], "name": "ä"}}


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(path, nn.Linear(3, 2).state_dict() | {"counts": torch.arange(4)}, METADATA)
    return path


def test_tensors_and_metadata_come_back(model_path: Path) -> None:
    tensors, metadata = read_model(model_path)
    torch.manual_seed(0)
    expected = nn.Linear(3, 2).state_dict() | {"counts": torch.arange(4)}
    assert metadata == METADATA
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert load_file(model_path).keys() == expected.keys(), "any reader of safetensors gets the weights"


def test_views_and_empty_tensors_are_kept(tmp_path: Path) -> None:
    tensors = {"view": torch.arange(6.0).reshape(2, 3).T, "empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5)}
    save_model(tmp_path / "model.safetensors", tensors, {})
    found, _ = read_model(tmp_path / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_equal_models_are_equal_files(model_path: Path, tmp_path: Path) -> None:
    tensors, metadata = read_model(model_path)
    for repeat in range(5):
        save_model(tmp_path / f"{repeat}.safetensors", tensors, metadata)
        assert (tmp_path / f"{repeat}.safetensors").read_bytes() == model_path.read_bytes()


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.safetensors: no such model file; run the rule that makes it first"):
        read_model(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_model_is_named(keep: int, model_path: Path) -> None:
    model_path.write_bytes(model_path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"model\.safetensors: damaged model file \(.*delete it and run its rule again"
    ):
        read_model(model_path)


def test_a_flipped_bit_anywhere_is_noticed(model_path: Path) -> None:
    content = model_path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        model_path.write_bytes(bytes(damaged))
        with pytest.raises(ValueError, match=r"model\.safetensors: damaged model file"):
            read_model(model_path)


def test_weights_of_another_architecture_are_refused_with_the_differences(model_path: Path) -> None:
    tensors, _ = read_model(model_path)
    del tensors["counts"]
    load_weights(nn.Linear(3, 2), tensors, model_path)
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(5, 3))
    module.scale = nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError) as raised:
        load_weights(module, tensors, model_path)
    assert str(raised.value) == (
        f"{model_path}: checkpoint of another architecture (3 differences): missing scale (1,); unexpected bias (2,); "
        "weight has shape (2, 3), expected (5, 3). Train it again with these settings."
    )


def test_random_states_come_back() -> None:
    def draws() -> tuple[float, float, float]:
        return torch.rand(()).item(), float(np.random.rand()), random.random()  # noqa: NPY002

    seed_everything(5)
    states = random_states()
    first = draws()
    assert draws() != first
    restore_random_states(states)
    assert draws() == first
    seed_everything(5)
    assert draws() == first


def test_a_checkpoint_is_given_to_its_own_run_only(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path, "mine") is None
    save_checkpoint(path, {"identity": "mine", "step": 4})
    assert load_checkpoint(path, "mine") == {"identity": "mine", "step": 4}
    assert load_checkpoint(path, "other") is None


@pytest.mark.parametrize("content", [b"", b"no checkpoint", bytes(1000)])
def test_what_is_no_checkpoint_counts_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    assert load_checkpoint(path, "mine") is None


def test_a_checkpoint_with_a_flipped_bit_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"identity": "mine", "weights": torch.randn(50)})
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[place] ^= 4
        path.write_bytes(bytes(damaged))
        assert load_checkpoint(path, "mine") is None
