"""Model files and random states: what comes back, and what people read when a file is not what it should be."""

from __future__ import annotations

import hashlib
import io
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import lamflow
from lamflow.training.checkpoint import (
    CheckpointFolder,
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


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write_checkpoint(path: Path, state: Any) -> None:
    """As any program could: with the digest of what it wrote."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"identity": "mine", "step": 4, "random": np.random.get_state()}, "of an earlier version of lamflow"),  # noqa: NPY002
        ({"identity": "mine"}, "it lacks step"),
        ({"step": 4}, "it does not say whose it is"),
        (torch.zeros(3), "it does not say whose it is"),
        ({"identity": torch.zeros(3), "step": 4}, "it does not say whose it is"),
    ],
)
def test_a_checkpoint_of_another_make_counts_as_damaged(
    state: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, state)
    assert load_checkpoint(path, "mine", parts=["step"]) is None
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: damaged checkpoint (") and reason in printed


def test_a_checkpoint_that_would_run_a_program_is_refused_and_does_not_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, witness = tmp_path / "checkpoint.pt", tmp_path / "ran"
    write_checkpoint(path, {"identity": "mine", "step": 4, "module": Attack(witness)})
    assert load_checkpoint(path, "mine") is None
    assert not witness.exists()
    assert "it holds more than tensors, numbers and text" in capsys.readouterr().out


def test_a_folder_in_a_checkpoints_place_is_passed_over_and_makes_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, loaded = CheckpointFolder(tmp_path, "mine"), []
    folder.save(5, {"step": 5})
    tmp_path.joinpath("checkpoint-0000000010.pt").mkdir()
    tmp_path.joinpath("checkpoint-0000000010.pt", "note.txt").write_text("?")
    folder.resume(loaded.append, parts=["step"])
    assert [state["step"] for state in loaded] == [5]
    assert "checkpoint-0000000010.pt: damaged checkpoint ([Errno 21] Is a directory" in capsys.readouterr().out
    folder.save(10, {"step": 10})
    assert load_checkpoint(tmp_path / "checkpoint-0000000010.pt", "mine") == {"identity": "mine", "step": 10}


def test_a_checkpoint_that_a_run_cannot_take_is_passed_over_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, loaded = CheckpointFolder(tmp_path, "mine"), []
    folder.save(5, {"step": 5, "sizes": {"a": 1}})
    folder.save(10, {"step": 10, "sizes": {}})
    folder.resume(lambda state: loaded.append((state["step"], state["sizes"]["a"])), parts=["step", "sizes"])
    assert loaded == [(5, 1)]
    assert "checkpoint-0000000010.pt: damaged checkpoint (KeyError: 'a'); it is removed" in capsys.readouterr().out

    folder.save(6, {"step": 6, "sizes": {}})
    (tmp_path / "checkpoint-0000000005.pt").unlink()
    with pytest.raises(ValueError, match=r"there is no other: run the same command again, it begins at step 0"):
        folder.resume(lambda state: loaded.append(state["sizes"]["a"]), parts=["step", "sizes"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pattern", "doors"),
    [
        (r"^\s*(from|import) safetensors", {"training/checkpoint.py"}),
        (r"torch\.(load|save)\(", {"training/checkpoint.py"}),
        (r"allow_pickle=True|weights_only=False|read_pickle|joblib", set()),
        (r"pickle\.loads?\(", {"envs/gymnasium_saved_policy.py"}),  # Stable-Baselines3's files, which the user asks for
    ],
)
def test_models_and_checkpoints_have_one_door_and_nothing_is_unpickled_beside_it(pattern: str, doors: set[str]) -> None:
    source = Path(lamflow.__file__).parent
    found = {path for path in source.rglob("*.py") if re.search(pattern, path.read_text("utf-8"), flags=re.MULTILINE)}
    assert {path.relative_to(source).as_posix() for path in found} == doors
