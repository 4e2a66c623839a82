"""A checkout, an interpreter, results and temporary files in folders whose names have spaces, umlauts and quotes, and are long."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = "Müller's data & models (new)"
LONG = "a path that is longer than the 127 bytes that an interpreter line may have on older kernels, and than 255 in all with others"
TARGET = "results/tiny/data/xland-r1-9x9/test.zarr"


def interpreter(folder: Path) -> Path:
    """The Python of a virtual environment there, which has the packages of this one."""
    venv.create(folder, symlinks=True, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    packages.joinpath("shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin" / "python"


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER / LONG
    for name in ("home folder", "temporary files", "cache folder"):
        folder.joinpath(name).mkdir(parents=True)
    return folder


@pytest.mark.whole
def test_a_run_in_awkward_folders_by_an_interpreter_in_one(awkward: Path, copied: Callable[[Path], Path]) -> None:
    python, checkout = interpreter(awkward / "my venv"), copied(awkward / "lam flow")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "HOME": str(awkward / "home folder"),
        "TMPDIR": str(awkward / "temporary files"),
        "XDG_CACHE_HOME": str(awkward / "cache folder"),
    }
    command = ["-m", "snakemake", "--cores", "2", "--configfile=config/tiny.yaml", "--show-failed-logs", "--", TARGET]
    result = subprocess.run(
        [python, *command],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    record = json.loads(checkout.joinpath(TARGET).with_suffix(".json").read_text())
    assert record["inputs"] and sys.prefix != str(awkward / "my venv")
    assert list(awkward.joinpath("cache folder", "lamflow").iterdir()), "the caches lie where they were asked to"
