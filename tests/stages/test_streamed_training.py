"""Every training on a split larger than its window, beside the same on one that is resident."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lamflow.data import group_writer
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore, array_of
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.unions import join_stores
from lamflow.data.windows import TRANSITION, WindowSpec
from lamflow.envs.presets import preset
from lamflow.methods import cloning as cloning_module
from lamflow.policies.members import label_members, read_members
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.stages.train_action_decoders import train_action_decoders
from lamflow.stages.train_policy import train_policy

ENV = "xland-empty-random-8x8-full"
ROW_BYTES, CHUNK_ROWS, WINDOW_ROWS = 128, 16, 400
SMALL_WINDOW = WINDOW_ROWS * ROW_BYTES / 2**30
LABELS = (16, "2 trajectories")
NETWORK = {"width": 8, "layers": 2, "hidden_width": 16, "pooling": "flatten"}
TRAINING = {"steps": 40, "batch_size": 32, "log_every": 10, "validate_every": 20, "checkpoint_every": 7}
LAM: dict[str, Any] = {
    "quantizer": {"codebooks": 2, "tokens": 2, "code_dim": 4, "codes": 8},
    "inverse_dynamics": {"width": 8, "layers": 2, "hidden_width": 16},
    "forward_dynamics": {"width": 8, "layers": 2, "hidden_width": 16},
}
EXTRAS: dict[str, dict[str, Any]] = {
    "LAPO's": {},
    "supervised, multi-step": {"supervision": {"labels": 100, "batch_size": 16, "every": 2}, "idm_horizon": 10},
}
POLICY = {"network": NETWORK, "context": 2}
METHODS: dict[str, dict[str, Any]] = {
    "latents": {"kind": "latent", "lam": "lapo"},
    "codes": {"kind": "latent", "lam": "lapo", "target": "codes"},
    "bc": {"kind": "bc"},
    "vpt": {"kind": "vpt", "inverse_dynamics": NETWORK},
    "oracle_bc": {"kind": "oracle_bc"},
}


@dataclass(frozen=True)
class Splits:
    """Stores in chunks of 16 rows, and their latents by the LAM ``lapo``."""

    root: Path
    world: Any

    def episodes(self, split: str = "train") -> Path:
        return self.root / f"{split}.zarr"

    def latents(self, split: str) -> Path:
        return self.root / f"{split}_latents.zarr"


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("row-reader")]


@pytest.fixture(scope="module")
def splits(world: Any, write_walks: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Splits:
    found = Splits(tmp_path_factory.mktemp("splits"), world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_writer, "CHUNK_BYTES", CHUNK_ROWS * ROW_BYTES)
        for number, (split, episodes) in enumerate({"train": 50, "validation": 30}.items()):
            write_walks(found.episodes(split), episodes=episodes, first_level=1000 * number, split=split)
            store = EpisodeStore.open(found.episodes(split))
            assert store.rows(array_of("frames")).chunk_rows == CHUNK_ROWS
            data = EpisodeTensors.open(store, window_gib=SMALL_WINDOW)
            with data.stream(TRANSITION, data.rows, 1, 0) as stream:
                stream.rows(0)
                assert readers(), "it is read as it is used"
            relabel_episodes(
                environment=preset(ENV).facts(),
                lam="lapo",
                seed=0,
                model=world.model("lapo"),
                episodes=found.episodes(split),
                output=found.latents(split),
            )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_a_streamed_lam_is_the_same_also_when_it_was_interrupted(
    extra: dict[str, Any],
    splits: Splits,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(folder: str, window_gib: float = SMALL_WINDOW) -> bytes:
        settings = {**LAM, **extra, "training": TRAINING | {"window_gib": window_gib}}
        stores = {"train": splits.episodes(), "validation": splits.episodes("validation")}
        return splits.world.train_lam("lapo", tmp_path / folder, settings=settings, **stores).read_bytes()

    straight = train("straight")
    with killed_at_loss(25):
        train("killed")
    assert train("killed") == straight
    assert "resumed from step 21 of" in capsys.readouterr().out
    assert train("resident", 1.0) != straight, "which is drawn in another order"


@pytest.mark.slow
def test_a_lam_of_a_streamed_union_is_the_same_also_when_it_was_interrupted(
    splits: Splits,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(folder: str, shares: tuple[float, float]) -> bytes:
        path = tmp_path / f"{shares}" / "train.zarr"
        if not path.exists():
            join_stores(path, [splits.episodes()] * 2, spec=preset(ENV), split="train", shares=shares)
        settings = {**LAM, "training": TRAINING | {"window_gib": SMALL_WINDOW}}
        stores = {"train": path, "validation": splits.episodes("validation")}
        return splits.world.train_lam("lapo", tmp_path / folder, settings=settings, **stores).read_bytes()

    straight = train("straight", (0.25, 0.75))
    with killed_at_loss(25):
        train("killed", (0.25, 0.75))
    assert train("killed", (0.25, 0.75)) == straight
    assert "resumed from step 21 of" in capsys.readouterr().out
    assert not readers()
    assert train("others", (0.5, 0.5)) != straight, "whose batches are others"


def damaged(store: Path, copy: Path, shard: int) -> Path:
    """A copy of the store with a changed byte in a shard file of frames."""
    shutil.copytree(store, copy)
    file = copy.joinpath("observation", "frames", "c", str(shard), "0", "0", "0")
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    return copy


@pytest.mark.parametrize("split", ["train", "validation"])
def test_damage_ends_a_streamed_training_with_the_name_of_the_file(
    split: str, splits: Splits, quick_probes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the training split, only the stream reads that chunk; of the other one, the validation. Smaller arrays are checked whole first."""
    monkeypatch.setattr("lamflow.data.group_reader.VERIFIED_BYTES", 0)
    monkeypatch.setattr("lamflow.lam.learning.PROBE_TRANSITIONS", 4)
    stores = {"train": splits.episodes(), "validation": splits.episodes("validation")}
    stores[split] = damaged(stores[split], tmp_path / f"{split}.zarr", shard=0)
    settings = {**LAM, "training": TRAINING | {"steps": 200, "window_gib": SMALL_WINDOW}}
    output = tmp_path / "output"
    with pytest.raises(ValueError, match=rf"{split}\.zarr/observation/frames/c/0/0/0/0: chunk 0 is damaged"):
        splits.world.train_lam("lapo", output, settings=settings, **stores)
    assert not output.joinpath("model.safetensors").exists()
    assert not readers()


