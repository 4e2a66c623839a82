"""Training a latent action model and relabelling episodes with it, as the workflow does."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamflow.data import group_writer, tensors
from lamflow.data.latents import LatentStore
from lamflow.data.store import EpisodeStore
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION
from lamflow.envs.presets import preset
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.validation import label_rows
from lamflow.policies.members import Member, labelled_rows
from lamflow.stages import train_lam as train_lam_module
from lamflow.stages.relabel_episodes import relabel_episodes
from lamflow.training.precision import autocast, precision_of

ENV = "xland-empty-random-8x8-full"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.slow
def test_a_lam_is_written_with_its_settings_metrics_and_provenance(world: Any) -> None:
    model = load_latent_action_model(world.model("lapo"), spec=preset(ENV), lam="lapo", seed=0)
    assert model.settings.quantizer.codes == 8
    provenance = json.loads(world.model("lapo").with_suffix(".json").read_text())
    assert provenance["stage"] == "lamflow.stages.train_lam"
    assert provenance["seed"] == 0 and set(provenance["inputs"]) == {"train", "validation"}
    taken = str(precision_of("auto", model.parameters()))
    latents = json.loads(world.latents("lapo").with_suffix(".json").read_text())
    assert provenance["precision"] == latents["precision"] == [taken]
    rows = rows_of(world.model("lapo").with_name("metrics.csv"))
    assert list(rows[0]) == ["step", "split", "name", "value"]
    assert {int(row["step"]) for row in rows if row["split"] == "train"} == {4, 8, 12}
    assert {int(row["step"]) for row in rows if row["split"] == "validation"} == {6, 12}


def test_the_metrics_that_people_look_at_are_logged(world: Any) -> None:
    names = {
        lam: {row["name"] for row in rows_of(world.model(lam).with_name("metrics.csv"))}
        for lam in ("lapo", "continuous")
    }
    common = {"loss/total", "loss/reconstruction", "loss/commitment", "optimizer/gradient_norm"}
    common |= {f"fdm/{name}" for name in ("loss", "loss_shuffled_latent", "loss_copy_last_frame")}
    common |= {f"fdm/{name}" for name in ("changed_cell_accuracy", "frame_accuracy")}
    common |= {"fdm/loss_difference_error", "fdm/nearer_next_frame", "latent/deviation"}
    common |= {"probe/fitted_transitions", "probe/judged_transitions"}
    common |= {f"probe/{kind}_accuracy{part}" for kind in ("linear", "mlp") for part in ("", "_effectful")}
    assert names["continuous"] == common
    assert names["lapo"] == common | {
        f"codebook/{name}" for name in ("perplexity", "joint_perplexity", "used_fraction")
    }


def test_the_log_of_a_training_ends_with_the_verdict(
    world: Any, quick_probes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dozen steps teach nothing."""
    world.train_lam("lapo", tmp_path)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"lapo on {ENV}, seed 0: ") and "Try" in last


