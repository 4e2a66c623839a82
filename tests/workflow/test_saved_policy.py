"""Policies that Stable-Baselines3 has saved, in the workflow, and those of the part of the extra that the lock does not hold."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lamflow.envs.gymnasium_saved_policy import VERSION

ROOT = Path(__file__).parents[2]
CONFIGURATION = {
    "experiment": "saved",
    "envs": [
        {
            "cart": {
                "kind": "gymnasium",
                "id": "CartPole-v1",
                "demonstrator": {"kind": "stable_baselines3", "algorithm": "PPO", "path": "expert.zip"},
            }
        }
    ],
    "seeds": [0],
    "labels": [16],
    "collection": {"train_episodes": 4, "reference_episodes": 4},
    "methods": {"random": {"kind": "random"}},
}
TARGET = "results/saved/data/cart/train.zarr"


def save_policy(path: Path, seed: int) -> None:
    stable_baselines3 = pytest.importorskip("stable_baselines3", reason="the extra `rl` is not installed")
    stable_baselines3.PPO("MlpPolicy", "CartPole-v1", seed=seed, device="cpu").save(path)


@pytest.mark.whole
def test_another_saved_policy_makes_again_what_comes_of_it_and_the_same_one_nothing(
    copied: Callable[[Path], Path], snakemake: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    checkout = copied(tmp_path / "checkout")
    policy = checkout / "expert.zip"
    checkout.joinpath("config", "saved.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    arguments = ("--configfile=config/saved.yaml", TARGET)

    missing = snakemake(checkout, *arguments, "--dry-run")
    assert missing.returncode != 0
    assert "environments.cart.demonstrator.path: found no file expert.zip" in missing.stdout

    save_policy(policy, seed=0)
    made = snakemake(checkout, *arguments)
    assert made.returncode == 0, made.stdout[-3000:]
    policy.touch()
    assert "Nothing to be done" in snakemake(checkout, *arguments, "--dry-run").stdout
    save_policy(policy, seed=1)
    plan = snakemake(checkout, *arguments, "--dry-run").stdout
    assert "Demonstrator of cart" in plan and "Episodes of cart, train split" in plan


@pytest.mark.whole
def test_recurrent_policies_act_alike_where_the_whole_extra_is_installed(tmp_path: Path) -> None:
    """Installs sb3-contrib in a folder of its own, unless it is there."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    installed = subprocess.run([*pip, f"sb3-contrib=={VERSION}"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"sb3-contrib cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "tests/rl/test_saved_policies.py",
        "-k",
        "recurrent_policy",
    ]
    result = subprocess.run(
        tests, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and " 1 passed" in result.stdout, result.stdout[-3000:]
