"""Recordings labelled by the command: as the workflow does it, in pieces, and from where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from lamflow.cli import main
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore, EpisodeWriter
from lamflow.envs.interface import Episode
from lamflow.envs.presets import preset
from lamflow.envs.recorded_facts import describe
from lamflow.envs.recorded_settings import RecordedSettings
from lamflow.episodes import pieces as pieces_module
from lamflow.episodes.npz import NpzSource
from lamflow.episodes.npz_settings import NpzSettings
from lamflow.episodes.zarr import ZarrSource
from lamflow.lam.settings import lam_settings
from lamflow.loaded.decoders import load_decoder
from lamflow.loaded.labelling import label_recordings
from lamflow.loaded.lams import LoadedLam, load_lam
from lamflow.policies.members import read_members
from lamflow.training.checkpoint import read_model, save_model

pytestmark = pytest.mark.slow


def label(results: Any, output: Path, *more: str) -> int:
    return main(["label", str(results.lam), str(results.store("train")), "-o", str(output), *more])


@pytest.fixture(scope="module")
def table(results: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Labels with actions by the decoder of 64 labels and draw 1."""
    output = tmp_path_factory.mktemp("labels") / "labels.parquet"
    decoders = results.folder("decoders", "lapo")
    assert label(results, output, "--decoder", str(decoders), "--labels", "64", "--draw", "1") == 0
    return parquet.read_table(output)


def test_every_frame_has_a_row_and_the_latents_of_the_workflow(results: Any, table: Any) -> None:
    arrays = EpisodeStore.open(results.store("train")).load()
    assert table.column_names == [
        "episode",
        "frame",
        *(f"latent_{i}" for i in range(4)),
        "code_0",
        "action",
        "confidence",
    ]
    assert table.num_rows == arrays.num_rows
    lengths = np.diff([*arrays.episode_starts, arrays.num_rows])
    assert table["frame"].to_pylist() == [frame for length in lengths for frame in range(length)]
    assert len(set(table["episode"].to_pylist())) == arrays.num_episodes
    last = np.append(arrays.episode_starts[1:], arrays.num_rows) - 1
    assert np.flatnonzero(table["latent_0"].is_null().to_numpy()).tolist() == last.tolist()
    stored = LatentStore.open(results.latents("train"))
    rows = np.delete(np.arange(arrays.num_rows), last)
    found = np.stack([table[f"latent_{i}"].to_numpy()[rows] for i in range(4)], axis=1)
    np.testing.assert_allclose(found, stored.rows("latents").read_rows(rows), rtol=1e-5, atol=1e-6)
    assert table["code_0"].to_numpy()[rows].astype(int).tolist() == stored.rows("codes").read_rows(rows)[:, 0].tolist()


def test_actions_and_confidence_are_the_decoders(results: Any, table: Any) -> None:
    path = results.folder("decoders", "lapo") / "decoders.safetensors"
    members, weights, _ = read_members(path, env="xland-empty-random-8x8-full", method="lapo", seed=0)
    own = next(
        part for member, part in zip(members, weights, strict=True) if (member.labels, member.label_draw) == ("64", 1)
    )
    rows = np.flatnonzero(table["action"].is_valid().to_numpy())
    hidden = torch.tensor(np.stack([table[f"latent_{i}"].to_numpy()[rows] for i in range(4)], axis=1))
    hidden = (hidden @ own["0.weight"].T + own["0.bias"]).relu() @ own["2.weight"].T + own["2.bias"]
    wanted = hidden.softmax(-1).max(-1)
    assert table["action"].to_numpy()[rows].astype(int).tolist() == wanted.indices.tolist()
    np.testing.assert_allclose(table["confidence"].to_numpy()[rows], wanted.values.numpy(), rtol=1e-5)


def test_a_dictionary_decodes_codes(results: Any) -> None:
    lam = load_lam(results.lam)
    decoder = load_decoder(results.folder("decoders", "dictionary"), lam, labels=64, draw=0)
    members, weights, _ = read_members(decoder.path, env=lam.spec.name, method="dictionary", seed=0)
    table = weights[members.index(decoder.member)]["table"]
    frames = EpisodeStore.open(results.store("train")).load().frames[:10]
    labels = lam.label(frames)
    decoded = decoder.decode(labels)
    assert decoded.actions.tolist() == table[labels.codes[:, 0]].argmax(-1).tolist()
    assert decoded.confidence is not None
    np.testing.assert_allclose(decoded.confidence, table[labels.codes[:, 0]].amax(-1).numpy(), rtol=1e-5)


def test_pieces_of_a_few_frames_give_the_same_table(
    results: Any, table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 900)
    assert label(results, tmp_path / "labels.parquet") == 0
    found = parquet.read_table(tmp_path / "labels.parquet")
    assert found["code_0"].to_pylist() == table["code_0"].to_pylist()
    np.testing.assert_allclose(found["latent_1"].to_numpy(), table["latent_1"].to_numpy(), rtol=1e-5, atol=1e-6)