def test_a_supervised_lam_sees_the_labels_of_decoders_and_is_a_lam_like_others(
    world: Any, quick_probes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = json.loads(world.model("lapo").with_suffix(".json").read_text())["settings"]
    settings |= {"supervision": {"labels": 16, "label_draw": 1, "batch_size": 8}, "idm_horizon": 3}
    seen, fit = [], train_lam_module.fit_latent_action_model

    def fit_and_note(**arguments: Any) -> Any:
        seen.append(arguments["labelled_rows"].tolist())
        return fit(**arguments)

    monkeypatch.setattr(train_lam_module, "fit_latent_action_model", fit_and_note)
    path = world.train_lam("lapo", tmp_path, settings=settings, seed=2)
    arrays = EpisodeStore.open(world.episodes()).load()
    assert seen == [labelled_rows(arrays, Member("64", 1), 2)[:16].tolist()]
    model = load_latent_action_model(path, spec=preset(ENV), lam="lapo", seed=2)
    assert model.settings.supervision is not None and model.settings.supervision.labels == 16
    names = {(row["split"], row["name"]) for row in rows_of(tmp_path / "metrics.csv")}
    expected = {
        ("train", "loss/supervision"),
        ("train", "supervision/accuracy"),
        ("validation", "supervision/accuracy"),
    }
    assert {name for name in names if "supervision" in name[1]} == expected


def test_the_same_run_gives_the_same_bytes_also_when_it_was_interrupted(
    world: Any,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with killed_at_loss(9):
        world.train_lam("lapo", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"], "nothing half-written where outputs go"
    model = world.train_lam("lapo", tmp_path)
    assert "resumed from step 5 of" in capsys.readouterr().out
    assert model.read_bytes() == world.model("lapo").read_bytes()
    assert model.with_name("metrics.csv").read_bytes() == world.model("lapo").with_name("metrics.csv").read_bytes()


@pytest.mark.parametrize("change", ["seed", "settings", "data"])
def test_state_of_another_run_is_not_resumed(
    change: str,
    world: Any,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with killed_at_loss(9):
        world.train_lam("single", tmp_path)
    settings = json.loads(world.model("single").with_suffix(".json").read_text())["settings"]
    changes: dict[str, Any] = {
        "seed": {"seed": 1},
        "settings": {"settings": settings | {"symmetry": "none"}},
        "data": {"train": world.episodes("test")},
    }
    capsys.readouterr()
    world.train_lam("single", tmp_path, **changes[change])
    assert "checkpoint of other settings, data or code; it is removed" in capsys.readouterr().out


def test_episodes_of_another_environment_are_refused(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"train\.zarr: found environment '{ENV}', expected 'xland-doorkey-6x6'"):
        world.train_lam("lapo", tmp_path, environment=preset("xland-doorkey-6x6").facts())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lam", "dim", "tokens", "codes"), [("lapo", 16, 4, 8), ("single", 4, 1, 6), ("continuous", 4, 0, None)]
)
def test_latents_are_those_of_the_model_row_by_row(
    lam: str, dim: int, tokens: int, codes: int | None, world: Any
) -> None:
    episodes = EpisodeStore.open(world.episodes())
    store = LatentStore.open(world.latents(lam), env=ENV, lam=lam, seed=0, episodes=episodes)
    assert (store.latent_dim, store.num_tokens, store.codebook_size) == (dim, tokens, codes)
    arrays, found = episodes.load(), store.load()
    assert found.valid.sum() == arrays.num_transitions and not found.valid[arrays.actions < 0].any()
    batches = EpisodeTensors(arrays)
    model = load_latent_action_model(world.model(lam), spec=preset(ENV))
    precision = precision_of(model.settings.training.precision, model.parameters())
    with autocast(precision.name, batches.device):
        expected = label_rows(model, batches.part(model.window, batches.rows))
    np.testing.assert_allclose(found.latents[found.valid], expected.continuous.cpu().numpy(), atol=1e-5)
    assert (found.codes is None) == (codes is None)
    if found.codes is not None:
        np.testing.assert_array_equal(found.codes[found.valid], expected.codes.cpu().numpy())


def test_latents_of_a_store_read_in_pieces_are_those_of_one_read_at_once(
    world: Any, write_walks: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of one row, some of which have no transition to label."""
    monkeypatch.setattr(group_writer, "CHUNK_BYTES", 128)
    monkeypatch.setattr(tensors, "MAX_SEGMENT_ROWS", 1)
    monkeypatch.setattr(tensors, "NUM_READERS", 1)
    episodes = write_walks(tmp_path / "episodes.zarr", episodes=12, first_level=1000, split="validation")
    store, output = EpisodeStore.open(episodes), tmp_path / "latents.zarr"
    assert len(list(EpisodeTensors.open(store, window_gib=0).sections(TRANSITION))) == store.num_rows
    relabel_episodes(
        environment=preset(ENV).facts(), lam="lapo", seed=0, model=world.model("lapo"), episodes=episodes, output=output
    )
    found, expected = LatentStore.open(output).load(), LatentStore.open(world.latents("lapo", "validation")).load()
    np.testing.assert_allclose(found.latents[found.valid], expected.latents[expected.valid], atol=1e-5)
    np.testing.assert_array_equal(found.codes, expected.codes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lam": "single"}, r"model\.safetensors: found a model of lam 'lapo', expected 'single'"),
        ({"seed": 1}, r"model\.safetensors: found a model of seed 0, expected 1"),
        (
            {"environment": preset("xland-fourrooms").facts()},
            rf"model\.safetensors: found a model of env '{ENV}', expected 'xland-fourrooms'",
        ),
        ({"model": Path("nowhere.safetensors")}, r"nowhere\.safetensors: no such model file"),
        ({"episodes": Path("nowhere.zarr")}, r"nowhere\.zarr"),
    ],
)
def test_relabelling_with_what_does_not_belong_together_is_refused(
    changes: dict[str, Any], message: str, world: Any, tmp_path: Path
) -> None:
    arguments = {
        "environment": preset(ENV).facts(),
        "lam": "lapo",
        "seed": 0,
        "model": world.model("lapo"),
        "episodes": world.episodes(),
    }
    with pytest.raises(ValueError, match=message):
        relabel_episodes(**(arguments | changes), output=tmp_path / "train.zarr")
    assert not list(tmp_path.iterdir())