def test_latents_of_a_store_in_small_chunks_are_those_of_one_in_a_large_chunk(splits: Splits) -> None:
    found, expected = (
        LatentStore.open(path).load() for path in (splits.latents("train"), splits.world.latents("lapo", "train"))
    )
    torch.testing.assert_close(torch.from_numpy(found.latents), torch.from_numpy(expected.latents), atol=1e-5, rtol=0)
    assert (found.codes == expected.codes).all()


class Training:
    """Trains a method's policy, and decoders where it needs some first, in a window of memory."""

    def __init__(self, splits: Splits, folder: Path) -> None:
        self.splits, self.folder = splits, folder

    def settings(self, method: str, window_gib: float) -> dict[str, Any]:
        training = TRAINING | {"window_gib": window_gib}
        settings = METHODS[method] | {"policy": POLICY | {"training": training}}
        return settings if method in ("bc", "oracle_bc") else settings | {"decoder": {"training": training}}

    def common(self, method: str, window_gib: float) -> dict[str, Any]:
        labels = {"labels": LABELS, "label_draws": 1, "seed": 0}
        return labels | {
            "environment": preset(ENV).facts(),
            "method": method,
            "settings": self.settings(method, window_gib),
        }

    def decoders(self, method: str, window_gib: float) -> Path:
        output = self.folder / f"{method}_{window_gib}_decoders.safetensors"
        latents = self.splits.latents("train") if method in ("latents", "codes") else None
        common = self.common(method, window_gib)
        train_action_decoders(**common, train=self.splits.episodes(), latents=latents, output=output)
        return output

    def policy(self, method: str, window_gib: float, state: str = "straight") -> list[dict[str, torch.Tensor]]:
        output, latent = self.folder / f"{method}_{window_gib}.safetensors", method in ("latents", "codes")
        train_policy(
            **self.common(method, window_gib),
            logging={},
            train=self.splits.episodes(),
            validation=self.splits.episodes("validation"),
            latents=self.splits.latents("train") if latent else None,
            validation_latents=self.splits.latents("validation") if latent else None,
            decoders=self.decoders("vpt", window_gib) if method == "vpt" else None,
            output=output,
            metrics=output.with_suffix(".csv"),
            state_dir=self.folder / f"{method}_{state}",
        )
        return read_members(output, env=ENV, method=method, seed=0)[1]


@pytest.fixture
def training(splits: Splits, tmp_path: Path) -> Training:
    return Training(splits, tmp_path)


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(weights[name], tensor) for weights, found in pairs for name, tensor in found.items())


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_streamed_policy_is_the_same_also_when_it_was_interrupted(
    method: str, training: Training, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    straight = training.policy(method, SMALL_WINDOW)
    clone = cloning_module.clone

    def clone_until_killed(**arguments: Any) -> Any:
        calls, objective = [], arguments["objective"]

        def killed(*tensors: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            if len(calls) == 18:
                raise Killed
            return objective(*tensors)

        return clone(**(arguments | {"objective": killed}))

    with monkeypatch.context() as patch:
        patch.setattr(cloning_module, "clone", clone_until_killed)
        with pytest.raises(Killed):
            training.policy(method, SMALL_WINDOW, "killed")
    resumed = training.policy(method, SMALL_WINDOW, "killed")
    assert "resumed from step 14 of" in capsys.readouterr().out
    assert same(resumed, straight)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["latents", "codes", "vpt"])
def test_decoders_learn_the_same_labels_from_a_streamed_split(method: str, training: Training) -> None:
    paths = [training.decoders(method, window_gib) for window_gib in (SMALL_WINDOW, 1.0)]
    streamed, resident = (read_members(path, env=ENV, method=method, seed=0) for path in paths)
    assert streamed[0] == resident[0] == label_members(LABELS, 1)
    assert same(streamed[1], resident[1])


@pytest.mark.slow
def test_few_labelled_rows_are_drawn_in_the_same_order_from_a_streamed_split(training: Training) -> None:
    assert same(training.policy("bc", SMALL_WINDOW, "streamed"), training.policy("bc", 1.0, "resident"))


@pytest.mark.slow
def test_pseudo_labels_of_a_streamed_split_are_those_of_a_resident_one(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[float, list[torch.Tensor]] = {SMALL_WINDOW: [], 1.0: []}
    clone = cloning_module.clone

    def clone_and_note(**arguments: Any) -> Any:
        examples = arguments["train_examples"]
        held = examples.data.part(WindowSpec(columns=(examples.target,)), examples.rows)
        seen[arguments["settings"].training.window_gib].append(held.at(examples.target))
        return clone(**arguments)

    monkeypatch.setattr(cloning_module, "clone", clone_and_note)
    for window_gib in (SMALL_WINDOW, 1.0):
        training.policy("vpt", window_gib, str(window_gib))
    assert [len(found) for found in seen.values()] == [len(LABELS)] * 2
    assert all(torch.equal(*pair) for pair in zip(*seen.values(), strict=True))
