"""Which precision ``auto`` takes on which processor for which network, and that a precision is what it says."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from lamflow.envs.presets import preset
from lamflow.experiment.reading import read_experiment
from lamflow.lam.one_step import OneStepLam
from lamflow.networks.perceptron import mlp
from lamflow.policies.network import PolicyNetwork
from lamflow.training import precision
from lamflow.training.precision import (
    AVX512_BF16_PARAMETERS,
    Precision,
    PrecisionName,
    Processor,
    autocast,
    automatic_precision,
    cpu_with,
    precision_of,
    processor_of,
)

CPU = torch.device("cpu")
CONFIG = Path(__file__).parents[2] / "config"
SIZES = (1, 35_000, AVX512_BF16_PARAMETERS - 1, AVX512_BF16_PARAMETERS, 3_700_000, 10**9)
TABLE: dict[Processor, tuple[PrecisionName, ...]] = {
    "GPU with bf16": ("bf16",) * 6,
    "GPU without bf16": ("float32",) * 6,
    "CPU with AMX": ("bf16",) * 6,
    "CPU with AVX512_BF16": ("float32",) * 3 + ("bf16",) * 3,
    "CPU without AMX and AVX512_BF16": ("float32",) * 6,
}
"""What ``auto`` takes for networks of ``SIZES`` parameters."""


def dtype_of_products() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_the_table_has_every_processor() -> None:
    assert set(TABLE) == set(get_args(Processor))


@pytest.mark.parametrize(("processor", "place"), product(TABLE, range(len(SIZES))))
def test_auto_takes_what_the_table_says_and_names_processor_and_size(processor: Processor, place: int) -> None:
    taken = automatic_precision(processor, SIZES[place])
    assert taken.name == TABLE[processor][place]
    assert taken.reason.startswith(f"{processor}, {SIZES[place] / 1e6:.3g} M parameters")


def test_the_line_in_the_log_says_why() -> None:
    assert (
        str(automatic_precision("CPU with AVX512_BF16", 3_652_879)) == "bf16 (CPU with AVX512_BF16, 3.65 M parameters)"
    )
    assert str(automatic_precision("CPU with AVX512_BF16", 34_959)) == (
        "float32 (CPU with AVX512_BF16, 0.035 M parameters; bf16 gains from 0.05 M on)"
    )


@pytest.mark.parametrize(("amx", "avx512"), product((True, False, None), repeat=2))
def test_a_cpu_is_told_by_its_flags_and_amx_counts_first(amx: bool | None, avx512: bool | None) -> None:
    """None: torch does not name the flag, as on another architecture."""
    flags = {"amx_bf16": amx, "avx512_bf16": avx512, "avx512_f": True, "amx_tile": True, "l2_cache_size": 1}
    expected = "CPU with AMX" if amx else "CPU with AVX512_BF16" if avx512 else "CPU without AMX and AVX512_BF16"
    assert cpu_with({name: value for name, value in flags.items() if value is not None}) == expected


def test_torch_tells_of_this_cpu_what_the_kernel_tells() -> None:
    path = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*: (.*)$", path.read_text("utf-8"), flags=re.MULTILINE) if path.exists() else None
    if not found:
        pytest.skip("no x86 processor under Linux")
    flags = found[1].split()
    assert processor_of(CPU) == cpu_with({flag: True for flag in ("amx_bf16", "avx512_bf16") if flag in flags})


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_is_asked_for_bf16_itself(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert processor_of(torch.device("cuda")) == ("GPU with bf16" if supported else "GPU without bf16")


@pytest.mark.parametrize("processor", TABLE)
def test_a_precision_that_is_set_is_taken_on_every_processor(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_of", lambda device: processor)
    assert precision_of("bf16", []) == Precision("bf16", "as set")
    assert precision_of("float32", []) == Precision("float32", "as set")


def network_of(name: str) -> nn.Module:
    """A network of a shipped configuration."""
    file, env, what = name.split()
    experiment, spec = read_experiment(CONFIG / f"{file}.yaml"), preset(env)
    if what == "lam":
        return OneStepLam(settings=experiment.lams["lapo"], spec=spec)
    method: Any = experiment.methods["lapo"]
    if what == "decoder":
        return mlp(experiment.lams["lapo"].quantizer.latent_dim, method.decoder.hidden_widths, spec.num_actions)
    return PolicyNetwork(settings=method.policy, spec=spec, output_dim=128)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper procgen-coinrun lam", "bf16"),
        ("paper procgen-coinrun policy", "bf16"),
        ("paper procgen-coinrun decoder", "float32"),
        ("procgen_laptop procgen-coinrun lam", "bf16"),
        ("procgen_laptop procgen-coinrun policy", "bf16"),
        ("config xland-doorkey-6x6-full lam", "bf16"),
        ("config xland-doorkey-6x6-full policy", "bf16"),
        ("config xland-r1-9x9-full policy", "bf16"),
        ("config xland-r1-9x9-full decoder", "float32"),
        ("xland xland-r1-9x9-full lam", "bf16"),
        ("xland xland-doorkey-5x5-full policy", "bf16"),
        ("tiny xland-doorkey-5x5-full policy", "bf16"),
    ],
)
def test_on_a_cpu_with_avx512_bf16_the_shipped_networks_take(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_of", lambda device: "CPU with AVX512_BF16")
    assert precision_of("auto", network_of(name).parameters()).name == expected


def test_bf16_and_float32_are_what_they_say() -> None:
    with autocast("bf16", CPU):
        assert dtype_of_products() == torch.bfloat16
    with autocast("float32", CPU):
        assert dtype_of_products() == torch.float32


@pytest.mark.parametrize(
    ("processor", "dtype"), [("CPU with AMX", torch.bfloat16), ("CPU without AMX and AVX512_BF16", torch.float32)]
)
def test_auto_is_bf16_where_that_gains(
    processor: Processor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_of", lambda device: processor)
    with autocast(precision_of("auto", nn.Linear(2, 2).parameters()).name, CPU):
        assert dtype_of_products() == dtype


def test_float32_holds_inside_a_lower_precision() -> None:
    """A probe is trained while a LAM of lower precision is validated."""
    with autocast("bf16", CPU), autocast("float32", CPU):
        assert dtype_of_products() == torch.float32


def test_a_training_that_is_resumed_keeps_the_checkpoints_precision_and_says_so() -> None:
    here = automatic_precision("CPU without AMX and AVX512_BF16", 3_652_879)
    assert here.resumed("float32") == here
    assert str(here.resumed("bf16")) == (
        "bf16 (kept from the checkpoint; begun here: float32 (CPU without AMX and AVX512_BF16, 3.65 M parameters))"
    )
