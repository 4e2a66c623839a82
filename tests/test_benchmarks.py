"""The benchmarks measure what they say: the plain form is the library's function, and arms are compared round by round."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lamflow.data.store import array_of
from lamflow.data.windows import TRANSITION, Window
from lamflow.envs.presets import preset

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from bench.arms import Figures, Round, take_turns
from bench.data import write_one_shard, write_repeated_store, write_store
from bench.plain_training import LabelledFrames, Windows, normalised, stacked
from bench.sizes import read_size

LAPO_GFLOP_A_SAMPLE = 5.09
"""Known of LAPO's stage 1, forward and backward."""


def frames(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (*shape, 64, 64, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "procgen_laptop"])
def test_the_plain_latent_action_model_has_the_librarys_loss_and_gradients(name: str) -> None:
    size = read_size(name)
    model, plain, windows = size.model(), size.plain_model(), frames(2, 3)
    loss = model.loss(Window.of_frames(windows)).total
    plain_loss = plain.loss(stacked(windows.permute(0, 1, 4, 2, 3)))
    torch.testing.assert_close(plain_loss, loss, rtol=1e-5, atol=0)
    loss.backward()
    plain_loss.backward()
    gradients = {parameter: value.grad for parameter, value in model.named_parameters()}
    for parameter, value in plain.named_parameters():
        torch.testing.assert_close(value.grad, gradients[parameter], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(plain.quantizer.codebook, model.quantizer.codebook)


def test_the_plain_policy_has_the_librarys_outputs() -> None:
    from lamflow.policies.inputs import PolicyInputs

    size, present = read_size("procgen_laptop"), frames(2, 1)
    inputs = PolicyInputs({"frames": present}, torch.ones(2, 1, dtype=torch.bool))
    expected = size.policy()(inputs)
    torch.testing.assert_close(size.plain_policy()(normalised(present[:, 0].permute(0, 3, 1, 2))), expected)


@pytest.mark.slow
def test_the_flops_of_lapos_first_stage_are_those_known() -> None:
    from lam_training import gflop_a_sample

    assert gflop_a_sample(read_size("paper")) == pytest.approx(LAPO_GFLOP_A_SAMPLE, rel=2e-3)


def test_plain_windows_are_the_librarys(tmp_path: Path) -> None:
    from lamflow.data.tensors import EpisodeTensors

    spec = preset("xland-doorkey-6x6-full")
    store = write_store(tmp_path / "train.zarr", spec, 50)
    data, plain = EpisodeTensors(store.load()), Windows(store)
    frames = data.part(TRANSITION, data.rows).gather(data.rows).frames
    assert torch.equal(torch.stack([plain[number] for number in range(len(plain))]), frames)


@pytest.mark.slow
def test_a_repeated_store_has_the_frames_of_its_one_shard(tmp_path: Path) -> None:
    shard = write_one_shard(tmp_path / "shard.zarr", preset("procgen-coinrun"))
    repeated = write_repeated_store(tmp_path / "repeated.zarr", shard, 3)
    rows, length = repeated.rows(array_of("frames")), shard.num_rows
    assert repeated.num_rows == 3 * length
    np.testing.assert_array_equal(
        rows.read(2 * length - 1, 2 * length + 1), shard.rows(array_of("frames")).read_rows(np.array([length - 1, 0]))
    )
    assert len(LabelledFrames(shard, torch.zeros(length, 1))) == shard.num_transitions


def counting(start: float) -> Round:
    """Rounds that answer ``start``, twice that, three times that, ..."""
    played = 0

    def play() -> Figures:
        nonlocal played
        played += 1
        return {"rate": start * played}

    return play


@pytest.mark.slow
def test_arms_take_turns_and_ratios_are_medians_of_rounds() -> None:
    turns = take_turns({"one": partial(counting, 1.0), "three": partial(counting, 3.0)}, rounds=3)
    assert [played["one"]["rate"] for played in turns.rounds] == [2, 3, 4]  # the first does not count
    assert turns.median("three", "rate") == 9
    assert turns.ratio("three", "one", "rate") == 3
    assert turns.peaks["one"]["peak_host_gb"] > 0.05


def test_the_arms_of_a_comparison_take_what_auto_takes_and_the_other_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.machine import not_taken, precision_here

    monkeypatch.setattr("lamflow.training.precision.processor_of", lambda device: "CPU with AVX512_BF16")
    taken = precision_here("auto", torch.nn.Linear(500, 500))
    assert (taken.name, not_taken(taken).name) == ("bf16", "float32")
    taken = precision_here("auto", torch.nn.Linear(5, 5))
    assert (taken.name, not_taken(taken).name) == ("float32", "bf16")


def test_the_tables_begin_with_the_machine_and_have_the_precision_of_each_arm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench.machine import machine_facts
    from bench.table import main

    figures = {"samples_per_second": 2.0, "gflop_per_second": 1.0, "share_of_ceiling": 0.5, "peak_host_gb": 0.3}
    arms = {"baseline": {"precision": "float32", **figures}, "lamflow": {"precision": "bf16", **figures}}
    found = {
        "benchmark": "lam_training",
        "machine": machine_facts(1) | {"processor": "A Xeon", "kind": "CPU with AMX", "flags": ["avx512f", "amx_bf16"]},
        "sizes": {"paper": {"arms": arms, "ratios": {"lamflow_over_baseline": 4.0}}},
    }
    main([json.dumps(found), json.dumps({"benchmark": "dry_run"})])
    machine, *rows = [line for line in capsys.readouterr().out.splitlines() if line]
    assert machine.startswith("A Xeon (CPU with AMX; avx512f, amx_bf16); ")
    assert "1 thread per arm" in machine and "commit" in machine
    assert [row.split(" | ")[2:6] for row in rows[2:]] == [
        ["baseline", "float32", "2", "1.00"],
        ["lamflow", "bf16", "2", "4.00"],
    ]


@pytest.mark.slow
def test_video_is_imported_in_memory_that_does_not_grow() -> None:
    program = Path(__file__).parents[1] / "benchmarks" / "video_import.py"
    run = subprocess.run([sys.executable, str(program), "0.33"], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["frames"] == 594
    assert 50 < found["peak_megabytes"] < 500
    assert found["frames_per_second"] > 0 and 0.9 < found["growth"] < 1.3
