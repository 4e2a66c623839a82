"""Where compiled programs are kept between processes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """``name`` in the user's cache, made and writable; None where there is no such place: no home, or one that cannot be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "lamflow" / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: without HOME and an entry in passwd there is no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def cache_or_temporary_folder(name: str) -> Path:
    """The same, or a folder that is removed when the process ends: for libraries that do not start without one."""
    folder = cache_folder(name)
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix=f"lamflow-{name}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