def test_a_run_that_was_killed_goes_on_and_labels_no_episode_twice(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    read: Callable[..., Any] = ZarrSource.episodes

    class Killed(BaseException):
        pass

    def until_the_tenth(source: ZarrSource, names: Any = None) -> Any:
        for episode in read(source, names):
            begun.append(episode.entry.name)
            if len(begun) == 10:
                raise Killed
            yield episode

    monkeypatch.setattr(ZarrSource, "episodes", until_the_tenth)
    output = tmp_path / "labels.parquet"
    with pytest.raises(Killed):
        label(results, output)
    assert not output.exists() and len(list(tmp_path.glob("labels.parquet.parts/*.parquet"))) == 9
    assert label(results, output) == 0
    assert len(begun) == 31 and begun[9] == begun[10] and len(set(begun)) == 30
    monkeypatch.undo()
    assert label(results, tmp_path / "undisturbed.parquet") == 0
    assert output.read_bytes() == tmp_path.joinpath("undisturbed.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.parquet", "undisturbed.parquet"]


def test_what_another_model_has_labelled_is_not_gone_on_with(results: Any, tmp_path: Path) -> None:
    parts = tmp_path / "labels.parquet.parts"
    parts.mkdir()
    parts.joinpath("labelled.json").write_text('{"identity": "another"}')
    parts.joinpath("0000000.parquet").write_text("of another model")
    assert label(results, tmp_path / "labels.parquet") == 0


def problem(results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What the command says instead of labelling, in a line, without a traceback."""
    assert label(results, tmp_path / "labels.parquet", *more) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("lamflow label: ")
    return said[-1]


def test_decoders_that_cannot_be_used_are_refused(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoders = results.folder("decoders", "lapo")
    said = problem(results, tmp_path, capsys, "--decoder", str(decoders))
    assert "found no labels and no draw, expected one of the label budgets 16, 64" in said
    assert "--labels 16 --draw 0 on the command line" in said
    assert "without --decoder" in problem(results, tmp_path, capsys, "--labels", "64")
    policy = results.folder("policies", "lapo") / "policy.safetensors"
    assert "found a file of kind 'policy', expected decoders" in problem(
        results, tmp_path, capsys, "--decoder", str(policy)
    )
    tensors, header = read_model(decoders / "decoders.safetensors")
    other = tmp_path / "other.safetensors"
    save_model(other, tensors, {**header, "seed": 7})
    said = problem(results, tmp_path, capsys, "--decoder", str(other), "--labels", "64")
    assert "found decoders of seed 7" in said and "is of 0" in said
    settings = {**header["method_settings"], "decoder": {"kind": "mlp", "observation": True}}
    save_model(other, tensors, {**header, "method_settings": settings})
    assert "see the observation" in problem(results, tmp_path, capsys, "--decoder", str(other), "--labels", "64")


def test_frames_that_the_model_does_not_know_are_refused(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = preset("xland-doorkey-5x5-full")
    episode = Episode(
        observations={name: np.zeros((3, *part.shape), np.uint8) for name, part in spec.observation.items()},
        actions=np.zeros(2, np.int64),
        rewards=np.zeros(2, np.float32),
        terminated=True,
        truncated=False,
        level_id=0,
    )
    attributes = {"source": "zeros", "licence": "MIT", "return_expert": 1.0}
    with EpisodeWriter(tmp_path / "small.zarr", spec=spec, split="train", attributes=attributes) as writer:
        writer.append(episode)
    assert main(["label", str(results.lam), str(tmp_path / "small.zarr"), "-o", str(tmp_path / "out.parquet")]) == 1
    said = capsys.readouterr().err
    assert "found categories [5, 5, 2]" in said and "was trained on categories [8, 8, 2]" in said


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("folder", "found a folder, expected a file to write"),
        ("folder.parquet", "found a folder, expected a file to write"),
        ("labels.csv", "found a name that ends in '.csv', expected a file to write, such as labels.parquet"),
        ("file/labels.parquet", "file, expected a folder: name another file to write"),
        ("data/labels.parquet", "found a file to write within the recordings"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_labelled(
    results: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, message: str
) -> None:
    for name in ("folder", "folder.parquet", "data"):
        tmp_path.joinpath(name).mkdir()
    tmp_path.joinpath("file").write_text("x")
    np.save(tmp_path / "data" / "a.npy", np.zeros((2, 40, 40, 3), np.uint8))
    lam = str(results.lam)
    assert main(["label", lam, str(tmp_path / "data"), "-o", str(tmp_path / output)]) == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file", "folder", "folder.parquet"]


class Stopped(BaseException):
    pass


def test_frames_that_are_made_otherwise_are_labelled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run was stopped, what it has labelled is of frames that were resized."""
    generator = np.random.default_rng(0)
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", generator.integers(256, size=(3, 32, 64, 3), dtype=np.uint8))
    settings = NpzSettings(path=str(tmp_path))
    recorded = RecordedSettings.model_validate({"episodes": settings, "frames": {"height": 32, "width": 32}})
    network = {"kind": "impala", "stem": "patch", "channels": [4], "blocks": 0, "hidden_width": 8}
    dynamics = {"kind": "unet", "stem": "patch", "base_width": 4}
    model = lam_settings({"inverse_dynamics": network, "forward_dynamics": dynamics}).build(
        spec=describe(recorded, "clips")
    )
    lam = LoadedLam(model.eval(), name="lapo", seed=0, path=tmp_path / "a.npy")
    output = tmp_path.parent / "labels" / "labels.parquet"
    read: Callable[..., Any] = NpzSource.episodes

    def the_first(source: NpzSource, names: Any = None) -> Any:
        yield next(read(source, names))
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(NpzSource, "episodes", the_first)
        label_recordings(lam, settings, output, fit="resize")
    assert output.with_name("labels.parquet.parts").is_dir()
    label_recordings(lam, settings, output, fit="letterbox")
    label_recordings(lam, settings, output.with_name("undisturbed.parquet"), fit="letterbox")
    assert parquet.read_table(output).equals(parquet.read_table(output.with_name("undisturbed.parquet")))
