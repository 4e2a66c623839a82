"""Labels as new columns of data sets of LeRobot and Minari, read by their own readers: pyarrow and minari."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from lamflow.cli import main
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.spaces import Box, Pixels
from lamflow.training.checkpoint import save_model

for folder in (Path(__file__).parents[1], Path(__file__).parents[1] / "episodes"):
    sys.path.append(str(folder))

from lerobot_files import LENGTHS, recordings, write_v3  # noqa: E402
from minari_data import LENGTHS as LENGTHS_OF_MINARI  # noqa: E402
from minari_data import PICTURE, buffers, numbers, pictures, write  # noqa: E402
from minari_data import Box as BoxOfGymnasium  # noqa: E402

pytestmark = pytest.mark.slow
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 1, "hidden_width": 8},
    "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 8, "target": "change"},
    "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 2, "codes": 8},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of pictures that was never trained."""
    spec = EnvironmentSpec("clips", "recorded", {"frames": Pixels((64, 64, 3))}, Box((-1, -1), (1, 1)), 100)
    settings = OneStepSettings.model_validate(SETTINGS)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lam") / "model.safetensors"
    header = {"kind": "lam", "env": "clips", "lam": "codes", "seed": 0, "environment": spec.facts()}
    tensors = settings.build(spec=spec).state_dict()
    save_model(path, tensors, header | {"settings": settings.model_dump(mode="json")})
    return path


def labelled(table: Path) -> dict[str, Any]:
    """The latents and codes of the table that is written beside the data set, with nulls filled."""
    found = parquet.read_table(table)
    latents = [found[f"latent_{entry}"].fill_null(float("nan")).to_numpy() for entry in range(4)]
    codes = [found[f"code_{entry}"].fill_null(-1).to_numpy() for entry in range(2)]
    return {"latent": np.stack(latents, axis=1), "latent_code": np.stack(codes, axis=1)}


def test_pyarrow_reads_the_columns_of_a_lerobot_data_set(model: Path, tmp_path: Path) -> None:
    data = write_v3(tmp_path / "set", recordings(), "libx264rgb")
    out = tmp_path / "labelled"
    assert main(["label", str(model), str(data), "-o", str(out), "--into", "lerobot", "--set", "camera=wrist"]) == 0
    rows = parquet.read_table(out / "data")
    wanted = labelled(tmp_path / "labelled.labels.parquet")
    np.testing.assert_array_equal(np.array(rows["latent"].to_pylist(), np.float32), wanted["latent"])
    assert rows["latent_code"].to_pylist() == wanted["latent_code"].tolist()
    ends = np.cumsum(LENGTHS) - 1
    assert np.flatnonzero(np.isnan(wanted["latent"][:, 0])).tolist() == ends.tolist()
    features = json.loads((out / "meta" / "info.json").read_text())["features"]
    assert features["latent"]["shape"] == [4] and features["latent_code"]["dtype"] == "int64"


def test_minari_reads_the_columns_back(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episodes = buffers(pictures, lambda episode, rows: numbers(episode, rows, 2))
    data = write(tmp_path, episodes, PICTURE, BoxOfGymnasium(-1, 1, (2,), np.float32))
    out = tmp_path / "test" / "labelled-v0"
    assert main(["label", str(model), str(data), "-o", str(out), "--into", "minari"]) == 0
    wanted = labelled(out.with_name("labelled-v0.labels.parquet"))
    read = list(minari.load_dataset("test/labelled-v0").iterate_episodes())
    assert len(read) == len(LENGTHS_OF_MINARI)
    np.testing.assert_array_equal(np.concatenate([episode.infos["latent"] for episode in read]), wanted["latent"])
    codes = np.concatenate([episode.infos["latent_code"] for episode in read])
    assert codes.tolist() == wanted["latent_code"].tolist()


def test_columns_go_into_data_sets_of_their_kind_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_v3(tmp_path / "set", recordings(), "libx264rgb")
    assert main(["label", str(model), str(data), "-o", str(tmp_path / "out"), "--into", "minari"]) == 1
    assert "found recordings of the kind lerobot, expected minari" in capsys.readouterr().err
    assert main(["label", str(model), str(data), "-o", str(data), "--into", "lerobot"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["inspect", str(data), "--set", "kamera=top"]) == 1
    assert "kamera: unknown key" in capsys.readouterr().err
