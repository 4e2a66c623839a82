"""What git says of the checkout that this code lies in: its commit, and which sources differ from it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RERUNS_NOTHING = "It tells what made an artefact, not what the artefact is."

SOURCES = ("src/lamflow", "workflow", "Snakefile")
"""What of a checkout decides how an artefact comes to be, beside the settings."""
THIS_FILE = "src/lamflow/checkout.py"
"""What the commit of a checkout of lamflow holds, and that of a repository into which lamflow's sources were unpacked does not."""
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Checkout:
    """``commit`` is None outside of a checkout and without git. ``uncommitted`` lists the files among ``SOURCES`` that the commit
    does not hold as they are; None where that is not known."""

    commit: str | None = None
    uncommitted: tuple[str, ...] | None = None


@cache
def this_checkout() -> Checkout:
    """The checkout as it was at the first call in this process: it may move on while a stage runs."""
    return checkout_at(Path(__file__).resolve().parents[2])


def checkout_at(root: Path) -> Checkout:
    """The checkout whose top is ``root``. What lies inside another repository has no commit of its own, so it has none."""
    found = _git(root, "rev-parse", "--show-prefix", "HEAD", f"HEAD:{THIS_FILE}")
    prefix, commit, *_ = [*(found or b"").decode("ascii", "replace").split("\n"), "", ""]
    if not commit or prefix:
        return Checkout()
    listed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *SOURCES)
    if listed is None:
        return Checkout(commit)
    return Checkout(commit, tuple(sorted(os.fsdecode(entry[3:]) for entry in listed.split(b"\0") if entry)))


def _git(root: Path, *arguments: str) -> bytes | None:
    """What a git command answers, None when it fails or there is no git.

    Variables such as GIT_DIR, which git sets for its hooks, would point at another repository. A checkout of another owner, which
    git distrusts, is as trusted as this code, which lies in it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "-c", "safe.directory=*", *arguments]
    try:
        result = subprocess.run(
            command,
            env=kept | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
