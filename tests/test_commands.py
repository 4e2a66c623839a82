"""Commands explain themselves before they act: `--help` prints what they do, and does none of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted([*ROOT.joinpath("benchmarks").rglob("*.py"), *ROOT.joinpath("src/lamflow").rglob("*.py")])
COMMANDS = [path for path in PROGRAMS if '\nif __name__ == "__main__":' in path.read_text()]
QUICK = [
    path for path in COMMANDS if path.is_relative_to(ROOT / "src") or path.stem in {"dry_run", "table", "convert_lapo"}
]
"""The other benchmarks begin with three seconds of imports."""


def started(path: Path) -> list[str]:
    """How a command is called."""
    if path.is_relative_to(ROOT / "src"):
        return ["-m", ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)]
    return [str(path)]


def test_the_search_for_commands_finds_both_kinds() -> None:
    names = {path.stem for path in COMMANDS}
    assert {"docs", "progress", "validate", "lam_training", "table"} <= names


@pytest.mark.parametrize("path", sorted({*COMMANDS} - {*QUICK}), ids=lambda path: path.stem)
def test_a_benchmark_reads_its_command_line_first(path: Path) -> None:
    block = path.read_text(encoding="utf-8").split('\nif __name__ == "__main__":\n')[1]
    assert block.startswith(("    arguments(__doc__", "    main(*arguments(__doc__"))


@pytest.mark.slow
@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_a_command_explains_itself_and_writes_nothing(path: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, *started(path), "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.startswith("usage:") and len(result.stdout.splitlines()) > 3
    assert list(tmp_path.iterdir()) == []


def test_an_argument_that_a_command_does_not_know_ends_it_before_it_acts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lamflow.experiment.docs", "--check"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2 and "unrecognized arguments: --check" in result.stderr
    assert list(tmp_path.iterdir()) == []
