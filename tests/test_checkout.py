"""What git says of a checkout: the right commit, or none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lamflow.checkout import Checkout, checkout_at

IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@b.c")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", folder, *IDENTITY, *arguments], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def commit_all(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return git(folder, "rev-parse", "HEAD")


def sources_in(folder: Path) -> Path:
    for name in (
        "src/lamflow/checkout.py",
        "src/lamflow/stage.py",
        "workflow/rules/lam.smk",
        "workflow/Snakefile",
        "config/config.yaml",
    ):
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_text("x = 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return sources_in(tmp_path / "clöne of mine")


def test_a_clean_checkout_gives_its_commit(checkout: Path) -> None:
    assert checkout_at(checkout) == Checkout(None, None)
    commit = commit_all(checkout)
    assert checkout_at(checkout) == Checkout(commit, ())


def test_sources_that_differ_from_the_commit_are_named(checkout: Path) -> None:
    commit = commit_all(checkout)
    for changed in ("workflow/Snakefile", "config/config.yaml", "src/lamflow/stage.py", "src/lamflow/neü.py"):
        checkout.joinpath(changed).write_text("x = 2\n", encoding="utf-8")
    checkout.joinpath("workflow", "rules", "lam.smk").unlink()
    changed = ("src/lamflow/neü.py", "src/lamflow/stage.py", "workflow/Snakefile", "workflow/rules/lam.smk")
    assert checkout_at(checkout) == Checkout(commit, changed)


def test_sources_at_the_top_of_another_repository_have_no_commit(tmp_path: Path) -> None:
    tmp_path.joinpath("thesis.tex").write_text("x", encoding="utf-8")
    commit_all(tmp_path)
    assert checkout_at(sources_in(tmp_path)) == Checkout(None, None)


@pytest.mark.parametrize("tracked", [False, True], ids=["not tracked", "tracked"])
def test_sources_inside_another_repository_have_no_commit(checkout: Path, tmp_path: Path, tracked: bool) -> None:
    tmp_path.joinpath("thesis.tex").write_text("x", encoding="utf-8")
    if tracked:
        commit_all(tmp_path)
    else:
        git(tmp_path, "init", "-q")
        git(tmp_path, "add", "thesis.tex")
        git(tmp_path, "commit", "-q", "-m", "thesis")
    assert checkout_at(checkout) == Checkout(None, None)


def test_a_linked_worktree_gives_its_own_commit(checkout: Path, tmp_path: Path) -> None:
    first = commit_all(checkout)
    checkout.joinpath("workflow", "Snakefile").write_text("x = 2\n", encoding="utf-8")
    commit_all(checkout)
    git(checkout, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), first)
    assert checkout_at(tmp_path / "linked") == Checkout(first, ())


def test_variables_of_git_do_not_lead_to_another_repository(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = commit_all(checkout)
    other = sources_in(tmp_path / "other")
    commit_all(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert checkout_at(checkout) == Checkout(commit, ())


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_checkout_of_another_owner_gives_its_commit(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # a git configuration of one's own may trust all
    commit = commit_all(checkout)
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    distrusted = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, check=False)
    assert b"dubious ownership" in distrusted.stderr
    assert checkout_at(checkout) == Checkout(commit, ())


def test_a_git_that_fails_or_hangs_leaves_all_open(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_all(checkout)
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("lamflow.checkout.TIMEOUT_SECONDS", 0.2)
    assert checkout_at(checkout) == Checkout(None, None)
    fake.chmod(0o644)
    monkeypatch.setenv("PATH", str(fake.parent))
    assert checkout_at(checkout) == Checkout(None, None)
